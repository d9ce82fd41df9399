# ruff: noqa: S101 - these are tests
"""What drivers promise that copy to other regions and accounts, in tests.

Derive a test class from `CopySuite` and let pytest collect it. It needs a fixture `journey` for
each `CopyCase` of each rig.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import registry
from cpm.resources.contract import Order, Owned, Part, Refs, State, Where
from cpm.resources.copied import Copied, CopyWish
from cpm.testing.stage import SHARING_KEY, Begun, CopyCase, Stage, fault_of

# Is told which IAM actions a part of the driver took.
Note = Callable[[str, Iterable[str]], None]
EXPIRED_AT = "2030-01-01T00:00:00Z"
# What a copy need not have in common with its original.
_OF_ITS_OWN = ("kms_key_id", "encrypted", "snapshots")


@dataclass
class Journey:
    """A snapshot on its way to another place."""

    stage: Stage
    case: CopyCase

    @cached_property
    def original(self) -> Copied:
        """The snapshot that is copied."""
        stage = self.stage
        (resource,) = stage.driver.describe(stage.aws, [self.case.plant(stage)])
        return stage.back_up(resource).copies[0]

    @cached_property
    def places(self) -> Mapping[Where, Aws]:
        """Where the steps work."""
        owner = self.stage.other if self.case.crosses_accounts else self.stage.aws
        target = owner.at(self.case.region)
        return {Where.SOURCE: self.stage.aws, Where.TARGET: target, Where.BETWEEN: owner}

    @property
    def target(self) -> Aws:
        """Where the copy is to be."""
        return self.places[Where.TARGET]

    def plan(self) -> list[Order]:
        """The chain of steps."""
        source, driver = self.stage.aws, self.stage.driver
        wish = CopyWish(
            self.original,
            source_account=source.account_number,
            source_region=source.region,
            target_account=self.target.account_number,
            target_region=self.target.region,
            sharing_key=SHARING_KEY,
        )
        if driver.plan_copy is None:
            raise LookupError(f"{driver.kind} cannot be copied")
        return driver.plan_copy(source, wish)

    def carry_out(self, orders: Iterable[Order]) -> list[Begun]:
        """Take steps, each after the one that it follows."""
        return self.stage.carry_out(orders, self.places)

    def take_back(self, begun: Iterable[Begun]) -> None:
        """Undo steps, the last first, each as if nobody knew whether it was undone already."""
        for each in reversed(list(begun)):
            for _ in range(2):
                assert each.effect.undo is not None
                each.effect.undo(each.aws, each.refs)

    def everything(self) -> set[tuple[str, str, str]]:
        """All copies in all places of the journey: account, region, ref."""
        rig, _ = self.stage.rig, self.original
        return {
            (aws.account_number, aws.region, ref)
            for aws in self.places.values()
            for ref in rig.copies_at(aws)
        }

    def is_shared(self) -> bool:
        """Whether the original is open to another account."""
        return bool(self.stage.rig.shared_with(self.stage.aws, self.original.aws_ref))

    def tags(self, aws: Aws, ref: str) -> Mapping[str, str]:
        """The tags of a copy."""
        return self.stage.rig.copies_at(aws)[ref]


class CopySuite:
    """The promises of drivers that copy to other places."""

    def test_a_copy_arrives_and_no_means_remain(self, journey: Journey) -> None:
        before, orders = journey.everything(), journey.plan()
        assert json.loads(json.dumps([each.spec for each in orders])) == [
            each.spec for each in orders
        ]
        begun = journey.carry_out(orders)
        journey.take_back(each for each in begun if each.effect.temporary)
        (copy,) = (each for each in begun if each.parts)
        (part,) = copy.parts
        ref = copy.refs[part.resource_id]
        assert journey.everything() - before == {(copy.aws.account_number, copy.aws.region, ref)}
        assert not journey.is_shared()
        _check_copy(journey, part, copy)
        _check_inventory(journey, part, ref)

    def test_a_lost_answer_makes_no_step_twice(self, journey: Journey) -> None:
        stage = journey.stage
        earlier: dict[str, Refs] = {}
        before, orders = journey.everything(), journey.plan()
        for order in orders:
            effect, aws = stage.driver.effect(order.effect), journey.places[order.where]
            ask = stage.ask(order, earlier)
            with stage.faults({"op": effect.operation, "kind": "lost", "times": 1}, at=aws):
                assert fault_of(partial(effect.start, aws, ask)).kind is FaultKind.UNKNOWN
            refs = effect.find(aws, ask) if effect.find else effect.start(aws, ask)
            assert refs is not None
            stage.settle(Begun(effect, ask, order.parts, refs, aws))
            earlier[order.step] = refs
        made = [order for order in orders if stage.driver.effect(order.effect).watch]
        assert len(journey.everything() - before) == len(made)

    def test_a_chain_that_is_given_up_leaves_nothing(self, journey: Journey) -> None:
        stage = journey.stage
        before, (*means, last) = journey.everything(), journey.plan()
        begun = journey.carry_out(means)
        earlier = {order.step: each.refs for order, each in zip(means, begun, strict=True)}
        stage.simulator.config(pending=3600)
        copy = stage.begin(last, earlier, at=journey.places[last.where])
        assert {each.state for each in stage.poll(copy).values()} == {State.PENDING}
        journey.take_back([*begun, copy])
        # What EC2 is still making is deleted when it is made.
        stage.simulator.finish()
        assert journey.everything() == before
        assert not journey.is_shared()

    def test_what_may_not_be_deleted_is_marked(self, journey: Journey) -> None:
        begun = journey.carry_out(journey.plan())
        marked = [each for each in begun if each.effect.expire]
        assert {each.effect.name for each in begun if each.parts} <= {
            each.effect.name for each in marked
        }
        for each in marked:
            assert each.effect.expire is not None
            each.effect.expire(each.aws, each.refs, EXPIRED_AT)
            each.effect.expire(each.aws, each.refs, EXPIRED_AT)
            for ref in each.refs.values():
                assert journey.tags(each.aws, ref)[tags.EXPIRED] == EXPIRED_AT


def _check_copy(journey: Journey, part: Part, copy: Begun) -> None:
    """It is found under the original's words, carries its tags and knows what it knew."""
    original = journey.original
    _, collection = registry.by_snapshot_collection(original.collection)
    assert (part.collection, part.resource_id) == (collection.copied_as, original.resource_id)
    carried = journey.tags(copy.aws, copy.refs[part.resource_id])
    assert carried["team"] == "red"
    assert copy.ask.marks.items() <= carried.items()
    (arrived,) = journey.stage.copies(copy)
    learnt = {key: arrived.facts[key] for key in _OF_ITS_OWN if key in arrived.facts}
    assert arrived.facts == original.facts | learnt
    assert arrived.size_gib == original.size_gib


