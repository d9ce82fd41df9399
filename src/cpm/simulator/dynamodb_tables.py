"""DynamoDB's tables: sizes, classes and streams that change in their own time, tags, expiry."""

from collections.abc import Mapping
from typing import Any

from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.table import RestoredTable, Table
from moto.dynamodb.responses import DynamoHandler

from cpm.simulator import making
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.errors import AwsError
from cpm.simulator.lives import Life
from cpm.simulator.patches import extend, replace

STANDARD = "STANDARD"
_MOST_TAGS = 50
_create_table = DynamoHandler.create_table


def install(handlers: Handlers) -> None:
    """Take over changing tables; let their status follow the clock."""
    handlers.add(
        "dynamodb",
        {
            "DeleteTable": delete_table,
            "TagResource": tag_resource,
            "UpdateTable": update_table,
            "UpdateTimeToLive": update_time_to_live,
        },
    )
    replace(DynamoHandler, "create_table", _create_with_class)
    extend(Table, "table_class", STANDARD)
    extend(Table, "change", None)
    for owner in (Table, RestoredTable):
        replace(owner, "describe", _following_the_clock(owner.describe))


def backend(call: Call) -> DynamoDBBackend:
    """The DynamoDB of the caller's account and region."""
    found: DynamoDBBackend = dynamodb_backends[call.account][call.region]
    return found


def name_of(text: str) -> str:
    """The name of a table, which may be named by its ARN everywhere."""
    return text.rsplit("table/", maxsplit=1)[-1]


def status(table: Any) -> str:
    """What the table is doing by now."""
    if making.is_pending(table):
        return "CREATING"
    return "ACTIVE" if table.change is None or table.change.is_due else "UPDATING"


def size_bytes(table: Any) -> int:
    """How much its items hold; AWS counts anew every few hours."""
    found = 0
    for values in table.items.values():
        items = values.values() if table.has_range_key else [values]
        found += sum(item.size() for item in items)
    return found


def update_table(call: Call) -> Mapping[str, Any]:
    """Change one thing or some of a table; the class of storage goes alone."""
    table = _active(call)
    if "TableClass" in call.params and len(call.params) > 2:
        text = "TableClass cannot be changed together with other settings"
        raise AwsError("ValidationException", text)
    if "TableClass" not in call.params:
        _change(call, table)
    else:
        table.table_class = call.params["TableClass"]
    table.change = Life.of(call.config.quick_seconds)
    return {"TableDescription": table.describe()["TableDescription"]}


def delete_table(call: Call) -> Mapping[str, Any]:
    """Delete a table that is neither in the making nor protected."""
    table = _active(call)
    backend(call).delete_table(table.name)
    described: dict[str, Any] = table.describe()["TableDescription"]
    return {"TableDescription": described | {"TableStatus": "DELETING"}}


def update_time_to_live(call: Call) -> Mapping[str, Any]:
    """Let items expire, or no longer; AWS refuses what is so already."""
    table, wanted = _active(call), call.params["TimeToLiveSpecification"]
    is_enabled = table.ttl["TimeToLiveStatus"] == "ENABLED"
    if wanted["Enabled"] == is_enabled:
        text = f"TimeToLive is already {'enabled' if is_enabled else 'disabled'}"
        raise AwsError("ValidationException", text)
    backend(call).update_time_to_live(table.name, wanted)
    return {"TimeToLiveSpecification": wanted}


def tag_resource(call: Call) -> Mapping[str, Any]:
    """Give a table tags; one that it has by that key is replaced."""
    table = _active(call, "ResourceArn")
    added = {tag["Key"]: tag["Value"] for tag in call.params["Tags"]}
    kept = {tag["Key"]: tag["Value"] for tag in table.tags}
    if len(kept | added) > _MOST_TAGS:
        raise AwsError("ValidationException", f"At most {_MOST_TAGS} tags are allowed")
    table.tags = [{"Key": key, "Value": value} for key, value in (kept | added).items()]
    return {}


def _active(call: Call, parameter: str = "TableName") -> Any:
    name = name_of(call.params[parameter])
    table = backend(call).tables.get(name)
    if table is None:
        text = f"Requested resource not found: Table: {name} not found"
        raise AwsError("ResourceNotFoundException", text)
    if status(table) != "ACTIVE":
        text = f"Attempt to change a resource which is still in use: Table is {status(table)}"
        raise AwsError("ResourceInUseException", text)
    return table


def _change(call: Call, table: Table) -> None:
    stream = call.get("StreamSpecification")
    if stream and stream["StreamEnabled"] == _has_stream(table):
        text = f"Table already has {'an' if stream['StreamEnabled'] else 'no'} enabled stream"
        raise AwsError("ValidationException", text)
    backend(call).update_table(
        name=table.name,
        attr_definitions=call.get("AttributeDefinitions"),
        global_index=call.get("GlobalSecondaryIndexUpdates"),
        throughput=call.get("ProvisionedThroughput"),
        billing_mode=call.get("BillingMode"),
        stream_spec=call.get("StreamSpecification"),
        deletion_protection_enabled=call.get("DeletionProtectionEnabled"),
        warm_throughput=call.get("WarmThroughput"),
    )


def _has_stream(table: Table) -> bool:
    return bool(table.stream_specification and table.stream_specification["StreamEnabled"])


def _create_with_class(handler: Any) -> Any:
    answer = _create_table(handler)
    table = handler.dynamodb_backend.tables[handler.body["TableName"]]
    table.table_class = handler.body.get("TableClass", STANDARD)
    return answer


def _following_the_clock(describe: Any) -> Any:
    def describe_now(table: Any, base_key: str = "TableDescription") -> dict[str, Any]:
        described: dict[str, Any] = describe(table, base_key=base_key)
        shown = described[base_key]
        shown["TableStatus"] = status(table)
        shown["TableSizeBytes"] = size_bytes(table)
        shown["TableClassSummary"] = {"TableClass": table.table_class}
        if "RestoreSummary" in shown:
            shown["RestoreSummary"]["RestoreInProgress"] = making.is_pending(table)
        return described

    return describe_now
