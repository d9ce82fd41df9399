# ruff: noqa: S101 - these are tests
"""What a driver is, in tests: a resource type that passes keeps every promise of the contract.

Derive a test class from `DriverSuite` and let pytest collect it. It needs a fixture `stage` for
each way in which a driver of the registry protects (see `cpm.testing.stage.Rig` for what it needs
to know of it).
"""

import itertools
import json
from dataclasses import asdict
from functools import partial
from typing import Any

from cpm.kernel import clock
from cpm.kernel.faults import FaultKind
from cpm.resources import registry
from cpm.resources.contract import Ask, Effect, Order, Refs, State
from cpm.testing.stage import (
    DEADLINE_SECONDS,
    SHARES,
    Begun,
    Stage,
    fault_of,
    to_be_taken_back,
)

# How AWS says that an account has as many as it may have, by service.
_LIMITS = {
    "ec2": ("SnapshotLimitExceeded", "ConcurrentSnapshotLimitExceeded", "ResourceLimitExceeded"),
    "rds": ("SnapshotQuotaExceeded",),
    "redshift": ("ClusterSnapshotQuotaExceeded",),
    "dynamodb": ("LimitExceededException",),
}


class DriverSuite:
    """The promises of every driver."""

    def test_what_is_discovered_is_what_is_described(self, stage: Stage) -> None:
        planted = stage.plant()
        discovered = {each.resource_id: each for each in stage.driver.discover(stage.aws)}
        assert discovered[planted.resource_id] == planted
        assert planted.kind == stage.driver.kind
        assert planted.region == stage.aws.region
        assert planted.tags["team"] == "red"
        assert planted.size_gib > 0

    def test_ids_of_nothing_are_left_out_of_a_description(self, stage: Stage) -> None:
        planted = stage.plant()
        wanted = [stage.rig.absent_id, planted.resource_id, "nonsense"]
        described = stage.driver.describe(stage.aws, wanted)
        assert [each.resource_id for each in described] == [planted.resource_id]

    def test_an_estate_of_many_pages_is_read_to_the_end(self, stage: Stage) -> None:
        stage.rig.plant_many(stage, stage.rig.many)
        found = {each.resource_id for each in stage.driver.discover(stage.aws)}
        assert len(found) >= stage.rig.many
        described = [each.resource_id for each in stage.driver.describe(stage.aws, found)]
        assert sorted(described) == sorted(found)

    def test_plans_are_json_and_say_the_same_each_time(self, stage: Stage) -> None:
        planted = stage.plant()
        orders = stage.plan(planted)
        assert orders == stage.plan(planted)
        for order in orders:
            effect = stage.driver.effect(order.effect)
            assert effect.at_source or effect.for_consistency
            assert json.loads(json.dumps(order.spec)) == order.spec
            for part in order.parts:
                owner, _ = registry.by_snapshot_collection(part.collection)
                assert owner.kind == part.kind
                assert json.loads(json.dumps(asdict(part))) == asdict(part)

    def test_each_part_of_an_order_becomes_one_copy_that_carries_the_tags(
        self, stage: Stage
    ) -> None:
        for begun in _protected(stage):
            assert set(begun.refs) == {part.resource_id for part in begun.parts}
            for part in begun.parts:
                carried = stage.rig.tags_of(stage, begun.refs[part.resource_id])
                assert begun.ask.marks.items() <= carried.items()
                assert carried.get("team") == ("red" if stage.rig.copies_tags else None)

    def test_what_was_made_is_found_by_its_token(self, stage: Stage) -> None:
        for order in _orders_of_copies(stage):
            effect, ask = stage.driver.effect(order.effect), stage.ask(order)
            assert effect.find is not None
            assert effect.find(stage.aws, ask) is None
            refs = effect.start(stage.aws, ask)
            assert effect.find(stage.aws, ask) == refs

    def test_a_lost_answer_makes_no_second_copy(self, stage: Stage) -> None:
        for order in _orders_of_copies(stage):
            effect, ask = stage.driver.effect(order.effect), stage.ask(order)
            with stage.faults({"op": effect.operation, "kind": "lost", "times": 1}):
                fault = fault_of(partial(effect.start, stage.aws, ask))
            assert fault.kind is FaultKind.UNKNOWN
            assert effect.find is not None
            found = effect.find(stage.aws, ask)
            assert found is not None
            assert sorted(found.values()) == sorted(stage.rig.copies_with(stage, ask.token))
            assert set(found) == {part.resource_id for part in order.parts}

    def test_a_call_that_never_arrived_is_made_again_once(self, stage: Stage) -> None:
        for order in _orders_of_copies(stage):
            effect, ask = stage.driver.effect(order.effect), stage.ask(order)
            with stage.faults({"op": effect.operation, "kind": "drop", "times": 1}):
                fault = fault_of(partial(effect.start, stage.aws, ask))
            assert fault.kind is FaultKind.UNKNOWN
            assert effect.find is not None
            assert effect.find(stage.aws, ask) is None
            refs = effect.start(stage.aws, ask)
            assert sorted(refs.values()) == sorted(stage.rig.copies_with(stage, ask.token))

    def test_a_copy_that_aws_does_not_list_yet_is_found_after_a_while(self, stage: Stage) -> None:
        for order in _orders_of_copies(stage):
            effect, ask = stage.driver.effect(order.effect), stage.ask(order)
            with stage.faults({"op": effect.operation, "kind": "unlisted", "seconds": 1}):
                refs = effect.start(stage.aws, ask)
            verdicts = stage.watch(effect.watch, refs.values())
            assert {each.state for each in verdicts.values()} <= {State.GONE, State.DONE}
            assert clock.wait_until(
                partial(_is_found, stage, effect, ask, refs),
                timeout_seconds=DEADLINE_SECONDS,
            )

    def test_a_copy_is_pending_until_aws_has_done_it(self, stage: Stage) -> None:
        orders = _orders_of_copies(stage)
        stage.simulator.config(pending=3600)
        for begun in map(stage.begin, orders):
            pending = stage.poll(begun)
            assert {each.state for each in pending.values()} == {State.PENDING}
            stage.finish(begun)
            for part in begun.parts:
                done = stage.poll(begun)[begun.refs[part.resource_id]]
                assert done.state is State.DONE
                assert done.percent == 100
                assert part.size_gib in (None, done.facts["size_gib"])
                assert done.facts["size_gib"] > 0
                assert done.facts["encrypted"] == part.encrypted
                assert json.loads(json.dumps(done.facts)) == done.facts

    def test_a_copy_that_aws_cannot_make_has_failed(self, stage: Stage) -> None:
        if not stage.rig.copies_can_fail:
            return
        planted = stage.plant()
        orders = [order for order in stage.plan(planted) if order.parts]
        bad = orders[0].parts[0]
        stage.simulator.config(fail=[bad.resource_id])
        begun = stage.begin(orders[0])
        verdicts = stage.settle(begun)
        assert verdicts[begun.refs[bad.resource_id]].state is State.FAILED
        others = set(begun.refs.values()) - {begun.refs[bad.resource_id]}
        assert all(verdicts[ref].state is State.DONE for ref in others)

    def test_a_copy_deleted_behind_our_back_is_gone_and_the_others_are_not(
        self, stage: Stage
    ) -> None:
        for begun in _protected(stage):
            lost, *kept = begun.refs.values()
            stage.rig.lose(stage, lost)
            asked = [*kept, lost, stage.rig.absent_ref]
            verdicts = stage.watch(begun.effect.watch, asked)
            assert set(verdicts) == set(asked)
            assert verdicts[lost].state is State.GONE
            assert verdicts[stage.rig.absent_ref].state is State.GONE
            assert all(verdicts[ref].state is State.DONE for ref in kept)

    def test_a_poll_that_fails_decides_nothing(self, stage: Stage) -> None:
        for begun in _protected(stage):
            for kind, expected in (
                ("503", FaultKind.TRANSIENT),
                ("throttle", FaultKind.THROTTLED),
                ("denied", FaultKind.DENIED),
            ):
                with stage.faults({"op": f"{_service(begun.effect)}:*", "kind": kind}):
                    fault = fault_of(partial(stage.poll, begun))
                assert fault.kind is expected
                assert fault.operation in stage.driver.watch(begun.effect.watch).permissions

    def test_deleting_twice_is_deleting_once(self, stage: Stage) -> None:
        for begun in _protected(stage):
            for part in begun.parts:
                stage.delete(part, begun.refs[part.resource_id])
                stage.delete(part, begun.refs[part.resource_id])
            assert {each.state for each in stage.poll(begun).values()} == {State.GONE}

    def test_refusals_name_the_operation_and_its_kind(self, stage: Stage) -> None:
        for order in _orders_of_copies(stage):
            effect = stage.driver.effect(order.effect)
            for kind, expected in (
                ("denied", FaultKind.DENIED),
                ("throttle", FaultKind.THROTTLED),
                ("500", FaultKind.UNKNOWN),
            ):
                with stage.faults({"op": effect.operation, "kind": kind}):
                    fault = fault_of(partial(stage.begin, order))
                assert fault.kind is expected
                assert fault.operation == effect.operation
                assert fault.code

    def test_a_limit_that_is_reached_is_something_to_wait_for(self, stage: Stage) -> None:
        for order in _orders_of_copies(stage):
            operation = stage.driver.effect(order.effect).operation
            for code in _LIMITS[operation.partition(":")[0]]:
                with stage.faults({"op": operation, "kind": "denied", "code": code}):
                    fault = fault_of(partial(stage.begin, order))
                assert (fault.kind, fault.code) == (FaultKind.QUOTA, code)
                assert fault.worth_another_try

    def test_a_name_that_an_earlier_attempt_has_taken_is_no_obstacle(self, stage: Stage) -> None:
        for order in _orders_of_copies(stage):
            effect, ask = stage.driver.effect(order.effect), stage.ask(order)
            refs = effect.start(stage.aws, ask)
            if stage.rig.copies_are_named:
                assert effect.start(stage.aws, ask) == refs
            assert sorted(stage.rig.copies_with(stage, ask.token)) == sorted(refs.values())

    def test_recoveries_make_what_was_asked_for(self, stage: Stage) -> None:
        planted = stage.plant()
        source = stage.back_up(planted)
        for case in stage.rig.recoveries:
            orders = stage.plan_recovery(source, case.options(stage, planted))
            assert json.loads(json.dumps([order.spec for order in orders])) == [
                order.spec for order in orders
            ]
            begun = stage.carry_out(orders)
            assert any(each.effect.makes_result for each in begun)
            case.check(stage, planted, _by_step(orders, begun))

    def test_each_step_of_a_recovery_may_be_asked_for_twice(self, stage: Stage) -> None:
        planted = stage.plant()
        source = stage.back_up(planted)
        for case in stage.rig.recoveries:
            earlier: dict[str, dict[str, str]] = {}
            for order in stage.plan_recovery(source, case.options(stage, planted)):
                begun = stage.begin(order, earlier)
                stage.settle(begun)
                assert _again(stage, begun) == begun.refs
                earlier[order.step] = begun.refs

    def test_a_recovery_that_is_taken_back_leaves_nothing(self, stage: Stage) -> None:
        planted = stage.plant()
        source = stage.back_up(planted)
        for case, share in itertools.product(stage.rig.recoveries, SHARES):
            options = case.options(stage, planted)
            before = stage.rig.remains(stage)
            orders = stage.plan_recovery(source, options)
            begun = stage.carry_out(to_be_taken_back(stage, orders, share))
            for each in reversed(begun):
                if each.effect.undo:
                    _undo_twice(stage, each)
                    assert stage.is_undone(each)
            assert clock.wait_until(
                partial(_has_only, stage, before),
                timeout_seconds=DEADLINE_SECONDS,
            )


def _orders_of_copies(stage: Stage) -> list[Order]:
    return [order for order in stage.plan(stage.plant()) if order.parts]


def _protected(stage: Stage) -> list[Begun]:
    return stage.carry_out(_orders_of_copies(stage))


def _by_step(orders: list[Order], begun: list[Begun]) -> dict[str, dict[str, str]]:
    return {order.step: each.refs for order, each in zip(orders, begun, strict=True)}


def _again(stage: Stage, begun: Begun) -> Any:
    """What a worker does that does not know whether it has asked already."""
    if begun.effect.find:
        return begun.effect.find(stage.aws, begun.ask)
    return begun.effect.start(stage.aws, begun.ask)


def _is_found(stage: Stage, effect: Effect, ask: Ask, refs: Refs) -> bool:
    return effect.find is not None and effect.find(stage.aws, ask) == refs


def _has_only(stage: Stage, things: set[str]) -> bool:
    return stage.rig.remains(stage) == things


def _undo_twice(stage: Stage, begun: Begun) -> None:
    for _ in range(2):
        assert begun.effect.undo is not None
        begun.effect.undo(stage.aws, begun.refs)


def _service(effect: Effect) -> str:
    return effect.operation.partition(":")[0]
