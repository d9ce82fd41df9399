"""Redshift clusters: what snapshots cost, who may restore them, whose a restored cluster is."""

from dataclasses import replace
from functools import partial

import pytest

from cpm.aws import tags
from cpm.kernel.faults import FaultKind
from cpm.resources.contract import Ask, Json, Resource, State, Where
from cpm.resources.copied import CopyWish, Source
from cpm.testing.stage import REGION, Begun, Stage, fault_of
from tests.contract import redshift_rig as rig
from tests.contract.conftest import Staging
from tests.contract.test_ebs_volume import counted, refusal_of

OTHER_ACCOUNT = rig.OTHER_ACCOUNT


@pytest.fixture
def stage(staged: Staging) -> Stage:
    return staged("redshift_cluster")


def backed_up(stage: Stage) -> tuple[Begun, Source]:
    """A cluster with a snapshot."""
    cluster = stage.plant()
    begun = stage.carry_out(stage.plan(cluster))
    return begun[0], stage.source(cluster, begun)


def wish(source: Source, account: str, region: str = REGION) -> CopyWish:
    """That the snapshot is to have a copy there."""
    (copy,) = source.copies
    own = copy.facts["owner_account"]
    return CopyWish(copy, own, REGION, account or own, region, "")


# --- snapshots ------------------------------------------------------------------------------------


def test_a_snapshot_is_one_call_and_kept_for_ever(stage: Stage) -> None:
    orders = stage.plan(stage.plant())
    calls = counted(stage, lambda: [stage.begin(order) for order in orders])
    assert calls == {"CreateClusterSnapshot": 1}
    assert stage.aws.calls[-1].parameters["ManualSnapshotRetentionPeriod"] == -1


def test_all_snapshots_are_watched_with_one_call(stage: Stage) -> None:
    refs = [ref for _ in range(3) for ref in backed_up(stage)[0].refs.values()]
    watched = partial(stage.watch, "redshift_snapshot", refs)
    assert counted(stage, watched) == {"DescribeClusterSnapshots": 1}
    assert [each.state for each in watched().values()] == [State.DONE] * 3


@pytest.mark.parametrize("number", [1, 3])
def test_one_cluster_and_many_are_described_with_one_call(stage: Stage, number: int) -> None:
    names = [rig.plant_bare(stage, NodeType="dc2.large") for _ in range(3)][:number]
    described = partial(stage.driver.describe, stage.aws, names)
    assert counted(stage, lambda: list(described())) == {"DescribeClusters": 1}
    assert {each.resource_id for each in described()} == set(names)


def test_nodes_without_disks_count_by_the_data_of_their_last_snapshot(stage: Stage) -> None:
    name = rig.plant_bare(stage, NodeType="ra3.large")
    described: list[Resource] = []
    read = counted(stage, lambda: described.extend(stage.driver.describe(stage.aws, [name])))
    assert read == {"DescribeClusters": 1, "DescribeClusterSnapshots": 1}
    # Their capacity is a quota of AWS's.
    assert [each.size_gib for each in described] == [1]


def test_a_name_that_is_there_already_is_what_was_asked_for(stage: Stage) -> None:
    begun, _ = backed_up(stage)
    assert begun.effect.start(stage.aws, begun.ask) == begun.refs
    assert len(rig.snapshots(stage)) == 1


def test_ours_fit_where_a_cluster_has_as_many_tags_as_aws_allows(stage: Stage) -> None:
    many = {"Name": "data"} | {f"key-{number:02}": "value" for number in range(49)}
    (cluster,) = stage.driver.describe(stage.aws, [rig.plant_bare(stage, Tags=tags.to_aws(many))])
    source = stage.back_up(cluster)
    carried = stage.rig.tags_of(stage, source.copies[0].aws_ref)
    assert len(carried) == tags.MOST_TAGS
    assert carried["Name"] == "data"
    added = {"additional_tags": {"who": "me", "why": "drill"}}
    made = stage.carry_out(stage.plan_recovery(source, added))[-1].refs["cluster"]
    carried = tags.from_aws(rig.cluster_of(stage, made)["Tags"])
    assert len(carried) == tags.MOST_TAGS
    assert (carried["who"], carried["why"], carried["Name"]) == ("me", "drill", "data")


