"""DynamoDB's tables as AWS describes them, one by one, and as facts."""

import re
from collections.abc import Iterable, Iterator

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources.contract import Json, Resource

KIND = "dynamodb_table"
COLLECTION = "dynamodb_tables"
LONGEST_NAME = 255
ON_DEMAND, PROVISIONED = "PAY_PER_REQUEST", "PROVISIONED"

_NAME = re.compile(rf"[a-zA-Z0-9_.-]{{3,{LONGEST_NAME}}}")
_BYTES_PER_GIB = 1024**3


def is_name(text: str) -> bool:
    """Whether a table may be called so."""
    return bool(_NAME.fullmatch(text))


def names(aws: Aws) -> Iterator[str]:
    """The names of all tables of the region."""
    return (str(name) for name in aws.pages("dynamodb", "ListTables", "TableNames"))


def resources(aws: Aws, ids: Iterable[str]) -> Iterator[Resource]:
    """Those of the tables that exist and stay; each costs a call, and another for its tags."""
    for name in dict.fromkeys(ids):
        described = table(aws, name) if is_name(name) else None
        carried = tags_of(aws, described) if described else None
        if described is not None and carried is not None:
            yield _resource(described, carried, aws.region)


def described_as(aws: Aws, name: str) -> Json | None:
    """The table of that name in whatever state, None when there is none."""
    try:
        found: Json = aws.call("dynamodb", "DescribeTable", TableName=name)["Table"]
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise
        return None
    return found


def table(aws: Aws, name: str) -> Json | None:
    """The table of that name, None when there is none that stays."""
    found = described_as(aws, name)
    return None if found is None or found["TableStatus"] == "DELETING" else found


def tags_of(aws: Aws, described: Json) -> dict[str, str] | None:
    """The tags of a table, None when it does not exist any longer."""
    arn = described["TableArn"]
    try:
        return tags.from_aws(aws.pages("dynamodb", "ListTagsOfResource", "Tags", ResourceArn=arn))
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise
        return None


def gib(size_bytes: int) -> int:
    """A size in whole GiB, rounded up: what has anything in it counts."""
    return -(-size_bytes // _BYTES_PER_GIB)


def _resource(described: Json, carried: dict[str, str], region: str) -> Resource:
    return Resource(
        kind=KIND,
        resource_id=described["TableName"],
        region=region,
        name=carried.get("Name") or None,
        size_gib=gib(described.get("TableSizeBytes", 0)),
        tags=carried,
        facts=_facts(described, carried, region),
    )


def _facts(described: Json, carried: dict[str, str], region: str) -> Json:
    """What a backup does not know of the table, and what options are compared with."""
    # A table that was never on demand does not say how it is billed.
    billing = described.get("BillingModeSummary", {}).get("BillingMode") or PROVISIONED
    parts_of_index = ("IndexName", "KeySchema", "Projection")
    return {
        "table_name": described["TableName"],
        "billing_mode": billing,
        "global_indexes": [
            {name: index[name] for name in parts_of_index}
            for index in described.get("GlobalSecondaryIndexes", ())
        ],
        "table_class": described.get("TableClassSummary", {}).get("TableClass") or "STANDARD",
        "deletion_protection": described.get("DeletionProtectionEnabled", False),
        "replicas": [
            each["RegionName"]
            for each in described.get("Replicas", ())
            if each["RegionName"] != region
        ],
        "kms_key_id": described.get("SSEDescription", {}).get("KMSMasterKeyArn"),
        "tags": carried,
    }
