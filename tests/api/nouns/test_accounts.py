"""Accounts over the API: every way into AWS, checked against an AWS."""

from typing import Any

from cpm.models.audit import AuditEntry
from tests.api.cast import Caller
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.conftest import NUMBER

TRUST: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{NUMBER}:root"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": "between us"}},
        }
    ],
}


def body(cloud: Cloud, **values: object) -> dict[str, object]:
    return {
        "name": "prod",
        "authentication": "C",
        "aws_access_key": cloud.keys.access_key_id,
        "aws_secret_key": cloud.keys.secret_access_key,
        **values,
    }


def made(caller: Caller, cloud: Cloud, **values: object) -> Any:
    answer = caller.post("/accounts/backup/", body(cloud, **values))
    assert answer.status == 201, answer.json
    return answer.json


def test_an_account_with_keys_shows_the_access_key_and_never_the_secret(
    managed: Caller, cloud: Cloud
) -> None:
    account = made(managed, cloud)
    assert account == {
        "id": account["id"],
        "user": managed.id,
        "name": "prod",
        "authentication": "C",
        "is_dr_account": False,
        "aws_access_key": cloud.keys.access_key_id,
        "scan_tagged_resources": False,
        "scan_regions": [2],
        "capture_vpcs": True,
    }
    path = f"/accounts/backup/{account['id']}/"
    assert managed.get(path).json == account
    assert cloud.keys.secret_access_key.encode() not in managed.get("/accounts/").body
    assert list(AuditEntry.objects.values_list("event_type", "object"))[-1] == (
        "create account",
        "prod",
    )