def _check_inventory(journey: Journey, part: Part, ref: str) -> None:
    original = journey.original
    owned = [*_owned(journey, journey.stage.aws), *_owned(journey, journey.target)]
    assert {(each.collection, each.aws_ref, each.resource_id) for each in owned} == {
        (original.collection, original.aws_ref, original.resource_id),
        (part.collection, ref, part.resource_id),
    }


def _owned(journey: Journey, aws: Aws) -> list[Owned]:
    inventory = journey.stage.driver.inventory
    return list(inventory(aws, journey.stage.SERVER_ID)) if inventory else []


def walk_copies(stage: Stage, note: Note) -> None:
    """Copy in every way of the rig, and note which IAM actions each part of that took."""
    for case in stage.rig.copying:
        journey = Journey(stage, case)
        # Else it would be made while the plan's calls are noted.
        journey.everything()
        with stage.recording() as actions:
            orders = journey.plan()
        note("reading", actions)
        chain: list[Begun] = []
        earlier: dict[str, Refs] = {}
        for order in orders:
            with stage.recording() as actions:
                begun = stage.begin(order, earlier, at=journey.places[order.where])
                if begun.effect.find:
                    begun.effect.find(begun.aws, begun.ask)
            note(f"effect {order.effect}", actions)
            stage.settle(begun)
            earlier[order.step] = begun.refs
            chain.append(begun)
        for begun in reversed(chain):
            _walk_end(stage, begun, note)


def _walk_end(stage: Stage, begun: Begun, note: Note) -> None:
    effect = begun.effect
    for part in begun.parts:
        _, collection = registry.by_snapshot_collection(part.collection)
        ref = begun.refs[part.resource_id]
        spec = {"aws_ref": ref, "facts": part.facts, "expired_at": EXPIRED_AT}
        with stage.recording() as actions:
            stage.begin(Order(collection.expire, spec), at=begun.aws)
        note(f"effect {collection.expire}", actions)
    if effect.expire:
        with stage.recording() as actions:
            effect.expire(begun.aws, begun.refs, EXPIRED_AT)
        note(f"expiry of {effect.name}", actions)
    if effect.undo:
        with stage.recording() as actions:
            with stage.refused_deletions(begun.aws), suppress(Fault):
                effect.undo(begun.aws, begun.refs)
            effect.undo(begun.aws, begun.refs)
        note(f"undo of {effect.name}", actions)
