# ruff: noqa: S101 - these are tests
"""Whether drivers declare the IAM actions that their calls need, in tests: all, and no others.

It is used as `cpm.testing.driver_suite` is, with fixtures `driver`, each of the registry, and
`stages`, one for each way in which it protects.
"""

import itertools
from base64 import b64encode
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import sha256

from cpm.archive import target
from cpm.kernel import clock, times
from cpm.kernel.faults import Fault
from cpm.resources.contract import Driver, Json, Order, Part, Refs, Resource
from cpm.resources.copied import Source, Use
from cpm.resources.options import make
from cpm.resources.restored_snapshots import SNAPSHOT, completion
from cpm.testing.copy_suite import walk_copies
from cpm.testing.stage import SHARES, Begun, Stage, to_be_taken_back


class PermissionSuite:
    """The promises of every driver's declared permissions."""

    def test_declared_permissions_are_those_that_the_calls_need(
        self, driver: Driver, stages: Sequence[Stage]
    ) -> None:
        declared, needed = _Permissions(), _Permissions()
        for effect in driver.effects:
            declared.add(f"effect {effect.name}", effect.permissions)
            declared.add(f"undo of {effect.name}", effect.undo_permissions)
            declared.add(f"expiry of {effect.name}", effect.expire_permissions)
        for watch in driver.watches:
            declared.add(f"watch {watch.name}", watch.permissions)
        declared.add("reading", driver.read_permissions)
        for stage in stages:
            _walk(stage, needed)
        assert needed.by_part == declared.by_part


class _Permissions:
    """IAM actions by what needs them."""

    def __init__(self) -> None:
        self.by_part: dict[str, set[str]] = {}

    def add(self, part: str, actions: Iterable[str]) -> None:
        self.by_part.setdefault(part, set()).update(actions)
        if not self.by_part[part]:
            del self.by_part[part]


def _walk(stage: Stage, needed: _Permissions) -> None:
    """Use everything that the driver declares, and note what it took."""
    source = _walk_backup(stage, stage.rig.plant(stage), stage.rig.target_options, needed)
    _walk_recoveries(stage, source, needed)
    for resource_id, options in stage.rig.more_targets(stage):
        _walk_backup(stage, resource_id, options, needed)
    walk_copies(stage, needed.add)
    _walk_restores(stage, source[1], needed)


def _walk_backup(
    stage: Stage, resource_id: str, options: Json, needed: _Permissions
) -> tuple[Resource, Source]:
    with stage.recording() as actions:
        (resource,) = stage.driver.describe(stage.aws, [resource_id])
        list(stage.driver.discover(stage.aws))
        if stage.driver.inventory:
            list(stage.driver.inventory(stage.aws, stage.SERVER_ID))
        if stage.driver.agents:
            list(stage.driver.agents(stage.aws, [resource_id]))
        if stage.driver.check_target:
            wanted: object = make(stage.driver.target_options, options)
            stage.driver.check_target(stage.aws, resource, wanted)
    needed.add("reading", actions)
    begun = _walk_chain(stage, stage.plan(resource, options), needed)
    source = stage.source(resource, begun)
    again = _walk_chain(stage, stage.plan(resource, options), needed)
    _watch_together(stage, [*begun, *again], needed)
    for each in again:
        for part in each.parts:
            ref = each.refs[part.resource_id]
            _walk_chain(stage, stage.rig.sharing(stage, ref), needed)
            with stage.recording() as actions:
                _delete(stage, part, ref)
            if part.kind == stage.driver.kind:
                needed.add("effect delete", actions)
    return resource, source


def _watch_together(stage: Stage, begun: Iterable[Begun], needed: _Permissions) -> None:
    """Many are watched in another way than one, by some drivers."""
    refs: dict[str, list[str]] = {}
    for each in begun:
        refs.setdefault(each.effect.watch, []).extend(each.refs.values())
    refs.pop("", None)
    for name, its_own in refs.items():
        with stage.recording() as actions:
            stage.watch(name, its_own)
        needed.add(f"watch {name}", actions)


def _delete(stage: Stage, part: Part, ref: str) -> None:
    """Delete a copy, first while AWS refuses that."""
    with stage.refused_deletions(stage.aws), suppress(Fault):
        stage.delete(part, ref)
    stage.delete(part, ref)


def _walk_recoveries(
    stage: Stage, backed_up: tuple[Resource, Source], needed: _Permissions
) -> None:
    resource, source = backed_up
    for case, share in itertools.product(stage.rig.recoveries, (None, *SHARES)):
        with stage.recording() as actions:
            orders = stage.plan_recovery(source, case.options(stage, resource))
        needed.add("reading", actions)
        if share is None:
            _walk_chain(stage, orders, needed)
        else:
            _walk_back(stage, to_be_taken_back(stage, orders, share), needed)


def _walk_restores(stage: Stage, source: Source, needed: _Permissions) -> None:
    """Start snapshots for what is outside of AWS, as a key of the account's encrypts them."""
    driver = stage.driver
    if driver.plan_restores is None or driver.recover_options is None:
        return
    for use in Use:
        options: object = make(driver.recover_options, {"encrypted": True})
        with stage.recording() as actions:
            restores = driver.plan_restores(stage.aws, source, options, use)
        needed.add("reading", actions)
        orders = [each.order for each in restores]
        if not any(effect.name == orders[0].effect for effect in driver.effects):
            return  # what is started is another type's
        (begun,) = _walk_chain(stage, orders, needed)
        nothing = target.Totals(0, b64encode(sha256().digest()).decode())
        _walk_chain(stage, [completion(begun.refs[SNAPSHOT], nothing)], needed)
        with stage.recording() as actions:
            assert begun.effect.expire is not None
            begun.effect.expire(stage.aws, begun.refs, times.to_wire(clock.now()))
        needed.add(f"expiry of {begun.effect.name}", actions)
        with stage.recording() as actions:
            assert begun.effect.undo is not None
            begun.effect.undo(stage.aws, begun.refs)
        needed.add(f"undo of {begun.effect.name}", actions)


def _walk_back(stage: Stage, orders: list[Order], needed: _Permissions) -> None:
    for each in reversed(_walk_chain(stage, orders, needed)):
        if each.effect.undo:
            with stage.recording() as actions:
                each.effect.undo(stage.aws, each.refs)
            needed.add(f"undo of {each.effect.name}", actions)
            assert stage.is_undone(each)


def _walk_chain(stage: Stage, orders: Iterable[Order], needed: _Permissions) -> list[Begun]:
    chain: list[Begun] = []
    earlier: dict[str, Refs] = {}
    tokens: dict[str, str] = {}
    for order in orders:
        with stage.recording() as actions:
            begun = stage.begin(order, earlier, tokens)
            if begun.effect.find:
                begun.effect.find(stage.aws, begun.ask)
        needed.add(f"effect {begun.effect.name}", actions)
        if begun.effect.watch:
            with stage.recording() as actions:
                stage.settle(begun)
            needed.add(f"watch {begun.effect.watch}", actions)
        earlier[order.step], tokens[order.step] = begun.refs, begun.ask.token
        chain.append(begun)
    return chain
