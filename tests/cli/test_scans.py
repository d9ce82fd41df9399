"""`cpm scan` and `cpm cleanup`, beside a running server and beside none."""

import json
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import typer

from cpm.cli import following
from cpm.demo.client import ApiClient
from cpm.kernel import clock
from cpm.models.events import Event
from cpm.models.users import User, UserKind
from tests.cli.commands import DemoServer, cpm

REGION = "us-east-1"


@dataclass
class Desk:
    """Somebody at the server's own terminal, and an account whose tags are scanned."""

    ready: dict[str, Any]
    client: ApiClient
    ec2: Any

    def cpm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return cpm(*arguments, "--data", self.ready["data_dir"])

    def faults(self, *rules: dict[str, Any]) -> None:
        """Let these calls to AWS fail, and no others."""
        address = f"{self.ready['simulator_control']}/_ctl/faults"
        asked = urllib.request.Request(address, json.dumps(rules).encode(), method="POST")
        urllib.request.urlopen(asked, timeout=30).close()


@pytest.fixture(scope="module")
def desk(demo_server: DemoServer) -> Desk:
    """A policy that a tag on a volume names, beside one that is not there."""
    ready = demo_server.ready
    client = ApiClient(ready["url"], Path(ready["ca_cert"]), ready["api_key"])
    keys = ready["accounts"][1]
    ec2 = boto3.client(
        "ec2",
        region_name=REGION,
        endpoint_url=ready["aws_endpoint"],
        aws_access_key_id=keys["access_key_id"],
        aws_secret_access_key=keys["secret_access_key"],
    )
    account = {
        "authentication": "C",
        "aws_access_key": keys["access_key_id"],
        "aws_secret_key": keys["secret_access_key"],
    }
    # The server's own first round would come before, or not.
    client.post("/settings/tagscan/", enabled=False)
    client.post("/accounts/backup/", name="asleep", **account)
    tagged = client.post("/accounts/backup/", name="tagged", scan_tagged_resources=True, **account)
    client.post("/policies/", name="by-tag", account=tagged["id"])
    made = ec2.create_volume(
        AvailabilityZone=f"{REGION}a",
        Size=1,
        TagSpecifications=[
            {
                "ResourceType": "volume",
                "Tags": [{"Key": "cpm backup", "Value": "by-tag no-such-policy"}],
            }
        ],
    )
    assert made["VolumeId"]
    return Desk(ready, client, ec2)


def test_a_scan_is_followed_to_its_end_and_told_as_json(desk: Desk) -> None:
    done = desk.cpm("scan", "--account", "tagged", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert (found["account"], found["region"], found["error"]) == ("tagged", REGION, None)
    assert found["added"] == 1
    assert "no-such-policy" in done.stderr
    assert "Scan of account tagged in us-east-1 finished" in done.stderr
    (policy,) = [each for each in desk.client.get("/policies/") if each["name"] == "by-tag"]
    (target,) = desk.client.get(f"/policies/{policy['id']}/targets/")
    assert target["added_by"] == "tag"
    again = desk.cpm("scan")
    assert again.returncode == 0
    assert "tagged" in again.stdout


def test_a_scan_that_fails_exits_with_1(desk: Desk) -> None:
    services = ("tag", "ec2", "rds", "redshift", "dynamodb")
    desk.faults(*({"op": f"{service}:*", "kind": "denied"} for service in services))
    failed = desk.cpm("scan", "--account", "tagged", "--json")
    desk.faults()
    assert failed.returncode == 1
    (found,) = json.loads(failed.stdout)
    assert "UnauthorizedOperation" in found["error"] or "AccessDenied" in found["error"]
    assert "Could not be read: us-east-1." in failed.stderr
    assert desk.cpm("scan", "--account", "tagged").returncode == 0


def test_accounts_that_are_not_there_or_do_not_scan_are_told(desk: Desk) -> None:
    for name, told in (("asleep", "does not scan"), ("nobody", "There is no account nobody")):
        refused = desk.cpm("scan", "--account", name)
        assert refused.returncode == 1
        assert told in refused.stderr


def test_cleanup_is_followed_to_its_end_and_told_as_json(desk: Desk) -> None:
    done = desk.cpm("cleanup", "--json")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {"expired", "retried", "records", "audit"}
    assert "Cleanup finished" in done.stderr
    assert "records" in desk.cpm("cleanup").stdout
    started = desk.cpm("cleanup", "--no-wait")
    assert (started.returncode, started.stdout) == (0, "")
    assert desk.client.get("/settings/cleanup/")["last_cleanup_time"] is not None


def test_who_watches_is_told_when_the_last_worker_has_died(
    database: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(typer.Exit) as end:
        following.watch("cleanup", Event.objects.none(), lambda: None)
    assert end.value.exit_code == 1
    assert "No worker is alive" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["scan", "cleanup"])
def test_without_a_worker_nothing_is_promised(
    database_url: str, tmp_path: Path, command: str
) -> None:
    User.objects.create(username="root", kind=UserKind.ROOT, created_at=clock.now())
    refused = cpm(command, DATABASE_URL=database_url, CPM_DATA=str(tmp_path), CPM_SECRET_KEY="x")
    assert refused.returncode == 1
    assert "No worker is alive" in refused.stderr
    assert "cpm worker" in refused.stderr
