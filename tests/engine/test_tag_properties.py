"""Whatever tags say and whatever was there before: targets are what the grammar says."""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpm.kernel.tagspec import INSTANCE_OPTIONS, KEYS, VOLUME_OPTIONS, Option, Protection, parse
from cpm.models.policies import Policy, Target
from tests.engine.tagging import Tagging, left_out
from tests.engine.world import World, instance_target, name_volumes, volume_target

NOTHING = {"added": 0, "removed": 0, "changed": 0}
POLICIES = ("gold", "silver")
MADE = "made"

# A policy that is there, one that is not, and one that is made from one that is there.
names = st.sampled_from([*POLICIES, "lost", f"{MADE}:gold", "made2:lost"])
words = st.lists(st.sampled_from([*(f"#{option}" for option in Option), "#odd"]), max_size=2)
items = st.one_of(
    st.builds(lambda name, options: name + "".join(options), names, words),
    st.sampled_from(["#exclude", "no-backup", "b@d", ""]),
)
values = st.lists(items, max_size=3).map(" ".join)
tags = st.dictionaries(st.sampled_from(KEYS), values)


@dataclass(frozen=True)
class Fleet:
    """What there is in AWS: instances with two volumes each, and volumes that stand alone."""

    instances: dict[str, list[str]]
    loose: list[str]

    @property
    def resources(self) -> list[str]:
        """All that can be tagged."""
        return [*self.instances, *self.volumes]

    @property
    def volumes(self) -> list[str]:
        return [*(each for some in self.instances.values() for each in some), *self.loose]


@dataclass(frozen=True)
class Before:
    """Rows that are there before a scan, by the positions of resources."""

    by_hand: dict[tuple[str, int], str]
    by_tag: set[tuple[str, int]]


RESOURCES = 2 + 4 + 1
places = st.tuples(st.sampled_from(POLICIES), st.integers(0, RESOURCES - 1))
befores = st.builds(
    Before,
    st.dictionaries(places, st.sampled_from("AIE"), max_size=4),
    st.sets(places, max_size=3),
)


@pytest.fixture
def tagging(world: World) -> Tagging:
    return Tagging(world)


@pytest.fixture
def fleet(tagging: Tagging) -> Fleet:
    instances = {(i := tagging.instance(volumes=2)): tagging.volumes_of(i) for _ in range(2)}
    return Fleet(dict(sorted(instances.items())), [tagging.volume()])


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(said=st.lists(tags, min_size=RESOURCES, max_size=RESOURCES), before=befores)
def test_targets_are_what_the_grammar_says(
    tagging: Tagging, fleet: Fleet, said: list[dict[str, str]], before: Before
) -> None:
    _write(tagging, fleet, said)
    _prepare(tagging, fleet, before)
    by_hand = {_key(target): target for target in Target.objects.filter(added_by_tag=False)}
    named = {key: _named(target) for key, target in by_hand.items()}

    tagging.scan()

    protections = _protections(fleet, said)
    expected = {
        (mention.policy, resource_id)
        for resource_id, protection in protections.items()
        for mention in protection.policies
        if _exists(mention.policy, mention.template)
    }
    stays = {key for key in by_hand if not protections[key[1]].no_backup}
    targets = {_key(target): target for target in Target.objects.select_related("policy")}
    assert {key for key, each in targets.items() if each.added_by_tag} == expected - stays
    assert {key for key, each in targets.items() if not each.added_by_tag} == stays
    for key in stays:
        assert _without_mode(targets[key]) == _without_mode(by_hand[key])
        assert _named(targets[key]) == named[key]
    for target in targets.values():
        _check_left_out(target, fleet, protections)

    again = tagging.scan()
    assert {name: again[name] for name in NOTHING} == NOTHING
    assert set(map(_key, Target.objects.select_related("policy"))) == set(targets)


def _write(tagging: Tagging, fleet: Fleet, said: list[dict[str, str]]) -> None:
    tagging.untag(*fleet.resources)
    for resource_id, asked in zip(fleet.resources, said, strict=True):
        tagging.tag([resource_id], None, **asked)


def _prepare(tagging: Tagging, fleet: Fleet, before: Before) -> None:
    Policy.objects.all().delete()
    rows: dict[str, list[Target]] = {name: [] for name in POLICIES}
    modes: list[tuple[Target, str]] = []
    for (name, position), mode in before.by_hand.items():
        target = _target(fleet, position, mode)
        rows[name].append(target)
        modes.append((target, mode))
    for name, position in before.by_tag - before.by_hand.keys():
        target = _target(fleet, position, "A")
        target.added_by_tag, target.tag = True, "old"
        rows[name].append(target)
    for name, targets in rows.items():
        tagging.policy(name, *targets)
    for target, mode in modes:
        if mode != "A" and target.kind == "ec2_instance":
            name_volumes(target, fleet.instances[target.resource_id][:1])


def _target(fleet: Fleet, position: int, mode: str) -> Target:
    resource_id = fleet.resources[position]
    if resource_id in fleet.instances:
        return instance_target(resource_id, volumes_mode=mode)
    return volume_target(resource_id)


def _protections(fleet: Fleet, said: list[dict[str, str]]) -> dict[str, Protection]:
    return {
        resource_id: parse(asked).limited_to(
            INSTANCE_OPTIONS if resource_id in fleet.instances else VOLUME_OPTIONS
        )
        for resource_id, asked in zip(fleet.resources, said, strict=True)
    }


def _exists(policy: str, template: str | None) -> bool:
    return policy in POLICIES or template == "gold"


def _named(target: Target) -> set[str]:
    """The volumes that somebody has named."""
    return set(target.volumes.filter(added_by_tag=False).values_list("volume_id", flat=True))


def _check_left_out(target: Target, fleet: Fleet, protections: dict[str, Protection]) -> None:
    mode = target.options.get("volumes_mode", "A")
    excluded = {
        volume_id
        for volume_id in fleet.instances.get(target.resource_id, [])
        if protections[volume_id].is_excluded_everywhere
        or target.policy.name in protections[volume_id].exclusions
    }
    expected = set() if mode == "I" else excluded - _named(target)
    assert set(left_out(target)) == expected
    if expected:
        assert mode == "E"


def _key(target: Target) -> tuple[str, str]:
    return target.policy.name, target.resource_id


def _without_mode(target: Target) -> tuple[str, object, bool]:
    options = {name: value for name, value in target.options.items() if name != "volumes_mode"}
    return target.kind, options, target.options.get("volumes_mode") == "I"
