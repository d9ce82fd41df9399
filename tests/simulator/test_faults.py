"""Faults on demand: what a rehearsal can let happen to a call."""

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from cpm.kernel import clock
from cpm.simulator.process import Credentials, Simulator, SimulatorFailed
from tests.simulator.conftest import Clients, Later
from tests.simulator.expect import refused
from tests.simulator.resources import look, make_snapshot, make_volume, run_instance, tagged

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_sts import STSClient


def snapshot_count(ec2: "EC2Client") -> int:
    """How many snapshots the account really has."""
    return len(ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"])


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("throttle", "RequestLimitExceeded", 503),
        ("denied", "UnauthorizedOperation", 403),
        ("500", "InternalError", 500),
        ("503", "Unavailable", 503),
    ],
)
def test_a_fault_answers_as_ec2_would_and_makes_nothing(
    simulator: Simulator, ec2: "EC2Client", kind: str, code: str, status: int
) -> None:
    volume_id = make_volume(ec2)
    simulator.faults([{"op": "ec2:CreateSnapshot", "kind": kind, "times": 1}])
    with refused(code, status):
        make_snapshot(ec2, volume_id)
    assert snapshot_count(ec2) == 0
    make_snapshot(ec2, volume_id)


@pytest.mark.parametrize(
    ("service", "operation", "call", "throttled", "denied"),
    [
        ("sts", "GetCallerIdentity", "get_caller_identity", "Throttling", "AccessDenied"),
        ("rds", "DescribeDBInstances", "describe_db_instances", "Throttling", "AccessDenied"),
        ("s3", "ListBuckets", "list_buckets", "SlowDown", "AccessDenied"),
        ("dynamodb", "ListTables", "list_tables", "ThrottlingException", "AccessDeniedException"),
    ],
)
def test_each_service_has_its_own_words(
    simulator: Simulator,
    client: Clients,
    account: Credentials,
    service: str,
    operation: str,
    call: str,
    throttled: str,
    denied: str,
) -> None:
    act = getattr(client(service, account), call)
    for kind, code in (("throttle", throttled), ("denied", denied)):
        simulator.faults([{"op": f"{service}:{operation}", "kind": kind}])
        with refused(code):
            act()
    simulator.faults([])
    act()


def test_a_rule_may_choose_the_code(simulator: Simulator, ec2: "EC2Client") -> None:
    simulator.faults([{"op": "ec2:*", "kind": "throttle", "code": "Throttling"}])
    with refused("Throttling"):
        ec2.describe_volumes()


def test_a_dropped_call_has_no_effect_and_no_answer(simulator: Simulator, ec2: "EC2Client") -> None:
    volume_id = make_volume(ec2)
    simulator.faults([{"op": "ec2:CreateSnapshot", "kind": "drop", "times": 1}])
    with pytest.raises(ConnectionClosedError):
        make_snapshot(ec2, volume_id)
    assert snapshot_count(ec2) == 0


def test_a_lost_answer_leaves_its_effect(simulator: Simulator, ec2: "EC2Client") -> None:
    volume_id = make_volume(ec2)
    simulator.faults([{"op": "ec2:CreateSnapshot", "kind": "lost", "times": 1}])
    with pytest.raises(ConnectionClosedError):
        make_snapshot(ec2, volume_id)
    assert snapshot_count(ec2) == 1


def test_a_hanging_call_answers_nothing_and_keeps_nobody_else_waiting(
    simulator: Simulator, client: Clients, account: Credentials, ec2: "EC2Client"
) -> None:
    impatient = client("ec2", account, read_timeout=1)
    volume_id = make_volume(ec2)
    simulator.faults([{"op": "ec2:CreateSnapshot", "kind": "hang", "times": 1}])
    with pytest.raises(ReadTimeoutError):
        impatient.create_snapshot(VolumeId=volume_id)
    assert snapshot_count(ec2) == 0


def test_a_delayed_call_succeeds_later(simulator: Simulator, ec2: "EC2Client") -> None:
    simulator.faults([{"op": "ec2:DescribeVolumes", "kind": "delay", "seconds": 0.5}])
    begun = clock.monotonic()
    ec2.describe_volumes()
    assert clock.monotonic() - begun >= 0.5


def test_a_rate_lets_its_burst_pass_in_each_account_and_region(
    simulator: Simulator, ec2: "EC2Client", client: Clients, account: Credentials, new_account: Any
) -> None:
    rule = {"op": "ec2:DescribeVolumes", "kind": "rate", "rate": 0.001, "burst": 3}
    simulator.faults([rule])
    others = client("ec2", account, "eu-west-1"), client("ec2", new_account())
    for one in (ec2, *others):
        for _ in range(3):
            one.describe_volumes()
        with refused("RequestLimitExceeded", 503):
            one.describe_volumes()


def test_a_rate_fills_again(simulator: Simulator, ec2: "EC2Client") -> None:
    simulator.faults([{"op": "ec2:DescribeVolumes", "kind": "rate", "rate": 5, "burst": 1}])
    ec2.describe_volumes()
    refusals = 0

    def passes() -> bool:
        nonlocal refusals
        try:
            ec2.describe_volumes()
        except ec2.exceptions.ClientError:
            refusals += 1
            return False
        return True

    assert clock.wait_until(passes, timeout_seconds=30, interval_seconds=0.02)


