"""What the contract promises of every operation, as a table, and requests that succeed."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpm.api.operations import Operation
from cpm.api.routes import OPERATIONS
from tests.api.cast import PASSWORD
from tests.api.nouns.cloud import REGION
from tests.api.nouns.estate import Estate, keys

OURS = "ours"

# What an effect is answered with.
STATUS = {
    "shows": 200,
    "creates": 201,
    "changes": 200,
    "deletes": 204,
    "deletes in AWS": 204,
    "starts": 201,
    "starts in AWS": 201,
    "sets a password": 204,
    "issues a token": 200,
}


@dataclass(frozen=True)
class Endpoint:
    """One operation as the contract has it; what is `ours` answers under every version."""

    method: str
    path: str
    since: str
    permission: str
    effect: str

    @property
    def place(self) -> tuple[str, str]:
        """What it is known by, whatever its path calls the ids."""
        return place(self.method, self.path)

    @property
    def operation(self) -> Operation:
        """What the server declares for it."""
        return _DECLARED[self.place]

    @property
    def accept(self) -> str:
        """What a client that reads what it answers asks for."""
        return "text/html" if self.path == "/docs/" else "application/json"


def place(method: str, path: str) -> tuple[str, str]:
    """A method and a path whose ids have no names."""
    return method, re.sub(r"\{[^}]*\}", "{}", path)


_DECLARED = {place(each.method, each.path): each for each in OPERATIONS}

with (Path(__file__).parent / "endpoints.tsv").open(newline="") as _file:
    ENDPOINTS = tuple(Endpoint(**row) for row in csv.DictReader(_file, delimiter="\t"))


_SETTINGS: Mapping[str, dict[str, Any]] = {
    "/settings/cleanup/": {"keep_records_days": 30},
    "/settings/identifier/": {"cpm_name": "other"},
    "/settings/identity_provider/": {"entity_id": "https://idp.example.com/"},
    "/settings/license/": {"max_users": 50},
    "/settings/proxy/": {"address": "proxy.example.com"},
    "/settings/smtp/": {"address": "mail.example.com"},
    "/settings/tagscan/": {"interval_hours": 12, "run": True},
}


def repository(estate: Estate, name: str) -> dict[str, Any]:
    """The body that makes an S3 repository."""
    bucket = {"name": name, "bucket_name": "archive"}
    return {**bucket, "account": estate.account, "user": estate.caller.id}


def bodies(estate: Estate, root_id: int) -> Mapping[tuple[str, str], dict[str, Any]]:
    """A body for every operation that does not succeed without one."""
    password = {"new_password": f"another {PASSWORD}"}
    person = {"username": "new", "password": PASSWORD}
    group = {"name": "admins"}
    target: Any = {"resource_id": "new-1", "region": REGION}
    kinds = ("volumes", "instances", "rds_databases", "rds_clusters", "redshift_clusters")
    every_hour = {"name": "new", "every_unit": "H", "every_how_many": 1}
    groups = "/settings/identity_provider/groups/"
    found: dict[str, dict[str, Any]] = {
        "/users/": person,
        "/users/{}/reset_password/": password,
        "/users/me/change_password/": {"old_password": PASSWORD, **password},
        "/delegates/": {**person, "original_user": root_id},
        "/delegates/{}/reset_password/": password,
        "/accounts/backup/": keys(estate.cloud, name="new"),
        "/accounts/dr/": keys(estate.cloud, name="new"),
        "/notifications/channels/": {
            "name": "new",
            "channel_type": "email",
            "email": "new@example.com",
        },
        "/schedules/": every_hour,
        "/policies/": {"name": "new", "account": estate.account, "user": estate.caller.id},
        "/s3_repositories/": repository(estate, "new"),
        "/workers/": {"account": estate.account, "user": estate.caller.id, "region": "eu-west-2"},
        "/backups/{}/to_freezer/": {"name": "kept"},
        "/policies/{}/targets/instances/{}/volumes/": {"volume_id": "vol-2"},
        f"{groups}users/": group,
        f"{groups}delegates/": {**group, "original_user": root_id},
        **{f"/policies/{{}}/targets/{kind}/": target for kind in (*kinds, "dynamodb_tables")},
    }
    changes = {each.place: _change(each) for each in ENDPOINTS if each.method == "PUT"}
    return {**changes, **{("POST", path): body for path, body in {**found, **_SETTINGS}.items()}}


def _change(one: Endpoint) -> dict[str, Any]:
    """The body that gives something another name, where it has one that can be changed."""
    fields = {field.name: field for field in one.operation.body or ()}
    is_named = "name" in fields and not fields["name"].fixed
    return {"name": "renamed"} if is_named else {}
