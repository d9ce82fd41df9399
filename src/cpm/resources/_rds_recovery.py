"""What recoveries of RDS databases and of clusters share: the snapshot, and what is dropped."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from cpm.aws.sessions import Aws
from cpm.resources import _rds
from cpm.resources._rds_snapshots import Words
from cpm.resources._recovery import NO_FIELD
from cpm.resources.contract import Json, OptionRefused
from cpm.resources.copied import Copied

T = TypeVar("T")

# Facts that name something, and the parameters that take it over.
_NAMED = {
    "DB subnet group": ("db_subnet_group", ("DBSubnetGroupName",)),
    "parameter group": (
        "parameter_group",
        ("DBParameterGroupName", "DBClusterParameterGroupName"),
    ),
    "option group": ("option_group", ("OptionGroupName",)),
}


def available_snapshot(words: Words, aws: Aws, copy: Copied) -> Json:
    """AWS's snapshot that the copy is; raises OptionRefused when nothing can be made of it."""
    found = _rds.one(aws, words.listing, copy.aws_ref)
    if found is None:
        text = f"snapshot {copy.aws_ref} of {copy.resource_id} does not exist in {aws.region}"
        raise OptionRefused(NO_FIELD, "does_not_exist", text)
    if found["Status"] != "available":
        text = f"snapshot {copy.aws_ref} is {found['Status']}"
        raise OptionRefused(NO_FIELD, "invalid", text)
    return found


def chosen(asked: T | None, original: T) -> T:
    """What was asked for, else what the original had."""
    return original if asked is None else asked


def given(parameters: Json) -> Json:
    """Parameters without those that say nothing."""
    return {name: value for name, value in parameters.items() if value not in (None, [], {})}


def dropped(facts: Json, parameters: Json, asked_groups: Sequence[str] | None) -> Iterator[str]:
    """What the original had and the recovered one does without, as lines of a log."""
    for what, (fact, names) in _NAMED.items():
        original = _rds.custom_group(facts.get(fact))
        if original and not any(name in parameters for name in names):
            yield f"{what} {original} is not there: AWS's default stands in for it"
    kept = parameters.get("VpcSecurityGroupIds", ())
    lost = [each for each in facts["security_groups"] if each not in kept]
    if lost and not asked_groups:
        instead = "the others remain" if kept else "the VPC's default stands in for them"
        yield f"security groups that are not there: {', '.join(lost)}; {instead}"
