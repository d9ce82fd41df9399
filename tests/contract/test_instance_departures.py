"""Where a recovered instance cannot be as the original was: what is refused, what is told."""

from dataclasses import replace
from typing import Any

import pytest

from cpm.resources.contract import Json, Order
from cpm.resources.copied import Source
from cpm.testing.stage import Stage
from tests.contract.conftest import Staging
from tests.contract.ec2 import instance_of
from tests.contract.test_ebs_volume import refusal_of
from tests.contract.test_ec2_instance import changed


@pytest.fixture
def stage(staged: Staging) -> Stage:
    return staged("ec2_instance")


@pytest.fixture
def rich(staged: Staging) -> Stage:
    return staged("ec2_instance", "with everything")


@pytest.fixture
def source(stage: Stage) -> Source:
    return stage.back_up(stage.plant())


def launch(orders: list[Order]) -> Json:
    """What `RunInstances` is to be given."""
    (run,) = [order for order in orders if order.effect == "run_instances"]
    parameters: Json = run.spec["parameters"]
    return parameters


def told(orders: list[Order]) -> str:
    return "\n".join(note for order in orders for note in order.notes)


@pytest.mark.parametrize(
    ("facts", "wanted", "code"),
    [
        ({"boot_mode": "uefi"}, "t2.micro", "invalid"),
        ({"virtualization": "paravirtual"}, "t3.large", "invalid"),
        ({"ena": False}, "m5.large", "invalid"),
        ({"tpm": "v2.0"}, "t2.micro", "invalid"),
        ({"architecture": "arm64"}, "t3.large", "invalid"),
        ({"instance_type": "x9.huge"}, None, "required"),
    ],
)
def test_a_type_that_would_not_start_the_system_is_refused(
    stage: Stage, source: Source, facts: Json, wanted: str | None, code: str
) -> None:
    options = {"instance_type": wanted} if wanted else {}
    assert refusal_of(stage, changed(source, **facts), options) == ("instance_type", code)


@pytest.mark.parametrize(
    ("facts", "options", "note"),
    [
        ({"is_spot": True}, {}, "spot"),
        ({"usage_operation": "RunInstances:0010"}, {}, "licensed"),
        ({"product_codes": ["abc"]}, {}, "licensed"),
        ({"hibernation": True}, {}, "without hibernation"),
        ({"enclaves": True}, {}, "without enclaves"),
        (
            {"cpu": {"CoreCount": 1, "ThreadsPerCore": 1}},
            {"instance_type": "m5.large"},
            "usual cores of m5.large",
        ),
        ({"vpc_id": "vpc-0123456789abcdef0"}, {}, "another VPC"),
    ],
)
def test_what_it_cannot_have_is_told(
    stage: Stage, source: Source, facts: Json, options: Json, note: str
) -> None:
    orders = stage.plan_recovery(changed(source, **facts), options)
    assert note in told(orders)
    unwanted = {"HibernationOptions", "EnclaveOptions", "CpuOptions", "InstanceMarketOptions"}
    assert not unwanted & launch(orders).keys()


def test_an_encrypted_root_lets_it_hibernate_again(stage: Stage, source: Source) -> None:
    volumes = [volume | {"encrypted": True} for volume in source.facts["volumes"]]
    orders = stage.plan_recovery(changed(source, hibernation=True, volumes=volumes), {})
    assert launch(orders)["HibernationOptions"] == {"Configured": True}


def test_an_ordinary_recovery_has_nothing_to_tell(stage: Stage, source: Source) -> None:
    stage.hand.call("ec2", "TerminateInstances", InstanceIds=[source.resource_id])
    lines = told(stage.plan_recovery(source, {})).splitlines()
    assert [line for line in lines if "is gone" not in line] == []


@pytest.mark.parametrize(
    ("options", "notes"),
    [
        ({"instance_type": "t3.micro"}, ("usual cores of t3.micro", "without enclaves")),
        ({"number_of_instances": 2}, ("several instances cannot have",)),
    ],
)
def test_with_other_wishes_the_rest_stays(
    rich: Stage, options: Json, notes: tuple[str, ...]
) -> None:
    orders = rich.plan_recovery(rich.back_up(rich.plant()), options)
    assert all(note in told(orders) for note in notes)
    assert len(launch(orders)["NetworkInterfaces"]) == 2
    assert launch(orders)["MetadataOptions"]["HttpTokens"] == "required"


def test_in_another_subnet_further_interfaces_stay_behind(rich: Stage) -> None:
    source = rich.back_up(rich.plant())
    subnet = rich.hand.call("ec2", "DescribeSubnets")["Subnets"][0]["SubnetId"]
    orders = rich.plan_recovery(source, {"subnet": subnet})
    (interface,) = launch(orders)["NetworkInterfaces"]
    assert interface["SubnetId"] == subnet
    assert "without interface 1" in told(orders)
    assert "placement group apart" in told(orders)
    rich.carry_out(orders)


@pytest.mark.parametrize(
    ("facts", "note"),
    [
        ({"subnet_id": "subnet-0123456789abcdef0"}, "whose subnet does not exist"),
        ({"security_groups": ["sg-0123456789abcdef0"]}, "of whose security groups none exists"),
    ],
)
def test_an_interface_whose_network_is_gone_stays_behind(
    rich: Stage, facts: Json, note: str
) -> None:
    source = rich.back_up(rich.plant())
    (further,) = source.facts["further_interfaces"]
    orders = rich.plan_recovery(changed(source, further_interfaces=[further | facts]), {})
    assert note in told(orders)
    assert len(launch(orders)["NetworkInterfaces"]) == 1


def test_elsewhere_without_a_default_network_one_has_to_be_chosen(
    stage: Stage, source: Source
) -> None:
    hand = stage.hand
    for subnet in hand.call("ec2", "DescribeSubnets")["Subnets"]:
        hand.call("ec2", "DeleteSubnet", SubnetId=subnet["SubnetId"])
    moved = replace(source, is_elsewhere=True)
    assert refusal_of(stage, moved, {}) == ("subnet", "required")


def test_what_only_the_original_tells_is_missed_when_it_is_gone(
    stage: Stage, source: Source
) -> None:
    gone = replace(source, resource_id="i-0123456789abcdef0")
    orders = stage.plan_recovery(gone, {})
    assert "as i-0123456789abcdef0 is gone" in told(orders)
    assert not {"UserData", "DisableApiTermination", "CreditSpecification"} & launch(orders).keys()


def test_credits_of_the_cpu_are_as_they_were(stage: Stage) -> None:
    made: Any = stage.hand.call(
        "ec2",
        "RunInstances",
        ImageId="ami-0abcdef1234567890",
        MinCount=1,
        MaxCount=1,
        InstanceType="t3.micro",
        CreditSpecification={"CpuCredits": "standard"},
    )
    (original,) = stage.driver.describe(stage.aws, [made["Instances"][0]["InstanceId"]])
    orders = stage.plan_recovery(stage.back_up(original), {})
    stage.carry_out(orders)
    assert launch(orders)["CreditSpecification"] == {"CpuCredits": "standard"}


def test_an_image_of_a_snapshot_says_of_the_system_what_the_originals_did(stage: Stage) -> None:
    source = stage.back_up(stage.plant())
    (register,) = [
        order for order in stage.plan_recovery(source, {}) if order.effect == "register_image"
    ]
    original = instance_of(stage, source.resource_id)
    said = register.spec["parameters"]
    for name in ("EnaSupport", "SriovNetSupport", "BootMode", "Architecture", "RootDeviceName"):
        assert said[name] == original[name]
    assert said["ImdsSupport"] == "v2.0"
