"""Every operation of the nouns, with an object for each id in its path."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import transaction

from cpm.api.operations import Operation
from cpm.api.routes import OPERATIONS
from tests.api.cast import Caller
from tests.api.nouns.estate import Estate, create, drain, keys

NOUNS = (
    *("agents", "accounts", "policies", "backups", "freezer", "recoveries", "alerts"),
    "notifications",
)
COPIES = (
    *("dr_volumes", "only_dr_amis", "dr_initial_amis", "dr_rds_databases", "dr_rds_clusters"),
)
OURS = [each for each in OPERATIONS if each.path.split("/")[1] in NOUNS]


def make_one_of_each(estate: Estate) -> dict[str, int]:
    """Ids of objects that are there, by the first words of the paths below which they are."""
    cloud = estate.cloud
    volume = estate.target("volumes", cloud.volume())
    instance = estate.target("instances", cloud.instance())
    volumes = f"{estate.path}targets/instances/{instance['id']}/volumes/"
    estate.target("instances", cloud.instance(), backup_option="N")
    estate.target("instances", cloud.instance(), backup_option="I")
    database = estate.target("rds_databases", cloud.database())
    cluster = estate.target("rds_clusters", cloud.aurora())
    warehouse = estate.target("redshift_clusters", cloud.warehouse())
    table = estate.target("dynamodb_tables", cloud.table())
    named = create(estate.caller, f"{volumes}?validate=false", {"volume_id": "vol-1"})
    estate.caller.put(f"{estate.path}dr/", {"enabled": True, "target_regions": ["eu-west-1"]})
    bucket = {"name": "vault", "account": estate.account, "bucket_name": cloud.bucket()}
    repository = create(estate.caller, "/s3_repositories/", bucket)["id"]
    estate.caller.put(f"{estate.path}copy_to_s3/", {"enabled": True, "repository": repository})
    backup = estate.run()["id"]
    path = f"/backups/{backup}/snapshots/"
    (snapshot, *_) = estate.caller.get(f"{path}volumes/").json
    copies = [(f"snapshots/{name}", f"{path}{name}/") for name in COPIES]
    (in_s3, *_) = estate.caller.get(f"{path}copy_to_s3/").json
    (only_ami,) = estate.caller.get(f"{path}only_amis/").json
    (initial_ami,) = estate.caller.get(f"{path}initial_amis/").json
    (of_database,) = estate.caller.get(f"{path}rds_databases/").json
    (of_cluster,) = estate.caller.get(f"{path}rds_clusters/").json
    (of_warehouse,) = estate.caller.get(f"{path}redshift_clusters/").json
    (of_table,) = estate.caller.get(f"{path}dynamodb_tables/").json
    whole, *_ = estate.caller.get(f"{path}instances/").json
    recovery = create(estate.caller, f"{path}volumes/{snapshot['id']}/recover/", {})["id"]
    topic = {"name": "ops", "channel_type": "sns", "account": estate.account, "region": "us-east-1"}
    channel = create(estate.caller, "/notifications/channels/", topic)["id"]
    create(estate.caller, f"/notifications/channels/{channel}/test/", {})
    unused = {"name": "spare", "account": estate.account, "bucket_name": "archive"}
    spare = create(estate.caller, "/s3_repositories/?validate=false", unused)["id"]
    worker = create(estate.caller, "/workers/", {"account": estate.account, "region": "us-east-1"})
    drain()
    return {
        "accounts/backup": estate.account,
        "accounts/dr": create(estate.caller, "/accounts/dr/", keys(cloud, name="vault"))["id"],
        "notifications/channels": channel,
        "s3_repositories": spare,
        "workers": worker["id"],
        "policies": estate.policy,
        "targets/volumes": volume["id"],
        "targets/instances": instance["id"],
        "targets/rds_clusters": cluster["id"],
        "targets/rds_databases": database["id"],
        "targets/redshift_clusters": warehouse["id"],
        "targets/dynamodb_tables": table["id"],
        "instances/{}/volumes": named["id"],
        "backups": backup,
        "snapshots/volumes": snapshot["id"],
        "snapshots/copy_to_s3": in_s3["id"],
        "snapshots/only_amis": only_ami["id"],
        "snapshots/initial_amis": initial_ami["id"],
        "snapshots/instances": whole["id"],
        "snapshots/rds_clusters": of_cluster["id"],
        "snapshots/rds_databases": of_database["id"],
        **{key: estate.caller.get(listed).json[0]["id"] for key, listed in copies},
        "snapshots/redshift_clusters": of_warehouse["id"],
        "snapshots/dynamodb_tables": of_table["id"],
        "recoveries": recovery,
    }


@contextmanager
def taken_back() -> Iterator[None]:
    """What is done meanwhile leaves no trace in the database."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def found_by_listing(
    caller: Caller, operations: Iterable[Operation], known: dict[str, int]
) -> dict[str, int]:
    """What is known, and for every other id in a path that of the first object listed there."""
    ids = dict(known)
    for operation in operations:
        for end in [found.start() for found in re.finditer(r"/\{", operation.path)]:
            start = operation.path[:end]
            if _key(ids, start) is None:
                listed = caller.get(f"{address_of(start, ids)}?page_size=1").json["results"]
                assert listed, f"make_one_of_each has to make something for {start}"
                ids[_named(start)] = listed[0]["id"]
    return ids


def address(operation: Operation, ids: dict[str, int]) -> str:
    """The operation's path with the ids of objects that are there."""
    return address_of(operation.path, ids)


def address_of(path: str, ids: dict[str, int]) -> str:
    """A path with the ids of objects that are there."""
    written, template = "", ""
    for part in path.strip("/").split("/"):
        key = _key(ids, template) if part.startswith("{") else None
        written += f"/{part if key is None else ids[key]}"
        template += f"/{part}"
    return f"{written}/"


def _key(ids: dict[str, int], start: str) -> str | None:
    """What ids after the start of a path are known by: the longest key that it ends with."""
    fitting = [key for key in ids if _named(start).endswith(key)]
    return max(fitting, key=len, default=None)


def _named(start: str) -> str:
    """The start of a path without ids; it begins with a mark, so that no end of it is the whole."""
    return "^" + re.sub(r"\{[^}]*\}", "{}", start).strip("/")
