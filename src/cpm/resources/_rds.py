"""RDS's lists, read in as few calls as AWS allows, and its names.

RDS names what its users name: whatever the server makes has a name with the token in it, or a tag.
Names are compared without their case; AWS keeps them in small letters.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _ec2
from cpm.resources.contract import Ask, Json, OptionRefused

PER_CALL = 100
# Instances, clusters and snapshots of clusters have names of at most so many characters.
LONGEST_NAME = 63
_NAME = re.compile(r"[A-Za-z](-?[A-Za-z0-9])*")
_FRESH_CHARACTERS = 8
# Other services answer to RDS's calls, too.
_OTHER_ENGINES = frozenset({"docdb", "neptune"})
_TAG = re.compile(r"[\w\s.:/=+\-@]*")


@dataclass(frozen=True, slots=True)
class Listing:
    """How RDS lists one kind of thing."""

    noun: str
    filter: str

    @property
    def operation(self) -> str:
        """The call that lists them."""
        return f"Describe{self.noun}s"

    @property
    def permission(self) -> str:
        """The IAM action of that call."""
        return f"rds:{self.operation}"

    @property
    def id(self) -> str:
        """The parameter and member that names one."""
        return f"{self.noun}Identifier"


INSTANCES = Listing("DBInstance", "db-instance-id")
CLUSTERS = Listing("DBCluster", "db-cluster-id")


def everything(aws: Aws, listing: Listing, **chosen: Any) -> Iterator[Json]:
    """All that the parameters let through, page by page."""
    return aws.pages("rds", listing.operation, f"{listing.noun}s", MaxRecords=PER_CALL, **chosen)


def by_ids(aws: Aws, listing: Listing, ids: Iterable[str]) -> Iterator[Json]:
    """Those of `ids` that exist."""
    wanted = [each for each in dict.fromkeys(ids) if _NAME.fullmatch(each)]
    for batch in _ec2.batches(wanted, PER_CALL):
        yield from _by_ids(aws, listing, batch)


def one(aws: Aws, listing: Listing, name: str) -> Json | None:
    """The thing of that name, None when it does not exist."""
    return next(by_ids(aws, listing, [name]), None)


def is_ours(described: Json) -> bool:
    """Whether it is RDS's or Aurora's own, and is not on its way out."""
    status = described.get("DBInstanceStatus") or described.get("Status")
    return described["Engine"] not in _OTHER_ENGINES and status != "deleting"


def tags_of(described: Json) -> dict[str, str]:
    """The tags of anything that RDS describes."""
    return tags.from_aws(described.get("TagList"))


def named(aws: Aws, operation: str, parameter: str, name: str) -> Json | None:
    """What a call that lists things by name says of this one, None when there is none."""
    try:
        answer = aws.call("rds", operation, **{parameter: name})
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise
        return None
    (found,) = (value for value in answer.values() if isinstance(value, list))
    return found[0] if found else None


def custom_group(name: str | None) -> str | None:
    """The name of a parameter or option group, unless AWS takes it anyway."""
    return None if not name or name.startswith(("default.", "default:")) else name


def arn(partition: str, region: str, account: str, resource_type: str, name: str) -> str:
    """The ARN of something of RDS."""
    return f"arn:{partition}:rds:{region}:{account}:{resource_type}:{name}"


def snapshot_name(resource_id: str, token: str) -> str:
    """What a snapshot is called: it says what it is of, and carries the token whole."""
    room = LONGEST_NAME - len(f"cpm--{token}")
    return f"cpm-{resource_id[:room].rstrip('-')}-{token}"


def is_taken(fault: Fault, listing: Listing) -> bool:
    """Whether AWS refused a name because another of the kind has it."""
    return fault.code.removesuffix("Fault") == f"{listing.noun}AlreadyExists"


# Names of what a recovery makes


def taken(aws: Aws, listing: Listing, wanted: Iterable[str | None]) -> set[str]:
    """Those of the names that something has."""
    return {each[listing.id] for each in by_ids(aws, listing, filter(None, wanted))}


def naming(
    field: str, asked: str | None, original: str, taken_names: Collection[str | None]
) -> Json:
    """The part of a spec that says how a new thing is called; raises OptionRefused.

    A name that was asked for is the only one. Else it is the original's, or a fresh one.
    """
    if asked:
        return {"names": [_asked_name(field, asked, taken_names)], "fresh_from": ""}
    return {"names": [] if original in taken_names else [original], "fresh_from": original}


def names(ask: Ask) -> Sequence[str]:
    """The names that the new thing may have, the best first."""
    base = ask.spec["fresh_from"]
    if not base:
        return list(ask.spec["names"])
    room = LONGEST_NAME - _FRESH_CHARACTERS - 1
    return [*ask.spec["names"], f"{base[:room].rstrip('-')}-{ask.token[:_FRESH_CHARACTERS]}"]


def make_named(aws: Aws, ask: Ask, operation: str, listing: Listing, parameters: Json) -> str:
    """Make something under the first of its names that is free; the name that it got."""
    candidates = names(ask)
    carried = tags.to_aws(tags.merged(ask.marks, ask.spec["tags"]))
    for name in candidates:
        try:
            aws.call("rds", operation, **{listing.id: name}, Tags=carried, **parameters)
        except Fault as fault:
            if not is_taken(fault, listing) or name == candidates[-1]:
                raise
        else:
            return name
    raise ValueError("a new thing needs a name")


def find_named(aws: Aws, listing: Listing, ask: Ask) -> str | None:
    """The name of what an earlier attempt has made."""
    for described in by_ids(aws, listing, names(ask)):
        if tags_of(described).get(tags.TOKEN) == ask.token:
            return str(described[listing.id])
    return None


def take_down(aws: Aws, listing: Listing, name: str) -> None:
    """Delete a database that a failed recovery has made, protected or not, without a trace."""
    described = one(aws, listing, name)
    if described is None or not is_ours(described):
        return
    if described.get("DeletionProtection"):
        unprotected = {"DeletionProtection": False, "ApplyImmediately": True}
        aws.call("rds", f"Modify{listing.noun}", **{listing.id: name}, **unprotected)
    try:
        aws.call("rds", f"Delete{listing.noun}", **{listing.id: name}, SkipFinalSnapshot=True)
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise


def check_tags(wanted: Mapping[str, str]) -> None:
    """Raise OptionRefused unless RDS takes the tags that were asked for."""
    for key, value in wanted.items():
        if not _TAG.fullmatch(key) or not _TAG.fullmatch(value):
            text = f"tag {key}: RDS takes letters, digits, spaces and _ . : / = + - @"
            raise OptionRefused("additional_tags", "invalid", text)


def _asked_name(field: str, asked: str, taken_names: Collection[str | None]) -> str:
    if not _NAME.fullmatch(asked) or len(asked) > LONGEST_NAME:
        text = "1 to 63 letters, digits and single hyphens, the first a letter, the last none"
        raise OptionRefused(field, "invalid", text)
    # As AWS keeps it.
    name = asked.lower()
    if name in taken_names:
        raise OptionRefused(field, "unique", f"there is a {name} already")
    return name


def _by_ids(aws: Aws, listing: Listing, batch: Sequence[str]) -> Iterator[Json]:
    chosen = _ec2.filter_by(listing.filter, *batch)
    try:
        found = list(everything(aws, listing, Filters=[chosen]))
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise
        # Some of RDS's filters fail for one name that does not exist.
        wanted = {name.lower() for name in batch}
        found = [each for each in everything(aws, listing) if each[listing.id] in wanted]
    yield from found
