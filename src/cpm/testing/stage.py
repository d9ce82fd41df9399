"""Where the driver suite plays: one driver, an account of its own, and a record of its calls."""

import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from cpm.aws import tags
from cpm.aws.credentials import StaticKeys
from cpm.aws.sessions import Aws, Cloud
from cpm.kernel import clock
from cpm.kernel.faults import Fault
from cpm.resources import registry
from cpm.resources.contract import (
    Ask,
    Driver,
    Effect,
    Json,
    Order,
    Part,
    Refs,
    Resource,
    State,
    Verdict,
    Where,
)
from cpm.resources.copied import Copied, Source
from cpm.resources.options import make
from cpm.simulator.process import Simulator

REGION = "us-east-1"
OTHER_REGION = "us-west-2"
DEADLINE_SECONDS = 30.0
# How much of a chain has been done when it is taken back.
SHARES = (0.5, 1.0)
SHARING_KEY = "alias/cpm_share"

_DECIDED = (State.DONE, State.FAILED, State.GONE)
# What AWS does with the caller's rights when a call names a key.
_KEY_ACTIONS = frozenset(
    f"kms:{action}"
    for action in (
        "CreateGrant",
        "Decrypt",
        "DescribeKey",
        "GenerateDataKeyWithoutPlaintext",
        "ReEncryptFrom",
        "ReEncryptTo",
    )
)


# Parameters that hand a role to a service.
_ROLES = frozenset(
    {"IamInstanceProfile", "IamRoles", "RoleArn", "MonitoringRoleArn", "DomainIAMRoleName"}
)
# How services name the right to tag what a call makes, where the call itself brings the tags.
_TAGGING = {
    "ebs": "ec2:CreateTags",
    "rds": "rds:AddTagsToResource",
    "redshift": "redshift:CreateTags",
}
# What else AWS checks for a call.
_ALSO_CHECKED: Mapping[str, frozenset[str]] = {
    "dynamodb:RestoreTableFromBackup": frozenset(
        {
            *("dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:GetItem"),
            *("dynamodb:PutItem", "dynamodb:Query", "dynamodb:Scan", "dynamodb:UpdateItem"),
            *("kms:Encrypt", "kms:GenerateDataKey", *_KEY_ACTIONS),
        }
    ),
    "redshift:AuthorizeSnapshotAccess": frozenset({"kms:CreateGrant", "kms:DescribeKey"}),
}


@dataclass(frozen=True)
class Call:
    """One call that a driver made."""

    service: str
    operation: str
    parameters: Json

    @property
    def actions(self) -> frozenset[str]:
        """The IAM actions that AWS checks for it."""
        name = f"{self.service}:{self.operation}"
        found = {name, *_ALSO_CHECKED.get(name, ())}
        if "TagSpecifications" in self.parameters:
            found.add("ec2:CreateTags")
        if "Tags" in self.parameters and self.service in _TAGGING:
            found.add(_TAGGING[self.service])
        if self.parameters.keys() & _ROLES:
            found.add("iam:PassRole")
        if _names_a_key(self.parameters) or self._uses_a_key:
            found |= _KEY_ACTIONS
            if self.service == "ebs":
                found.add("kms:GenerateDataKey")
        return frozenset(found)

    @property
    def _uses_a_key(self) -> bool:
        """Whether AWS takes a key from what it is about, with the rights of the caller."""
        if self.service in ("ebs", "ec2"):
            return bool(self.parameters.get("Encrypted"))
        is_from_snapshot = self.operation.startswith(("Copy", "CreateDBInstance", "Restore"))
        return self.service == "rds" and is_from_snapshot


@dataclass(frozen=True)
class RecordingAws(Aws):
    """A handle that remembers what was called through it."""

    calls: list[Call] = field(default_factory=list, compare=False)

    def call(self, service: str, operation: str, **parameters: Any) -> Json:
        """See `Aws`."""
        self.calls.append(Call(service, operation, parameters))
        return super().call(service, operation, **parameters)


@dataclass(frozen=True)
class RecoveryCase:
    """One way to recover: the options asked for, and a check of what came of them."""

    name: str
    options: Callable[["Stage", Resource], Json]
    check: Callable[["Stage", Resource, Mapping[str, Refs]], None]


@dataclass(frozen=True)
class CopyCase:
    """One way for a copy to get to another place: what is copied, and where to."""

    name: str
    # Makes what is protected; its id.
    plant: Callable[["Stage"], str]
    crosses_accounts: bool = False
    region: str = OTHER_REGION


