"""Planning the recovery of a table: restored, tagged, then given what a restore leaves out.

AWS restores items, indexes, capacity and encryption. Tags, stream, expiry of items, point in time
recovery, class and protection are put back afterwards from the facts of the backup. What goes
wrong with these is told, and does not cost the table. Auto scaling is not dealt with.
"""

from collections.abc import Iterator

from cpm.aws.sessions import Aws
from cpm.resources import _dynamodb, _dynamodb_backups, _dynamodb_restores
from cpm.resources._dynamodb_options import RecoverOptions
from cpm.resources._recovery import NO_FIELD, wanted_tags
from cpm.resources._restored import STEP, Naming
from cpm.resources.contract import Json, Once, OptionRefused, Order
from cpm.resources.copied import Copied, Source

# What AWS's console gives a new table that is to have a capacity.
_CAPACITY = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}

_NAMING = Naming(
    "table_name",
    _dynamodb.LONGEST_NAME,
    lambda name: None if _dynamodb.is_name(name) else f"{name} cannot be the name of a table",
)


def plan(aws: Aws, source: Source, options: RecoverOptions) -> list[Order]:
    """The chain of orders that restores the table; raises OptionRefused."""
    copy = source.copies[0]
    _check(aws, copy)
    name = _NAMING.choose(
        options.table_name,
        copy.resource_id,
        lambda name: _dynamodb.described_as(aws, name) is not None,
    )
    restore, tag = _dynamodb_restores.RESTORE.name, _dynamodb_restores.TAG.name
    kept = wanted_tags(options, copy.facts.get("tags", {}))
    orders = [
        Order(restore, _restore(copy, name, options), step=STEP, notes=_notes(copy, options)),
        Order(tag, {"tags": kept}, step="tag", after=STEP),
    ]
    for effect, spec, step in _settings(copy.facts):
        orders.append(Order(effect, spec, step=step, after=orders[-1].step, once=Once.OVER))
    return orders


def _check(aws: Aws, copy: Copied) -> None:
    backup = _dynamodb_backups.described(aws, copy.aws_ref)
    if backup is None:
        text = f"backup {copy.aws_ref} does not exist in {aws.region}"
        raise OptionRefused(NO_FIELD, "does_not_exist", text)
    if not _dynamodb_backups.is_complete(backup):
        raise OptionRefused(NO_FIELD, "invalid", f"backup {copy.aws_ref} is not complete")


def _restore(copy: Copied, name: str, options: RecoverOptions) -> Json:
    chosen: Json = {"TargetTableName": name, "BackupArn": copy.aws_ref}
    if options.billing_mode:
        chosen["BillingModeOverride"] = options.billing_mode
    if _needs_capacity(copy, options):
        chosen["ProvisionedThroughputOverride"] = _CAPACITY
        indexes = copy.facts.get("global_indexes", [])
        if indexes:
            chosen["GlobalSecondaryIndexOverride"] = [
                {**index, "ProvisionedThroughput": _CAPACITY} for index in indexes
            ]
    return {"parameters": chosen}


def _needs_capacity(copy: Copied, options: RecoverOptions) -> bool:
    """Whether the table is to have a capacity of which the original says nothing."""
    was_on_demand = copy.facts.get("billing_mode") == _dynamodb.ON_DEMAND
    return was_on_demand and options.billing_mode == _dynamodb.PROVISIONED


def _notes(copy: Copied, options: RecoverOptions) -> list[str]:
    notes = []
    if _needs_capacity(copy, options):
        reads, writes = _CAPACITY.values()
        notes.append(f"the original had no capacity: {reads} read and {writes} write units")
    replicas = copy.facts.get("replicas")
    if replicas:
        notes.append(f"the original's replicas in {', '.join(replicas)} are not restored")
    return notes


def _settings(facts: Json) -> Iterator[tuple[str, Json, str]]:
    """Effect, spec and step of everything that a restore leaves out, as far as it was there."""
    if facts.get("time_to_live_attribute"):
        spec = {"attribute": facts["time_to_live_attribute"]}
        yield _dynamodb_restores.TIME_TO_LIVE.name, spec, "time_to_live"
    if facts.get("point_in_time_days"):
        spec = {"days": facts["point_in_time_days"]}
        yield _dynamodb_restores.POINT_IN_TIME.name, spec, "point_in_time"
    update = _dynamodb_restores.UPDATE.name
    if facts.get("table_class", _dynamodb_restores.STANDARD) != _dynamodb_restores.STANDARD:
        # AWS does not change the class together with anything else.
        yield update, {"settings": {"TableClass": facts["table_class"]}}, "class"
    settings: Json = {}
    if facts.get("stream_view_type"):
        stream = {"StreamEnabled": True, "StreamViewType": facts["stream_view_type"]}
        settings["StreamSpecification"] = stream
    if facts.get("deletion_protection"):
        settings["DeletionProtectionEnabled"] = True
    if settings:
        yield update, {"settings": settings}, "settings"