def test_a_full_quota_is_told_as_one(stage: Stage) -> None:
    (order,) = stage.plan(stage.plant())
    stage.simulator.config(limits={"redshift_snapshots": 0})
    try:
        fault = fault_of(partial(stage.begin, order))
    finally:
        stage.simulator.config(limits={"redshift_snapshots": 20})
    assert (fault.kind, fault.code) == (FaultKind.QUOTA, "ClusterSnapshotQuotaExceeded")


def test_what_carries_the_marks_of_a_server_is_found(stage: Stage) -> None:
    begun, _ = backed_up(stage)
    stage.hand.call(
        "redshift",
        "CreateClusterSnapshot",
        SnapshotIdentifier="by-hand",
        ClusterIdentifier=begun.parts[0].resource_id,
        # One of the keys and one of the values, but not together.
        Tags=tags.to_aws({tags.SERVER_ID: "another", "note": "a-server"}),
    )
    assert stage.driver.inventory is not None
    (owned,) = stage.driver.inventory(stage.aws, "a-server")
    assert (owned.aws_ref, owned.resource_id) == (
        begun.refs[begun.parts[0].resource_id],
        begun.parts[0].resource_id,
    )
    assert owned.marks == begun.ask.marks
    assert (owned.state, owned.facts["size_gib"]) == (State.DONE, 1)


# --- sharing --------------------------------------------------------------------------------------


def test_an_account_for_recovery_is_let_in_where_the_snapshot_is(stage: Stage) -> None:
    begun, source = backed_up(stage)
    assert stage.driver.plan_copy is not None
    (order,) = stage.driver.plan_copy(stage.aws, wish(source, OTHER_ACCOUNT, "eu-west-1"))
    assert (order.where, order.parts) == (Where.SOURCE, ())
    for _ in range(2):
        stage.carry_out([order])
    (snapshot,) = rig.snapshots(stage)
    assert snapshot["AccountsWithRestoreAccess"] == [{"AccountId": OTHER_ACCOUNT}]
    stage.delete(begun.parts[0], snapshot["SnapshotIdentifier"])
    assert rig.snapshots(stage) == []


def test_to_another_region_alone_there_is_no_way(stage: Stage) -> None:
    _, source = backed_up(stage)
    assert stage.driver.plan_copy is not None
    assert stage.driver.plan_copy(stage.aws, wish(source, "", "eu-west-1")) == []


def test_a_snapshot_in_the_making_is_not_deleted(stage: Stage) -> None:
    (order,) = stage.plan(stage.plant())
    stage.simulator.config(pending=3600)
    begun = stage.begin(order)
    (ref,) = begun.refs.values()
    fault = fault_of(partial(stage.delete, begun.parts[0], ref))
    assert (fault.kind, fault.code) == (FaultKind.LOCKED, "InvalidClusterSnapshotState")


# --- recoveries -----------------------------------------------------------------------------------


def test_the_original_is_not_needed(stage: Stage) -> None:
    cluster = stage.plant()
    was = rig.cluster_of(stage, cluster.resource_id)
    source = stage.back_up(cluster)
    rig.delete_cluster(stage, cluster.resource_id)
    made = stage.carry_out(stage.plan_recovery(source, {}))[-1].refs["cluster"]
    assert made == cluster.resource_id
    now = rig.cluster_of(stage, made)
    for fact in ("ClusterSubnetGroupName", "VpcSecurityGroups", "ClusterParameterGroups"):
        assert now[fact] == was[fact]
    assert cluster.tags.items() <= tags.from_aws(now["Tags"]).items()


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"cluster_identifier": "Upper"}, ("cluster_identifier", "invalid")),
        ({"cluster_identifier": "two--hyphens"}, ("cluster_identifier", "invalid")),
        ({"cluster_identifier": "hyphen-"}, ("cluster_identifier", "invalid")),
        ({"node_type": "m5.large"}, ("node_type", "invalid_choice")),
        ({"port": 5456}, ("port", "invalid")),
        ({"availability_zone": f"{REGION}f"}, ("availability_zone", "invalid_choice")),
        ({"subnet_group": "none"}, ("subnet_group", "does_not_exist")),
        ({"parameter_group": "none"}, ("parameter_group", "does_not_exist")),
        ({"vpc_security_groups": ["sg-0"]}, ("vpc_security_groups", "does_not_exist")),
        ({"additional_tags": {"aws:x": "y"}}, ("additional_tags", "invalid")),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    stage: Stage, options: Json, refusal: tuple[str, str]
) -> None:
    _, source = backed_up(stage)
    assert refusal_of(stage, source, options) == refusal