@dataclass(frozen=True)
class Rig:
    """What the suite has to know of a type to play with it: how AWS gets and loses things."""

    # Makes one resource with a tag `team=red`; its id.
    plant: Callable[["Stage"], str]
    # Makes many small ones.
    plant_many: Callable[["Stage", int], object]
    # Takes a copy away behind the product's back.
    lose: Callable[["Stage", str], object]
    # The tags that something made carries.
    tags_of: Callable[["Stage", str], dict[str, str]]
    # The copies that carry a token, as AWS lists them.
    copies_with: Callable[["Stage", str], list[str]]
    # Whatever recoveries made that is still there and costs money.
    remains: Callable[["Stage"], set[str]]
    recoveries: Sequence[RecoveryCase]
    # An id of the right form that nothing has, and the same of a copy.
    absent_id: str
    absent_ref: str
    target_options: Json = field(default_factory=dict)
    # What has to be finished in AWS before a copy is: itself, or what it is made of.
    made_of: Callable[["Stage", str], Sequence[str]] = lambda _, ref: [ref]
    # Whether a copy carries tags of its resource, and whether AWS can fail to make one.
    copies_tags: bool = True
    copies_can_fail: bool = True
    # Whether the caller names them, so that AWS makes no second one of a name.
    copies_are_named: bool = False
    # So many make several pages.
    many: int = 1200
    # What shares a copy with another account.
    sharing: Callable[["Stage", str], Sequence[Order]] = lambda *_: ()
    # Resources, with target options, that take other paths through the driver.
    more_targets: Callable[["Stage"], Sequence[tuple[str, Json]]] = lambda _: ()
    # The code with which AWS refuses to delete a copy that it is just deleting, if it does.
    deletion_refused: str = ""
    copying: Sequence[CopyCase] = ()
    # All copies in a place with their tags, and the accounts with which one is shared.
    copies_at: Callable[[Aws], Mapping[str, dict[str, str]]] = lambda _: {}
    shared_with: Callable[[Aws, str], set[str]] = lambda *_: set()


@dataclass(frozen=True)
class Begun:
    """An effect that was started, and where."""

    effect: Effect
    ask: Ask
    parts: Sequence[Part]
    refs: Refs
    aws: Aws


