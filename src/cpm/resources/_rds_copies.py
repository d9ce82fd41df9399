"""Copies of RDS snapshots in other regions and accounts: shared, copied, encrypted anew.

Another account copies what was shared with it. AWS does not share what its own key encrypts, so
that is copied under another key first; and it does not let an encrypted snapshot cross accounts and
regions in one step, so that is copied in the original's region first. Both, and the sharing, are
means: they are taken back when the chain is over.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.aws.tags import Tags
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _kms, _rds, _rds_snapshots
from cpm.resources._ec2 import name_of
from cpm.resources._rds_snapshots import Words
from cpm.resources._snapshot_copies import carried
from cpm.resources._volumes import USE_OF_KEYS
from cpm.resources.contract import Ask, Effect, Json, Order, Part, Refs, Where
from cpm.resources.copied import CopyWish

# RDS's own key, which every account has in every region.
DEFAULT_KEY = "alias/aws/rds"
_TAG = "rds:AddTagsToResource"
# What a snapshot that is a means to a copy is called among refs.
_MEANS = "snapshot"


def plan(words: Words, aws: Aws, wish: CopyWish) -> list[Order]:
    """The chain that copies a snapshot; `aws` is the source's. Raises OptionRefused and Fault."""
    prefix = _rds.arn(aws.partition, wish.source_region, wish.source_account, words.arn_type, "")
    source: Json = {"source": f"{prefix}{wish.original.aws_ref}", "source_step": ""}
    if not wish.crosses_accounts:
        return [_copy(words, wish, source, after="")]
    means = list(_sharing(aws, wish))
    if len(means) > 1:
        source = {"source": prefix, "source_step": "rekey"}
    if wish.crosses_regions and wish.original.facts["encrypted"]:
        spec = _spec(wish, source, {}, key=DEFAULT_KEY)
        means.append(
            Order("copy_between", spec, step="between", after="share", where=Where.BETWEEN)
        )
        between = _rds.arn(
            aws.partition, wish.source_region, wish.target_account, words.arn_type, ""
        )
        source = {"source": between, "source_step": "between"}
    return [*means, _copy(words, wish, source, after=means[-1].step)]


def effects(words: Words) -> tuple[Effect, ...]:
    """Copying, copying as a means to that, and sharing."""
    copy = Effect(
        name="copy",
        operation=f"rds:Copy{words.noun}",
        permissions=_permissions(words),
        start=partial(_start_copy, words),
        find=partial(_rds_snapshots.find, words),
        watch=words.watch,
        undo=partial(_delete_made, words),
        undo_permissions=(f"rds:Delete{words.noun}", words.listing.permission),
        expire=partial(_expire_made, words),
        expire_permissions=(_TAG,),
        most_at_once=words.most_copies,
    )
    between = replace(
        copy,
        name="copy_between",
        start=partial(_start_means, words),
        find=partial(_find_means, words),
        temporary=True,
    )
    return copy, between, replace(between, name="copy_to_share", at_source=True), _share(words)


def _share(words: Words) -> Effect:
    modify = f"rds:Modify{words.noun}Attribute"
    return Effect(
        name="share",
        operation=modify,
        permissions=(modify,),
        start=partial(_start_share, words),
        undo=partial(_unshare, words),
        undo_permissions=(modify,),
        temporary=True,
        at_source=True,
    )


def _permissions(words: Words) -> tuple[str, ...]:
    groups = ("rds:DescribeOptionGroups",) if words.has_option_groups else ()
    copy, see = f"rds:Copy{words.noun}", words.listing.permission
    return (copy, _TAG, see, *groups, *USE_OF_KEYS)


def _sharing(aws: Aws, wish: CopyWish) -> Iterator[Order]:
    """What has to be done in the source before the target's account can copy."""
    original = wish.original
    if not original.facts["encrypted"] or not _kms.is_aws_managed(
        aws, original.facts["kms_key_id"]
    ):
        spec = {"account": wish.target_account, "snapshot": original.aws_ref}
        yield Order("share", spec, step="share", where=Where.SOURCE)
        return
    _kms.check_sharing_key(aws, wish)
    source = {"source": original.aws_ref, "source_step": ""}
    spec = _spec(wish, source, {}, key=wish.sharing_key)
    yield Order("copy_to_share", spec, step="rekey", where=Where.SOURCE)
    spec = {"account": wish.target_account, "snapshot": ""}
    yield Order("share", spec, step="share", after="rekey", where=Where.SOURCE)


