"""What a resource type declares, and the plain values that pass between a driver and the engine.

A driver is a module of this folder with a `DRIVER`. It knows AWS and its own facts; it sees no
rows, no requests, no queue and no clock. It never waits: an effect is *started*, and what came of
it is asked later, in batches, by a watch. `cpm.testing.driver_suite` says in tests what this file
says in types.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from cpm.aws.sessions import Aws
from cpm.kernel import tagspec
from cpm.resources.copied import Copied, CopyWish, Source, Use

Json = dict[str, Any]
# What AWS calls the things an effect has made: by resource id for snapshots, else by role.
Refs = dict[str, str]


class OptionRefused(Exception):
    """An option that can be seen to be wrong before anything is done; `field` is its wire name."""

    def __init__(self, field_name: str, code: str, message: str) -> None:
        super().__init__(message)
        self.field = field_name
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that exists in AWS and can be protected."""

    kind: str
    resource_id: str
    region: str
    name: str | None = None
    size_gib: int = 0
    part_of: str | None = None  # The resource that it is protected with.
    tags: Mapping[str, str] = field(default_factory=dict)
    # Whatever the driver needs to protect it and to make it anew; JSON.
    facts: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """One snapshot that an order makes; becomes a row before AWS is asked."""

    kind: str
    collection: str
    resource_id: str
    resource_name: str | None = None
    instance_id: str | None = None
    device: str | None = None
    size_gib: int | None = None
    encrypted: bool | None = None
    facts: Json = field(default_factory=dict)
    # In a shared collection: what its owner has named as the copy; none is made or deleted.
    given_ref: str = ""


class Where(StrEnum):
    """In which account and region a step of a copy works."""

    TARGET = "target"  # where the copy is to be; the place of every other plan
    SOURCE = "source"  # where the original is
    BETWEEN = "between"  # the target's account in the original's region


class Once(StrEnum):
    """When a step of a chain may begin, by what has become of the step that it follows."""

    DONE = "done"  # when that has succeeded; it is cancelled otherwise
    UNDER_WAY = "under_way"  # as soon as AWS works on that, or it is over, however it ended
    OVER = "over"  # when that and all before it are over, however they ended


@dataclass(frozen=True, slots=True)
class Order:
    """One effect that a plan asks for. In a chain, `after` names the step that it follows."""

    effect: str
    spec: Json
    parts: Sequence[Part] = ()
    step: str = ""
    after: str = ""
    once: Once = Once.DONE
    # How long it may take from when its turn comes; else as long as the whole plan.
    within_seconds: int | None = None
    where: Where = Where.TARGET
    # What the log says of the plan: where a recovery cannot make it as the original was.
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """What an effect is given when it is started or looked for."""

    spec: Json
    token: str
    # The product's own tags for whatever is made; the token is among them.
    marks: Mapping[str, str]
    # The refs of the earlier steps of the chain, and their tokens, by step.
    earlier: Mapping[str, Refs] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(default_factory=dict)
    # Those of the earlier steps that ended, and not well.
    failed: frozenset[str] = frozenset()
    # When AWS was asked the last time, if it was.
    asked_at: datetime | None = None
    # Whether AWS was asked before, and may have done it.
    is_repeated: bool = False


