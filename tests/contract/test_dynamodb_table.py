"""DynamoDB tables: what backups are called and cost, and what a recovered table has again."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from cpm.aws import tags
from cpm.kernel.faults import FaultKind
from cpm.resources.contract import Json, State
from cpm.resources.copied import Copied, Source
from cpm.testing.stage import Begun, Stage, fault_of
from tests.contract import dynamodb_rig as rig
from tests.contract.conftest import Staging
from tests.contract.test_ebs_volume import counted, refusal_of

SETTINGS = ("time_to_live", "point_in_time", "class", "settings")


@pytest.fixture
def stage(staged: Staging) -> Stage:
    return staged("dynamodb_table")


def backed_up(stage: Stage, plant: Callable[[Stage], str] = rig.plant_bare) -> tuple[Begun, Source]:
    """A table with a backup."""
    (table,) = stage.driver.describe(stage.aws, [plant(stage)])
    begun = stage.carry_out(stage.plan(table))
    return begun[0], stage.source(table, begun)


def changed(source: Source, **facts: object) -> Source:
    """The same backup, with other facts."""
    (copy,) = source.copies
    return replace(source, copies=[replace(copy, facts={**copy.facts, **facts})])


def only(source: Source) -> Copied:
    """The one copy."""
    (copy,) = source.copies
    return copy


# --- backups --------------------------------------------------------------------------------------


def test_a_table_is_described_by_two_calls_and_backed_up_by_one(stage: Stage) -> None:
    name = rig.plant_bare(stage)
    described = partial(stage.driver.describe, stage.aws, [name])
    calls = {"DescribeTable": 1, "ListTagsOfResource": 1}
    assert counted(stage, lambda: list(described())) == calls
    (table,) = described()
    (order,) = stage.plan(table)
    assert counted(stage, lambda: stage.begin(order)) == {"CreateBackup": 1}


def test_the_name_of_a_backup_says_whose_it_is(stage: Stage) -> None:
    begun, _ = backed_up(stage)
    (backup,) = rig.backups(stage)
    token = begun.ask.token
    assert backup["BackupName"] == f"cpm.a-server.7.{token}.a-policy"
    for name in ("by-hand", "cpm.one.two", "cpm.1.2.3.4.5", "CPM.a.b.c.d"):
        stage.hand.call("dynamodb", "CreateBackup", TableName=backup["TableName"], BackupName=name)
    assert stage.driver.inventory is not None
    (owned,) = stage.driver.inventory(stage.aws, "a-server")
    assert owned.marks == begun.ask.marks
    assert (owned.aws_ref, owned.resource_id) == (backup["BackupArn"], backup["TableName"])
    assert (owned.state, owned.facts["size_gib"]) == (State.DONE, 1)


def test_the_longest_marks_fit(stage: Stage) -> None:
    (table,) = stage.driver.describe(stage.aws, [rig.plant_bare(stage)])
    (order,) = stage.plan(table)
    ask = stage.ask(order)
    server = "0a1b2c3d-0000-4444-8888-0a1b2c3d4e5f"
    marks = {**ask.marks, tags.SERVER_ID: server, tags.POLICY_NAME: "p" * 100}
    long = replace(ask, marks={**marks, tags.BACKUP_ID: str(2**63)})
    effect = stage.driver.effect(order.effect)
    assert effect.find is not None
    assert effect.start(stage.aws, long) == effect.find(stage.aws, long)
    assert stage.driver.inventory is not None
    (owned,) = stage.driver.inventory(stage.aws, server)
    assert owned.marks == long.marks


def test_backups_in_the_making_cost_a_call_for_a_hundred(stage: Stage) -> None:
    (table,) = stage.driver.describe(stage.aws, [rig.plant_bare(stage)])
    (order,) = stage.plan(table)
    stage.simulator.config(pending=3600)
    begun = [stage.begin(order) for _ in range(3)]
    refs = [ref for one in begun for ref in one.refs.values()]
    watched = partial(stage.watch, "dynamodb_backup", refs)
    assert counted(stage, watched) == {"ListBackups": 1}
    assert [each.state for each in watched().values()] == [State.PENDING] * 3
    stage.finish(begun[0])
    assert counted(stage, watched) == {
        "ListBackups": 1,
        "DescribeBackup": 1,
        "DescribeContinuousBackups": 1,
    }
    assert sorted(each.state for each in watched().values()) == ["done", "pending", "pending"]


def test_a_backup_that_the_list_does_not_show_yet_is_looked_at_itself(stage: Stage) -> None:
    begun, _ = backed_up(stage)
    (known,) = begun.refs.values()
    odd = f"{known.rpartition('/')[0]}/of-another-form"
    verdicts = stage.watch("dynamodb_backup", [known, stage.rig.absent_ref, odd])
    states = {ref: verdict.state for ref, verdict in verdicts.items()}
    assert states == {
        known: State.DONE,
        stage.rig.absent_ref: State.GONE,
        odd: State.GONE,
    }


@pytest.mark.parametrize("trouble", ["gone", "denied"])
def test_a_backup_is_good_where_its_table_cannot_be_asked_any_more(
    stage: Stage, trouble: str
) -> None:
    begun, _ = backed_up(stage)
    (ref,) = begun.refs.values()
    if trouble == "gone":
        stage.hand.call("dynamodb", "DeleteTable", TableName=begun.parts[0].resource_id)
    rule = {"op": "dynamodb:DescribeContinuousBackups", "kind": "denied"}
    with stage.faults(*([rule] if trouble == "denied" else [])):
        verdict = stage.poll(begun)[ref]
    assert (verdict.state, verdict.facts["point_in_time_days"]) == (State.DONE, None)


def test_a_backup_in_the_making_is_not_deleted(stage: Stage) -> None:
    (table,) = stage.driver.describe(stage.aws, [rig.plant_bare(stage)])
    stage.simulator.config(pending=3600)
    begun = stage.begin(stage.plan(table)[0])
    (ref,) = begun.refs.values()
    fault = fault_of(partial(stage.delete, begun.parts[0], ref))
    assert (fault.kind, fault.code) == (FaultKind.LOCKED, "BackupInUseException")


# --- recoveries -----------------------------------------------------------------------------------


def test_the_original_is_not_needed(stage: Stage) -> None:
    begun, source = backed_up(stage)
    name = begun.parts[0].resource_id
    stage.hand.call("dynamodb", "DeleteTable", TableName=name)
    made = stage.carry_out(stage.plan_recovery(source, {}))[-1].refs["table"]
    assert made == name
    item = stage.hand.call("dynamodb", "GetItem", TableName=name, Key={"id": {"S": "1"}})["Item"]
    assert item["sum"] == {"N": "42"}


def test_what_the_original_had_not_is_not_set(stage: Stage) -> None:
    _, source = backed_up(stage)
    assert [order.step for order in stage.plan_recovery(source, {})] == ["restore", "tag"]
    _, full = backed_up(stage, rig.plant)
    orders = stage.plan_recovery(full, {})
    assert tuple(order.step for order in orders) == ("restore", "tag", *SETTINGS)


def test_what_cannot_be_put_back_does_not_keep_the_rest_from_it(stage: Stage) -> None:
    _, source = backed_up(stage, rig.plant)
    orders = {order.step: order for order in stage.plan_recovery(source, {})}
    restored = stage.begin(orders["restore"])
    stage.settle(restored)
    earlier = {"restore": restored.refs}
    for step in SETTINGS:
        effect = stage.driver.effect(orders[step].effect)
        assert effect.tidies_up
        ask = stage.ask(orders[step], earlier)
        effect.start(stage.aws, replace(ask, failed=frozenset(set(SETTINGS) - {step})))
        lost = partial(effect.start, stage.aws, replace(ask, failed=frozenset({"tag"})))
        assert fault_of(lost).kind is FaultKind.INVALID


def test_a_capacity_is_made_up_where_the_original_had_none(stage: Stage) -> None:
    _, source = backed_up(stage, rig.plant_on_demand)
    indexes = [{"IndexName": "i", "KeySchema": [], "Projection": {}}]
    (order, *_) = stage.plan_recovery(
        changed(source, global_indexes=indexes), {"billing_mode": "PROVISIONED"}
    )
    capacity = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}
    assert order.spec["parameters"]["ProvisionedThroughputOverride"] == capacity
    (index,) = order.spec["parameters"]["GlobalSecondaryIndexOverride"]
    assert index["ProvisionedThroughput"] == capacity
    (note,) = order.notes
    assert "5 read and 5 write units" in note
    made = stage.carry_out(stage.plan_recovery(source, {"billing_mode": "PROVISIONED"}))[-1]
    table = rig.table_of(stage, made.refs["table"])
    assert table["ProvisionedThroughput"]["ReadCapacityUnits"] == 5


def test_replicas_are_told_of(stage: Stage) -> None:
    _, source = backed_up(stage)
    (order, *_) = stage.plan_recovery(changed(source, replicas=["eu-west-1"]), {})
    assert order.notes == ["the original's replicas in eu-west-1 are not restored"]


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"table_name": "no"}, ("table_name", "invalid")),
        ({"table_name": "with blanks"}, ("table_name", "invalid")),
        ({"additional_tags": {"aws:x": "y"}}, ("additional_tags", "invalid")),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    stage: Stage, options: Json, refusal: tuple[str, str]
) -> None:
    _, source = backed_up(stage)
    assert refusal_of(stage, source, options) == refusal


def test_a_backup_that_is_gone_or_not_complete_is_refused(stage: Stage) -> None:
    begun, source = backed_up(stage)
    (table,) = stage.driver.describe(stage.aws, [begun.parts[0].resource_id])
    stage.simulator.config(pending=3600)
    (ref,) = stage.begin(stage.plan(table)[0]).refs.values()
    unfinished = replace(source, copies=[replace(only(source), aws_ref=ref)])
    assert refusal_of(stage, unfinished, {}) == ("non_field_errors", "invalid")
    rig.lose(stage, only(source).aws_ref)
    assert refusal_of(stage, source, {}) == ("non_field_errors", "does_not_exist")


def test_a_name_that_is_taken_meanwhile_is_not_claimed(stage: Stage) -> None:
    _, source = backed_up(stage)
    (order, *_) = stage.plan_recovery(source, {"table_name": "mine"})
    rig.plant_bare(stage, TableName="mine")
    effect, ask = stage.driver.effect(order.effect), stage.ask(order)
    fault = fault_of(partial(effect.start, stage.aws, ask))
    assert (fault.kind, fault.code) == (FaultKind.INVALID, "TableAlreadyExistsException")
    assert effect.find is not None
    assert effect.find(stage.aws, ask) is None


def test_a_table_that_another_recovery_has_tagged_is_its_own(stage: Stage) -> None:
    """Two recoveries come to the same name; the second dies while it asks and finds the first's."""
    _, source = backed_up(stage)
    first = stage.plan_recovery(source, {"table_name": "mine"})
    second = stage.plan_recovery(source, {"table_name": "mine"})
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
    assert rig.table_of(stage, "mine")
    effect.undo(stage.aws, restored.refs)
    assert effect.find(stage.aws, ask) is None
