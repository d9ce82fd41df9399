"""RDS snapshots are copied between regions and accounts, encrypted anew where they must be."""

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

from moto.kms.models import Key

from cpm.simulator import kms_keys, rds_snapshots
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.rds_kinds import (
    CLUSTER,
    INSTANCE,
    KINDS,
    Kind,
    backend,
    invalid_combination,
    invalid_value,
    key_not_accessible,
)
from cpm.simulator.rds_snapshot_making import check_new, copies_in_progress, make, quota_exceeded

# AWS makes it when somebody first asks for it.
_DEFAULT_KEY = "alias/aws/rds"


def install(handlers: Handlers) -> None:
    """Take over copying snapshots."""
    for kind in KINDS:
        handlers.add("rds", {f"Copy{kind.noun}": partial(copy_snapshot, kind=kind)})


def copy_snapshot(call: Call, kind: Kind) -> Mapping[str, Any]:
    """Copy a snapshot that the caller owns or was given to the region that is called."""
    name = call.params[f"Target{kind.id_name}"]
    check_new(call, kind, name)
    source = rds_snapshots.usable(call, kind, call.params[f"Source{kind.id_name}"])
    if source.status != "available":
        raise kind.bad_state(f"Cannot copy a snapshot in the {source.status} state.")
    key = _key(call, kind, source)
    if call.get("OptionGroupName"):
        backend(call.account, call.region).describe_option_groups(
            {"option_group_name": call.params["OptionGroupName"]}
        )
    is_from_afar = source.region != call.region
    if is_from_afar:
        _check_journey(call, kind, source)
    copy = make(
        call,
        kind,
        _original(kind, source),
        name,
        source.resource_id,
        source.arn,
        **_facts(call, kind, source, key),
    )
    if (source.region, source.account_id) != (call.region, call.account):
        _settle_in(kind, copy)
    if is_from_afar:
        copy.source_region = source.region
    if call.get("OptionGroupName"):
        copy.option_group_name = call.params["OptionGroupName"]
    setattr(copy, kind.origin_name, source.arn)
    return {kind.noun: copy}


def _facts(call: Call, kind: Kind, source: Any, key: Key | None) -> Mapping[str, Any]:
    tags = call.get("Tags") or []
    if call.get("CopyTags") and not tags and source.account_id == call.account:
        tags = source.tags
    facts: dict[str, Any] = {"tags": list(tags), "kms_key_id": key.arn if key else None}
    if kind is INSTANCE:
        facts["original_created_at"] = source.original_snapshot_create_time
    return facts


def _original(kind: Kind, source: Any) -> Any:
    return source.database if kind is INSTANCE else source.cluster


def _key(call: Call, kind: Kind, source: Any) -> Key | None:
    wanted = call.get("KmsKeyId")
    if rds_snapshots.is_encrypted(source):
        _check_source_key(call, source)
        if wanted is None:
            if (source.region, source.account_id) != (call.region, call.account):
                raise key_not_accessible(None)
            wanted = source.kms_key_id
    if wanted is None:
        return None
    if kind is CLUSTER and not rds_snapshots.is_encrypted(source):
        raise invalid_combination("An unencrypted DB cluster snapshot cannot be encrypted by copy.")
    return own_key(call, wanted)


def own_key(call: Call, name: str) -> Key:
    """The key of that name, which the caller may encrypt with; raises KMSKeyNotAccessibleFault."""
    if name == _DEFAULT_KEY:
        return kms_keys.aws_managed(call.account, call.region, "rds")
    key = kms_keys.find(call.account, call.region, name)
    if key is None or key.region != call.region:
        raise key_not_accessible(name)
    if not kms_keys.may_use(call.caller, key, "Encrypt"):
        raise key_not_accessible(name)
    return key


def _check_source_key(call: Call, source: Any) -> None:
    key = rds_snapshots.key_of(source)
    if key is None or not kms_keys.may_use(call.caller, key, "Decrypt"):
        raise key_not_accessible(source.kms_key_id)


def _check_journey(call: Call, kind: Kind, source: Any) -> None:
    limit = call.config.limits.rds_copies
    if limit is not None and copies_in_progress(call) >= limit:
        raise quota_exceeded(f"Cannot copy more than {limit:g} snapshots across regions")
    if not rds_snapshots.is_encrypted(source):
        return
    if source.account_id != call.account:
        raise invalid_combination(
            "An encrypted snapshot that is shared cannot be copied to another region. Copy it "
            "within its region first."
        )
    if not _is_presigned(call, kind, source):
        raise invalid_value("PreSignedUrl could not be authenticated")


def _is_presigned(call: Call, kind: Kind, source: Any) -> bool:
    # SourceRegion without a URL is what botocore itself turns into a URL; other clients may not.
    url = urlsplit(call.get("PreSignedUrl") or "")
    asked = {name: values[0] for name, values in parse_qs(url.query).items()}
    return (
        asked.get("Action") == call.operation.name
        and asked.get("DestinationRegion") == call.region
        and asked.get(f"Source{kind.id_name}", "").lower() == source.arn
        and f"/{source.region}/rds/" in asked.get("X-Amz-Credential", "")
    )


def _settle_in(kind: Kind, copy: Any) -> None:
    # Networks, zones and groups stay behind: a restore takes the defaults of where the copy is.
    if kind is INSTANCE:
        copy.database.availability_zone = f"{copy.region}a"
        copy.availability_zone = None
        copy.option_group_name = None
