"""RDS snapshots are shared with other accounts, or with all, and taken back."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from cpm.simulator import kms_keys, rds_snapshots
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.rds_kinds import KINDS, Kind, invalid_value


def install(handlers: Handlers) -> None:
    """Take over the permission to restore and copy a snapshot."""
    for kind in KINDS:
        handlers.add(
            "rds",
            {
                f"Describe{kind.noun}Attributes": partial(describe_attributes, kind=kind),
                f"Modify{kind.noun}Attribute": partial(modify_attribute, kind=kind),
            },
        )


def describe_attributes(call: Call, kind: Kind) -> Mapping[str, Any]:
    """Whom a snapshot is shared with."""
    return _shown(kind, rds_snapshots.own(call, kind, call.params[kind.id_name]))


def modify_attribute(call: Call, kind: Kind) -> Mapping[str, Any]:
    """Share a manual snapshot, or end that."""
    snapshot = rds_snapshots.own(call, kind, call.params[kind.id_name])
    added, removed = call.get("ValuesToAdd", []), call.get("ValuesToRemove", [])
    for value in (*added, *removed):
        if value != "all" and not (len(value) == 12 and value.isdigit()):
            raise invalid_value(f"Invalid value {value}: must be an account id or all")
    _check_shareable(kind, snapshot, added)
    snapshot.modify_attribute(call.params["AttributeName"], list(dict.fromkeys(added)), removed)
    given = snapshot.attributes["restore"]
    snapshot.attributes["restore"] = list(dict.fromkeys(given))
    return _shown(kind, snapshot)


def _check_shareable(kind: Kind, snapshot: Any, added: list[str]) -> None:
    if snapshot.snapshot_type != "manual":
        raise kind.bad_state("Only manual snapshots may be shared.")
    if snapshot.status != "available":
        raise kind.bad_state("Cannot modify a snapshot that is not in the available state.")
    if not added or not rds_snapshots.is_encrypted(snapshot):
        return
    if "all" in added:
        raise kind.bad_state("Encrypted snapshots cannot be made public.")
    key = rds_snapshots.key_of(snapshot)
    if key is None or kms_keys.is_aws_managed(key):
        raise kind.bad_state(
            "Cannot share a snapshot that is encrypted with the default AWS KMS key."
        )


def _shown(kind: Kind, snapshot: Any) -> Mapping[str, Any]:
    attributes = [
        {"AttributeName": name, "AttributeValues": values}
        for name, values in snapshot.attributes.items()
    ]
    return {
        f"{kind.noun}AttributesResult": {
            kind.id_name: snapshot.resource_id,
            f"{kind.noun}Attributes": attributes,
        }
    }