def test_a_rule_meets_only_its_account_and_region(
    simulator: Simulator, ec2: "EC2Client", client: Clients, account: Credentials, new_account: Any
) -> None:
    simulator.faults(
        [
            {
                "op": "*",
                "kind": "throttle",
                "account": account.account,
                "region": "us-east-1",
            }
        ]
    )
    with refused("RequestLimitExceeded"):
        ec2.describe_volumes()
    client("ec2", account, "eu-west-1").describe_volumes()
    client("ec2", new_account()).describe_volumes()


def test_chance_decides_when_p_is_between_0_and_1(simulator: Simulator, sts: "STSClient") -> None:
    simulator.faults([{"op": "sts:GetCallerIdentity", "kind": "503", "p": 0.5}])
    outcomes = set()
    for _ in range(60):
        try:
            sts.get_caller_identity()
            outcomes.add("answered")
        except sts.exceptions.ClientError:
            outcomes.add("failed")
    assert outcomes == {"answered", "failed"}


def test_times_are_counted_exactly_and_shown(simulator: Simulator, ec2: "EC2Client") -> None:
    simulator.faults([{"op": "ec2:DescribeVolumes", "kind": "503", "times": 2}])
    for _ in range(2):
        with refused("Unavailable"):
            ec2.describe_volumes()
    ec2.describe_volumes()
    assert simulator.get("faults")[0]["times"] == 0


def test_a_rule_may_let_some_calls_pass_first(simulator: Simulator, ec2: "EC2Client") -> None:
    simulator.faults([{"op": "ec2:DescribeVolumes", "kind": "503", "after": 2, "times": 1}])
    ec2.describe_volumes()
    ec2.describe_volumes()
    with refused("Unavailable"):
        ec2.describe_volumes()
    ec2.describe_volumes()


def test_new_rules_replace_all_old_ones(simulator: Simulator, ec2: "EC2Client") -> None:
    simulator.faults([{"op": "ec2:DescribeVolumes", "kind": "503"}])
    simulator.faults([{"op": "ec2:DescribeTags", "kind": "503"}])
    ec2.describe_volumes()


@pytest.mark.parametrize(
    "rules",
    [
        [{"op": "ec2:CreateSnapshot", "kind": "explode"}],
        [{"op": "ec2:CreateSnapshott", "kind": "500"}],
        [{"op": "nothing:CreateSnapshot", "kind": "500"}],
        [{"op": "ec2:CreateSnapshot", "kind": "500", "colour": "red"}],
        [{"op": "ec2:CreateSnapshot", "kind": "rate"}],
        [{"op": "ec2:CreateSnapshot", "kind": "500", "times": "three"}],
        [{"kind": "500"}],
        {"op": "ec2:CreateSnapshot", "kind": "500"},
        ["500"],
    ],
)
def test_a_rule_that_cannot_be_is_refused_and_changes_nothing(
    simulator: Simulator, ec2: "EC2Client", rules: Any
) -> None:
    simulator.faults([{"op": "ec2:DescribeVolumes", "kind": "503", "times": 1}])
    with pytest.raises(SimulatorFailed):
        simulator.faults(rules)
    with refused("Unavailable"):
        ec2.describe_volumes()


class TestLateListing:
    """The kind `unlisted`: made, but not listed yet."""

    def test_a_snapshot_is_missing_from_listings_for_a_while(
        self, simulator: Simulator, ec2: "EC2Client", later: Later
    ) -> None:
        volume_id = make_volume(ec2)
        simulator.faults(
            [{"op": "ec2:CreateSnapshot", "kind": "unlisted", "seconds": 3600, "times": 1}]
        )
        wanted = tagged("snapshot", cpm_token="t")
        snapshot_id = make_snapshot(ec2, volume_id, TagSpecifications=wanted)
        by_tag: list[Any] = [{"Name": "tag:cpm_token", "Values": ["t"]}]
        by_key: list[Any] = [{"Name": "key", "Values": ["cpm_token"]}]
        assert not ec2.describe_snapshots(Filters=by_tag)["Snapshots"]
        assert not ec2.describe_tags(Filters=by_key)["Tags"]
        with refused("InvalidSnapshot.NotFound"):
            look(ec2, snapshot_id)
        later(3600)
        assert ec2.describe_snapshots(Filters=by_tag)["Snapshots"]
        assert look(ec2, snapshot_id)["State"] == "completed"
        assert ec2.describe_tags(Filters=by_key)["Tags"]

    def test_volumes_instances_and_images_are_late_too(
        self, simulator: Simulator, ec2: "EC2Client"
    ) -> None:
        instance_id = run_instance(ec2)["InstanceId"]
        before = len(ec2.describe_volumes()["Volumes"])
        simulator.faults([{"op": "ec2:*", "kind": "unlisted", "seconds": 3600}])
        volume_id = make_volume(ec2)
        late_id = run_instance(ec2)["InstanceId"]
        image_id = ec2.create_image(InstanceId=instance_id, Name="late")["ImageId"]
        for code, resource_id in (
            ("InvalidVolume.NotFound", volume_id),
            ("InvalidInstanceID.NotFound", late_id),
            ("InvalidAMIID.NotFound", image_id),
        ):
            with refused(code):
                look(ec2, resource_id)
        assert len(ec2.describe_volumes()["Volumes"]) == before
        assert not ec2.describe_images(Owners=["self"])["Images"]
        listed = [
            item["InstanceId"]
            for one in ec2.describe_instances()["Reservations"]
            for item in one["Instances"]
        ]
        assert listed == [instance_id]