class Stage:
    """One driver on an account that nothing else uses."""

    SERVER_ID = "a-server"

    def __init__(
        self, driver: Driver, rig: Rig, simulator: Simulator, cloud: Cloud, account_number: str
    ) -> None:
        self.driver = driver
        self.rig = rig
        self.simulator = simulator
        self.account_number = account_number
        self._cloud = cloud
        self.aws = RecordingAws(cloud, self._keys(account_number), REGION, account_number)
        # For what the driver does not do itself: planting, looking, taking away.
        self.hand = cloud.aws(self._keys(account_number), REGION, account_number)
        self.other_number = f"{int(account_number) + 10**11}"

    @property
    def other(self) -> Aws:
        """Another account in the same region; its calls are recorded with those of the first."""
        keys, calls = self._keys(self.other_number), self.aws.calls
        return RecordingAws(self._cloud, keys, REGION, self.other_number, calls=calls)

    def _keys(self, account_number: str) -> StaticKeys:
        key = self.simulator.account(account_number)
        return StaticKeys(key.access_key_id, key.secret_access_key)

    def plant(self) -> Resource:
        """One resource, as the driver describes it."""
        (planted,) = self.driver.describe(self.aws, [self.rig.plant(self)])
        return planted

    def plan(self, resource: Resource, options: Json | None = None) -> list[Order]:
        """The orders that protect `resource`."""
        chosen = self.rig.target_options if options is None else options
        made: object = make(self.driver.target_options, chosen)
        return list(self.driver.plan_snapshots(resource, made))

    def ask(
        self,
        order: Order,
        earlier: Mapping[str, Refs] | None = None,
        tokens: Mapping[str, str] | None = None,
    ) -> Ask:
        """What an effect is given for `order`, with a token of its own."""
        token = str(uuid.uuid4())
        marks = {
            tags.SERVER_ID: self.SERVER_ID,
            tags.POLICY_NAME: "a-policy",
            tags.BACKUP_ID: "7",
            tags.TOKEN: token,
        }
        return Ask(order.spec, token, marks, earlier or {}, tokens or {})

    def begin(
        self,
        order: Order,
        earlier: Mapping[str, Refs] | None = None,
        tokens: Mapping[str, str] | None = None,
        *,
        at: Aws | None = None,
    ) -> Begun:
        """Start the effect of `order`, where it is planned unless `at` says otherwise."""
        effect, aws = self.driver.effect(order.effect), at or self.aws
        ask = self.ask(order, earlier, tokens)
        return Begun(effect, ask, order.parts, effect.start(aws, ask), aws)

    def poll(self, begun: Begun) -> Mapping[str, Verdict]:
        """What AWS says of it now."""
        watch = self.driver.watch(begun.effect.watch)
        return watch.poll(begun.aws, list(begun.refs.values()))

    def finish(self, begun: Begun) -> None:
        """Let AWS be done with it."""
        for ref in begun.refs.values():
            self.simulator.finish(*self.rig.made_of(self, ref))

    def watch(self, name: str, refs: Iterable[str]) -> Mapping[str, Verdict]:
        """What a watch says of `refs` now."""
        return self.driver.watch(name).poll(self.aws, list(refs))

    def settle(self, begun: Begun) -> Mapping[str, Verdict]:
        """What AWS says of it in the end."""
        if not begun.effect.watch:
            return {}
        verdicts: Mapping[str, Verdict] = {}

        def is_decided() -> bool:
            nonlocal verdicts
            verdicts = self.poll(begun)
            return all(verdict.state in _DECIDED for verdict in verdicts.values())

        assert clock.wait_until(is_decided, timeout_seconds=DEADLINE_SECONDS)  # noqa: S101
        return verdicts

    def is_undone(self, begun: Begun) -> bool:
        """Whether what took it back has come to its end, before long."""
        watch = begun.effect.undo_watch

        def is_over() -> bool:
            verdicts = self.watch(watch, begun.refs.values())
            return all(verdict.state is State.DONE for verdict in verdicts.values())

        return not watch or clock.wait_until(is_over, timeout_seconds=DEADLINE_SECONDS)

    def carry_out(
        self, orders: Iterable[Order], places: Mapping[Where, Aws] | None = None
    ) -> list[Begun]:
        """Start and settle all orders, each after the one that it follows; all must succeed."""
        begun: list[Begun] = []
        earlier: dict[str, Refs] = {}
        tokens: dict[str, str] = {}
        for order in orders:
            one = self.begin(order, earlier, tokens, at=places[order.where] if places else None)
            begun.append(one)
            states = {verdict.state for verdict in self.settle(one).values()}
            assert states <= {State.DONE}, f"{order.effect}: {states}"  # noqa: S101
            earlier[order.step], tokens[order.step] = one.refs, one.ask.token
        return begun

    def back_up(self, resource: Resource) -> Source:
        """Protect `resource` and wait: what a recovery then starts from."""
        return self.source(resource, self.carry_out(self.plan(resource)))

    def source(self, resource: Resource, begun: Iterable[Begun]) -> Source:
        """What a recovery starts from, after the effects `begun` have protected `resource`."""
        copies = [copy for one in begun for copy in self.copies(one)]
        return Source(resource.resource_id, resource.name, resource.facts, copies)

    def plan_recovery(self, source: Source, options: Json) -> list[Order]:
        """The orders that bring `source` back."""
        driver = self.driver
        if driver.plan_recovery is None or driver.recover_options is None:
            raise LookupError(f"{driver.kind} cannot be recovered")
        return driver.plan_recovery(self.aws, source, make(driver.recover_options, options))

    def delete(self, part: Part, ref: str) -> None:
        """Delete a copy as the product does."""
        owner, collection = registry.by_snapshot_collection(part.collection)
        spec = {"aws_ref": ref, "facts": part.facts}
        owner.effect(collection.delete).start(self.aws, self.ask(Order(collection.delete, spec)))

    @contextmanager
    def faults(self, *rules: Json, at: Aws | None = None) -> Iterator[None]:
        """AWS misbehaves while the context lasts, here unless `at` says otherwise."""
        account = {"account": (at or self.aws).account_number}
        self.simulator.faults([rule | account for rule in rules])
        try:
            yield
        finally:
            self.simulator.faults([])

    def refused_deletions(self, at: Aws) -> AbstractContextManager[None]:
        """AWS refuses one deletion of a copy, as it does with what it is just deleting."""
        code = self.rig.deletion_refused
        rule = {"op": self.driver.effect("delete").operation, "kind": "denied", "code": code}
        return self.faults(*([rule | {"times": 1}] if code else []), at=at)

    @contextmanager
    def recording(self) -> Iterator[set[str]]:
        """The IAM actions of the calls that are made while the context lasts."""
        actions: set[str] = set()
        before = len(self.aws.calls)
        yield actions
        actions.update(*(call.actions for call in self.aws.calls[before:]))

    def copies(self, begun: Begun) -> Iterator[Copied]:
        """The copies that an effect has made, as recoveries and further copies find them."""
        verdicts = self.settle(begun)
        for number, part in enumerate(begun.parts):
            ref = begun.refs[part.resource_id]
            learnt = verdicts[ref].facts
            yield Copied(
                snapshot_id=number,
                aws_ref=ref,
                collection=part.collection,
                resource_id=part.resource_id,
                device=part.device,
                size_gib=learnt.get("size_gib", part.size_gib),
                facts={**part.facts, **learnt},
            )


def fault_of(work: Callable[[], object]) -> Fault:
    """The fault that `work` raises; it must raise one."""
    try:
        work()
    except Fault as fault:
        return fault
    raise AssertionError("no fault was raised")


def to_be_taken_back(stage: Stage, orders: list[Order], share: float) -> list[Order]:
    """What has been done of a chain when it fails after that share of it; it has not tidied up."""
    main = [order for order in orders if not stage.driver.effect(order.effect).tidies_up]
    return main[: math.ceil(len(main) * share)]


def _names_a_key(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "KmsKeyId" in value or any(map(_names_a_key, value.values()))
    return isinstance(value, list) and any(map(_names_a_key, value))