@pytest.mark.parametrize(
    ("fact", "gone"),
    [
        ("subnet_group", "gone"),
        ("parameter_group", "gone"),
        ("vpc_security_groups", ["sg-0123456789abcdef0"]),
    ],
)
def test_groups_of_the_original_that_are_gone_have_to_be_chosen(
    stage: Stage, fact: str, gone: object
) -> None:
    _, source = backed_up(stage)
    copy = replace(source.copies[0], facts={**source.copies[0].facts, fact: gone})
    assert refusal_of(stage, replace(source, copies=[copy]), {}) == (fact, "required")


def test_security_groups_of_another_network_are_refused(stage: Stage) -> None:
    _, source = backed_up(stage)
    vpc = stage.hand.call("ec2", "CreateVpc", CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    group = stage.hand.call(
        "ec2", "CreateSecurityGroup", GroupName="far", Description="far", VpcId=vpc
    )["GroupId"]
    refusal = refusal_of(stage, source, {"vpc_security_groups": [group]})
    assert refusal == ("vpc_security_groups", "invalid")


def test_what_belongs_to_the_place_stays_there(stage: Stage) -> None:
    _, source = backed_up(stage)
    (order, *_) = stage.plan_recovery(replace(source, is_elsewhere=True), {})
    parameters = order.spec["parameters"]
    assert not parameters.keys() & {
        *("AvailabilityZone", "ClusterParameterGroupName", "ClusterSubnetGroupName"),
        *("IamRoles", "VpcSecurityGroupIds"),
    }
    assert parameters["PubliclyAccessible"] is True


def test_a_snapshot_that_is_gone_or_not_complete_is_refused(stage: Stage) -> None:
    begun, source = backed_up(stage)
    stage.simulator.config(pending=3600)
    again = stage.begin(stage.plan(next(iter(stage.driver.discover(stage.aws))))[0])
    (ref,) = again.refs.values()
    unfinished = replace(source, copies=[replace(source.copies[0], aws_ref=ref)])
    assert refusal_of(stage, unfinished, {}) == ("non_field_errors", "invalid")
    rig.lose(stage, *begun.refs.values())
    assert refusal_of(stage, source, {}) == ("non_field_errors", "does_not_exist")


def test_a_name_that_is_taken_meanwhile_is_not_claimed(stage: Stage) -> None:
    _, source = backed_up(stage)
    (order, *_) = stage.plan_recovery(source, {"cluster_identifier": "mine"})
    rig.plant_bare(stage, ClusterIdentifier="mine")
    effect, ask = stage.driver.effect(order.effect), stage.ask(order)
    fault = fault_of(partial(effect.start, stage.aws, ask))
    assert (fault.kind, fault.code) == (FaultKind.INVALID, "ClusterAlreadyExists")
    assert effect.find is not None
    assert effect.find(stage.aws, ask) is None


def test_a_cluster_that_another_recovery_has_tagged_is_its_own(stage: Stage) -> None:
    """Two recoveries come to the same name; the second dies while it asks and finds the first's."""
    _, source = backed_up(stage)
    first = stage.plan_recovery(source, {"cluster_identifier": "mine"})
    second = stage.plan_recovery(source, {"cluster_identifier": "mine"})
    restored = stage.begin(first[0])
    effect, ask = stage.driver.effect(second[0].effect), stage.ask(second[0])
    assert effect.find is not None
    assert effect.undo is not None
    mistaken = effect.find(stage.aws, ask)
    assert mistaken is not None
    stage.settle(restored)
    stage.begin(first[1], {"restore": restored.refs})
    # By now it can be seen whose it is.
    assert effect.find(stage.aws, ask) is None
    fault = fault_of(partial(stage.begin, second[1], {"restore": mistaken}))
    assert fault.kind is FaultKind.INVALID
    effect.undo(stage.aws, mistaken)
    assert rig.cluster_of(stage, "mine")
    effect.undo(stage.aws, restored.refs)
    assert effect.find(stage.aws, Ask(ask.spec, ask.token, ask.marks)) is None