class State(StrEnum):
    """What AWS says of something that was started."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    GONE = "gone"  # AWS says that it does not exist (any more, or yet)
    UNKNOWN = "unknown"  # AWS did not say; never a verdict


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer of a watch."""

    state: State
    percent: int = 0
    reason: str = ""
    # Learnt facts: `size_gib`, `encrypted`, `finished_at` (ISO 8601) and what the type adds.
    facts: Json = field(default_factory=dict)
    # What a program wrote, for the log of who wants to read it.
    output: str = ""


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that AWS is asked to do.

    `start` makes at most one mutating call without a client token and returns at once. It raises
    `cpm.kernel.faults.Fault`. `find` returns the refs of what an earlier attempt with the same
    token has already made, or None; without it the effect is safe to repeat as it is (a deletion, a
    call with a client token) and `start` must say so by behaving the same twice.
    """

    name: str
    # The mutating call as AWS names it, `ec2:CreateSnapshots`: the budget is counted by it.
    operation: str
    # Every IAM action that start and find may use.
    permissions: tuple[str, ...]
    start: Callable[[Aws, Ask], Refs]
    find: Callable[[Aws, Ask], Refs | None] | None = None
    # The watch that says when it is done; "" when it is done as soon as it has been accepted.
    watch: str = ""
    # Takes back what a failed chain made by this effect; safe to repeat.
    undo: Callable[[Aws, Refs], None] | None = None
    undo_permissions: tuple[str, ...] = ()
    # The watch that says when it has been taken back; "" when that is so at once. What was made
    # before it is not taken back earlier.
    undo_watch: str = ""
    # Stands in for an undo that deletes, where the account forbids that: only marks what was made
    # as expired at that time (as on the wire); safe to repeat.
    expire: Callable[[Aws, Refs, str], None] | None = None
    expire_permissions: tuple[str, ...] = ()
    # Whether its refs are what a recovery was asked for, and not a means to it.
    makes_result: bool = False
    # Makes copies consistent that are good without it: when it fails they are taken all the same,
    # and their resource is repeated where the policy wants more than copies.
    for_consistency: bool = False
    # Tidies up after a chain that has done its work: when it fails nothing is taken back.
    tidies_up: bool = False
    # A means to what follows (a share, a copy in between): taken back by its undo when the chain is
    # over, however it ends. A plan needs no step for that.
    temporary: bool = False
    # Needed only in the account whose resources are protected: it makes snapshots of them, or
    # shares these. Accounts that receive copies need no right to it.
    at_source: bool = False
    # How many AWS works on at once in one account and region; the others wait. 0 means any number.
    most_at_once: int = 0


@dataclass(frozen=True, slots=True)
class Watch:
    """How to see, in as few calls as AWS allows, what became of many refs."""

    name: str
    permissions: tuple[str, ...]
    # Answers for every ref it is given; a call that fails raises and decides nothing.
    poll: Callable[[Aws, Sequence[str]], Mapping[str, Verdict]]
    batch: int = 1000  # how many refs one call can answer for


@dataclass(frozen=True, slots=True)
class SnapshotCollection:
    """One kind of snapshot as the API lists it under a backup."""

    name: str
    label: str
    extra_keys: tuple[str, ...] = ()  # beside the common ones: `volume_device`, `instance_id`
    can_recover: bool = False
    # Whether recovering is an operation of the published guide or one of ours [1.2].
    recover_is_published: bool = True
    # The effect that deletes one; its spec is `{"aws_ref": ..., "facts": {...}}` of the snapshot.
    delete: str = "delete"
    # Records share one copy of a resource, as long as this watch says that it is there.
    shared_watch: str = ""
    # The IAM and the driver are those of this type; a copy in another place is the same type.
    is_copy: bool = False
    # The collection that lists copies of these in other regions and accounts.
    copied_as: str = ""
    archived_as: str = ""  # likewise, copies of their data in S3
    reported_since: str = "1.0.0"  # the version whose report of snapshots has them
    is_archive: bool = False  # it lists copies in S3, which the driver's effects do not concern
    # The effect that only marks one as expired, where the account forbids deleting. Its spec is
    # that of `delete` with `expired_at`, the time as on the wire.
    expire: str = ""


@dataclass(frozen=True, slots=True)
class Restore:
    """What starts the snapshot that a copy outside of AWS is put into, and what that will be."""

    order: Order
    snapshot: Copied


@dataclass(frozen=True, slots=True)
class Owned:
    """A copy that AWS has and that carries this server's marks.

    What AWS does not tell of it, the operation that carries its token does.
    """

    collection: str
    aws_ref: str
    # Empty where AWS does not say of what it is.
    resource_id: str
    marks: Mapping[str, str]
    state: State
    # As a watch learns them.
    facts: Json = field(default_factory=dict)
    # It is no copy by itself: a part that outlived this one, which AWS does not list.
    part_of: str = ""


@dataclass(frozen=True, slots=True)
class Whole:
    """What a resource belongs to: of a volume, its instance; of an Aurora member, its cluster."""

    kind: str
    resource_id: str


@dataclass(frozen=True, slots=True)
class TagRules:
    """How the resources of a type are found by their tags, and what their tags may say."""

    # How an ARN begins and goes on after the account: `ec2` and `instance/`; then comes the id.
    service: str
    noun: str
    # What may follow a policy in a tag, and what each word makes of the options of the target.
    options: Mapping[tagspec.Option, Json] = field(default_factory=dict, hash=False)
    # What is protected in the place of one that is a mere part of it. `facts` are enough to tell.
    stands_for: Callable[[Resource], Whole | None] | None = None
    # Whose backups leave it out where its tags exclude it.
    excluded_from: Callable[[Resource], Whole | None] | None = None
    # For targets with volumes: their options once volumes are named or, at last, none is; None
    # where they name what they want, so that there is nothing to leave out.
    leave_out: Callable[[Json, bool], Json | None] | None = None

    @property
    def resource_type(self) -> str:
        """What the tagging API calls the type."""
        return f"{self.service}:{self.noun[:-1]}"

    def resource_id(self, arn: str) -> str | None:
        """The id in an ARN of the type, None for ARNs of others."""
        _, _, service, _, _, rest = arn.split(":", 5)
        if service != self.service or not rest.startswith(self.noun):
            return None
        return rest.removeprefix(self.noun)


@dataclass(frozen=True, slots=True)
class Agent:
    """A program on a resource that takes part in making its copies consistent."""

    resource_id: str
    platform: str
    version: str
    last_heartbeat_at: datetime | None


@dataclass(frozen=True, slots=True)
class Driver:
    """One resource type."""

    kind: str
    label: str
    label_plural: str
    # Where policies list it, and the other name of `resource_id` on the wire.
    target_collection: str
    target_id_alias: str
    recovery_type: str
    snapshot_collections: tuple[SnapshotCollection, ...]
    effects: tuple[Effect, ...]
    watches: tuple[Watch, ...]
    # IAM actions of whatever reads without being asked for a copy: discover, agents, planning.
    read_permissions: tuple[str, ...]

    # Everything of the type in the region, paged to the end.
    discover: Callable[[Aws], Iterator[Resource]]
    # Those of the ids that exist, in as few calls as AWS allows.
    describe: Callable[[Aws, Iterable[str]], Iterator[Resource]]
    # What to do to protect it; pure. `options` is the target's, as target_options made it.
    plan_snapshots: Callable[[Resource, Any], Iterator[Order]]
    # What to do to bring it back; may read AWS, raises OptionRefused.
    plan_recovery: Callable[[Aws, Source, Any], list[Order]] | None

    # Frozen dataclasses made of cpm.resources.options fields.
    target_options: type
    recover_options: type | None = None
    # Whether targets of the type can be changed (PUT) and name volumes of their own.
    target_is_changeable: bool = False
    # The limit of users that its targets count against, `max_..._gib` by size, others by number.
    limit: str = ""
    # Options of a target that backups show with it, where it is recovered whole.
    shown_options: tuple[str, ...] = ()
    # What a new target has where nothing else is chosen, by what it is.
    target_defaults: Callable[[Resource], Json] | None = None
    # Whether the options suit what they are about; may read AWS, raises OptionRefused.
    check_target: Callable[[Aws, Resource, Any], None] | None = None
    # How those of the copies that it needs become snapshots again, which are outside of AWS; may
    # read AWS, raises OptionRefused. What is made of them is planned as ever, when they are there.
    plan_restores: Callable[[Aws, Source, Any, Use], list[Restore]] | None = None
    # How a snapshot gets a copy elsewhere, as a chain of which one step has the copy as its part;
    # what AWS can merely share has no part. May read the source's AWS, raises OptionRefused.
    plan_copy: Callable[[Aws, CopyWish], list[Order]] | None = None
    in_aws_words: Callable[[Json], Json] | None = None  # its facts, for manifests of archives
    # All copies in the region that carry the marks of the server of that id, paged to the end.
    inventory: Callable[[Aws, str], Iterator[Owned]] | None = None
    # The agents of those of the ids that have one; targets that want theirs say `agent_enabled`.
    agents: Callable[[Aws, Sequence[str]], Iterator[Agent]] | None = None
    # How tags protect its resources; None where they cannot.
    tag_rules: TagRules | None = None

    @property
    def is_recovered_whole(self) -> bool:
        """Whether one comes back from all its snapshots together, and not from one of them."""
        return self.recover_options is not None and not any(
            collection.can_recover for collection in self.snapshot_collections
        )

    def effect(self, name: str) -> Effect:
        """The effect of that name; raises KeyError."""
        return {effect.name: effect for effect in self.effects}[name]

    def watch(self, name: str) -> Watch:
        """The watch of that name; raises KeyError."""
        return {watch.name: watch for watch in self.watches}[name]
