# ruff: noqa: S101 - these are tests
"""What an inventory is, in tests: a type that lists its copies lists those of this server, and all.

It is used as `cpm.testing.driver_suite` is; types without an inventory pass it.
"""

import json

from cpm.resources import registry
from cpm.resources.contract import Driver, Owned, Part, State
from cpm.testing.stage import Begun, Stage


class InventorySuite:
    """The promises of every driver's inventory."""

    def test_the_inventory_lists_the_copies_that_this_server_made(self, stage: Stage) -> None:
        orders = [order for order in stage.plan(stage.plant()) if order.parts]
        expected = {
            (part.kind, begun.refs[part.resource_id]): (part, begun.ask)
            for begun in stage.carry_out(orders)
            for part in begun.parts
            if _owner(part).inventory is not None
        }
        owners = {_owner(part) for part, _ in expected.values()}
        listed = {
            (owner.kind, each.aws_ref): each
            for owner in owners
            for each in _listed(stage, owner, stage.SERVER_ID)
        }
        assert set(listed) == set(expected)
        for key, (part, ask) in expected.items():
            owned = listed[key]
            owner, _ = registry.by_snapshot_collection(owned.collection)
            assert owner.kind == part.kind
            assert (owned.resource_id, owned.part_of) == (part.resource_id, "")
            assert ask.marks.items() <= owned.marks.items()
            assert owned.state is State.DONE
            assert part.size_gib in (None, owned.facts["size_gib"])
            assert json.loads(json.dumps(owned.facts)) == owned.facts
        assert all(_listed(stage, owner, "another-server") == [] for owner in owners)

    def test_the_inventory_tells_what_aws_has_not_done_and_what_is_gone(self, stage: Stage) -> None:
        orders = [order for order in stage.plan(stage.plant()) if order.parts]
        stage.simulator.config(pending=3600)
        for begun in map(stage.begin, orders):
            parts = [part for part in begun.parts if _owner(part).inventory is not None]
            assert [_states(stage, part, begun) for part in parts] == [{State.PENDING}] * len(parts)
            stage.finish(begun)
            assert [_states(stage, part, begun) for part in parts] == [{State.DONE}] * len(parts)
            for part in parts:
                stage.delete(part, begun.refs[part.resource_id])
                assert _states(stage, part, begun) <= {State.GONE}


def _owner(part: Part) -> Driver:
    owner, _ = registry.by_snapshot_collection(part.collection)
    return owner


def _listed(stage: Stage, owner: Driver, server_id: str) -> list[Owned]:
    assert owner.inventory is not None
    return list(owner.inventory(stage.aws, server_id))


def _states(stage: Stage, part: Part, begun: Begun) -> set[State]:
    """What the inventory says of one copy."""
    listed = _listed(stage, _owner(part), stage.SERVER_ID)
    return {each.state for each in listed if each.aws_ref == begun.refs[part.resource_id]}