def _copy(words: Words, wish: CopyWish, source: Json, *, after: str) -> Order:
    original, facts = wish.original, wish.original.facts
    key = DEFAULT_KEY if facts["encrypted"] else ""
    part = Part(
        kind=words.kind,
        collection=words.copies,
        resource_id=original.resource_id,
        resource_name=name_of(facts["tags"]),
        size_gib=original.size_gib,
        encrypted=facts["encrypted"],
        facts=facts,
    )
    spec = _spec(wish, source, facts["tags"], key=key)
    return Order("copy", spec, (part,), step="copy", after=after)


def _spec(wish: CopyWish, source: Json, their_tags: Tags, *, key: str) -> Json:
    return {
        "resource_id": wish.original.resource_id,
        **source,
        "source_region": wish.source_region,
        "kms_key": key,
        "option_group": _rds.custom_group(wish.original.facts.get("option_group")) or "",
        "tags": dict(their_tags),
    }


def _start_copy(words: Words, aws: Aws, ask: Ask) -> Refs:
    return {ask.spec["resource_id"]: _make_copy(words, aws, ask)}


def _start_means(words: Words, aws: Aws, ask: Ask) -> Refs:
    return {_MEANS: _make_copy(words, aws, ask)}


def _find_means(words: Words, aws: Aws, ask: Ask) -> Refs | None:
    found = _rds_snapshots.find(words, aws, ask)
    return {_MEANS: _rds_snapshots.name_for(ask)} if found else None


def _make_copy(words: Words, aws: Aws, ask: Ask) -> str:
    spec, listing = ask.spec, words.listing
    name = _rds_snapshots.name_for(ask)
    step = spec["source_step"]
    chosen = {
        f"Source{listing.id}": spec["source"] + (ask.earlier[step][_MEANS] if step else ""),
        f"Target{listing.id}": name,
        "KmsKeyId": spec["kms_key"],
        "SourceRegion": spec["source_region"] if spec["source_region"] != aws.region else "",
        "OptionGroupName": _option_group(aws, spec["option_group"]),
        "Tags": tags.to_aws(carried(ask)),
    }
    parameters = {key: value for key, value in chosen.items() if value}
    return _rds_snapshots.make(words, aws, f"Copy{words.noun}", name, **parameters)


def _option_group(aws: Aws, wanted: str) -> str:
    """The group of that name where the copy goes, if there is one.

    Without, AWS does what it can: it refuses, naming the options, where the data depend on them.
    """
    found = wanted and _rds.named(aws, "DescribeOptionGroups", "OptionGroupName", wanted)
    return wanted if found else ""


def _delete_made(words: Words, aws: Aws, refs: Refs) -> None:
    for name in refs.values():
        _rds_snapshots.delete(words, aws, name)


def _expire_made(words: Words, aws: Aws, refs: Refs, expired_at: str) -> None:
    for name in refs.values():
        _rds_snapshots.expire(words, aws, name, expired_at)


def _start_share(words: Words, aws: Aws, ask: Ask) -> Refs:
    name = ask.spec["snapshot"] or ask.earlier["rekey"][_MEANS]
    _change_sharing(words, aws, name, ValuesToAdd=[ask.spec["account"]])
    # An undo is given the refs and nothing else.
    return {"share": f"{name} {ask.spec['account']}"}


def _unshare(words: Words, aws: Aws, refs: Refs) -> None:
    name, account = refs["share"].split()
    try:
        _change_sharing(words, aws, name, ValuesToRemove=[account])
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise


def _change_sharing(words: Words, aws: Aws, name: str, **change: list[str]) -> None:
    operation = f"Modify{words.noun}Attribute"
    named = {words.listing.id: name}
    aws.call("rds", operation, **named, AttributeName="restore", **change)
