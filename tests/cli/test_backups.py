"""`cpm policy`, `cpm backup` and `cpm recover`, beside a running server."""

import json
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from cpm.demo.client import ApiClient
from cpm.kernel import clock
from tests.api.nouns.cloud import SSE_S3
from tests.cli.commands import START_SECONDS, DemoServer, cpm

REGION = "us-east-1"


@dataclass
class Desk:
    """Somebody at the server's own terminal, and what he has to look after."""

    data: str
    client: ApiClient
    ec2: Any
    policy: int
    volume: str
    instance: str
    control: str

    def cpm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return cpm(*arguments, "--data", self.data)

    def done(self, *arguments: str) -> str:
        """What a command prints that must do what is asked."""
        done = self.cpm(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.done(*arguments, "--json"))

    def refused(self, *arguments: str) -> str:
        """What a command says that must fail."""
        failed = self.cpm(*arguments)
        assert (failed.returncode, failed.stdout) == (1, ""), failed.stdout + failed.stderr
        return failed.stderr


@pytest.fixture(scope="module")
def desk(demo_server: DemoServer) -> Desk:
    """A policy that protects a volume and an instance, and another of the same name."""
    ready = demo_server.ready
    client = ApiClient(ready["url"], Path(ready["ca_cert"]), ready["api_key"])
    keys = ready["accounts"][0]
    credentials = {
        "aws_access_key": keys["access_key_id"],
        "aws_secret_key": keys["secret_access_key"],
    }
    ec2 = boto3.client(
        "ec2",
        region_name=REGION,
        endpoint_url=ready["aws_endpoint"],
        aws_access_key_id=keys["access_key_id"],
        aws_secret_access_key=keys["secret_access_key"],
    )
    anna = client.post("/users/", username="anna", password="correct-horse", user_type="M")
    policies = []
    for user in ({}, {"user": anna["id"]}):
        account = client.post(
            "/accounts/backup/", name="main", authentication="C", **credentials, **user
        )
        policies.append(client.post("/policies/", name="shop", account=account["id"], **user)["id"])
    volume = ec2.describe_volumes(Filters=[{"Name": "tag:Name", "Values": ["archive"]}])
    instance = ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": ["web-1"]}])
    volume_id = volume["Volumes"][0]["VolumeId"]
    instance_id = instance["Reservations"][0]["Instances"][0]["InstanceId"]
    for kind, resource_id in (("volumes", volume_id), ("instances", instance_id)):
        path = f"/policies/{policies[0]}/targets/{kind}/"
        client.post(path, resource_id=resource_id, region=REGION)
    control = ready["simulator_control"]
    return Desk(ready["data_dir"], client, ec2, policies[0], volume_id, instance_id, control)


@pytest.fixture(scope="module")
def backup(desk: Desk) -> int:
    """A backup that was made at the terminal."""
    done = desk.cpm("policy", "run", str(desk.policy))
    assert done.returncode == 0, done.stderr
    assert "Backup successful: 3 snapshots." in done.stderr
    assert f"Backup {done.stdout.strip()} of shop: successful." in done.stderr
    return int(done.stdout)


def test_policies_are_listed_and_shown_with_their_targets(desk: Desk, backup: int) -> None:
    listed = desk.json("policy", "list")
    assert listed == desk.client.get("/policies/")
    shown = desk.json("policy", "show", str(desk.policy))
    targets = shown.pop("targets")
    assert shown == desk.client.get(f"/policies/{desk.policy}/")
    assert targets == desk.client.get(f"/policies/{desk.policy}/targets/")
    table = desk.done("policy", "show", str(desk.policy))
    assert "Successful" in table
    assert desk.volume in table


def test_a_name_that_two_users_have_given_is_asked_about(desk: Desk) -> None:
    told = desk.refused("policy", "show", "shop")
    assert "several of the name shop" in told
    assert f"{desk.policy} of root" in told
    assert "--user" in told
    assert desk.json("policy", "show", "shop", "--user", "anna")["name"] == "shop"


def test_a_run_that_cannot_be_is_refused_in_words(desk: Desk) -> None:
    told = desk.refused("policy", "run", "shop", "--user", "anna")
    assert "The policy has no targets." in told
    assert "There is no policy nothing" in desk.refused("policy", "run", "nothing")


def test_a_run_of_which_something_fails_exits_with_1(desk: Desk, backup: int) -> None:
    made = desk.client.post("/policies/", name="doomed", account=_account(desk))
    gone = desk.ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=1)["VolumeId"]
    path = f"/policies/{made['id']}/targets/volumes/"
    desk.client.post(path, resource_id=gone, region=REGION)
    desk.ec2.delete_volume(VolumeId=gone)
    failed = desk.cpm("policy", "run", "doomed")
    assert failed.returncode == 1
    assert f"Backup {failed.stdout.strip()} of doomed: failed." in failed.stderr
    assert "does not exist any longer" in failed.stderr


def test_backups_are_listed_shown_and_tell_what_happened(desk: Desk, backup: int) -> None:
    (listed,) = desk.json("backup", "list", "--policy", str(desk.policy), "--limit", "1")
    assert listed == desk.client.get(f"/backups/{backup}/")
    shown = desk.json("backup", "show", str(backup))
    assert shown.pop("snapshots") == desk.client.get(f"/backups/{backup}/snapshots/")
    assert shown == listed
    assert {"kept", "reason", "expires_after"} == set(shown["retention"])
    told = desk.done("backup", "logs", str(backup)).splitlines()
    lines = desk.client.get(f"/backups/{backup}/logs/")
    assert told == [f"{each['time']}  {each['severity']}  {each['message']}" for each in lines]
    assert "There is no backup 999999" in desk.refused("backup", "show", "999999")


def test_a_volume_is_recovered_with_options(desk: Desk, backup: int) -> None:
    done = desk.cpm(
        *("recover", "volume", str(backup), desk.volume),
        *("--availability-zone", f"{REGION}b", "--volume-type", "gp2", "--size-gib", "40"),
        *("--additional-tags", "who=me", "--no-preserve-tags"),
    )
    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stderr
    (volume,) = desk.ec2.describe_volumes(VolumeIds=[done.stdout.strip()])["Volumes"]
    assert volume["AvailabilityZone"] == f"{REGION}b"
    assert (volume["VolumeType"], volume["Size"]) == ("gp2", 40)
    own = {tag["Key"] for tag in volume["Tags"] if not tag["Key"].startswith("cpm_")}
    assert own == {"who"}


def test_an_instance_is_recovered_without_waiting(desk: Desk, backup: int) -> None:
    record = desk.json(
        *("recover", "instance", str(backup), desk.instance, "--no-wait", "--no-start"),
        *("--block-devices", "device=/dev/xvda,volume_type=io2,iops=500"),
    )
    assert (record["status"], record["recovery_type"]) == ("P", "I")
    assert record["options"] == {
        "start": False,
        "block_devices": [{"device": "/dev/xvda", "volume_type": "io2", "iops": 500}],
    }


def test_what_cannot_be_recovered_so_is_told_with_its_option(desk: Desk, backup: int) -> None:
    recover = ("recover", "volume", str(backup))
    told = desk.refused(*recover, desk.volume, "--availability-zone", "mars-1a")
    assert "availability_zone: us-east-1 has no zone mars-1a" in told
    for wrong in (("--volume-type", "floppy"), ("--additional-tags", "nothing")):
        assert desk.cpm(*recover, desk.volume, *wrong).returncode == 2


def test_a_recovery_that_fails_exits_with_1(desk: Desk, backup: int) -> None:
    gone = {"op": "ec2:CreateVolume", "kind": "denied", "code": "InvalidSnapshot.NotFound"}
    _set_faults(desk, gone)
    failed = desk.cpm("recover", "volume", str(backup), desk.volume)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "InvalidSnapshot.NotFound" in failed.stderr
    _set_faults(desk)


def test_a_backup_is_frozen_and_deleted(desk: Desk) -> None:
    made = int(desk.done("policy", "run", str(desk.policy)))
    frozen = desk.json("backup", "freeze", str(made), "kept", "--description", "for the audit")
    assert frozen == desk.client.get(f"/backups/{made}/")
    assert (frozen["name"], frozen["description"]) == ("kept", "for the audit")

    going = desk.json("backup", "delete", str(made), "--dry-run")
    assert [each["kept_because"] for each in going] == [None] * 3
    assert {each["snapshot_id"] for each in going} == {
        each["snapshot_id"] for each in desk.client.get(f"/backups/{made}/snapshots/")
    }
    assert desk.done("backup", "delete", str(made)) == ""
    assert desk.client.get(f"/backups/?is_frozen=true&policy={desk.policy}") == []


def test_a_backup_shows_how_far_its_copies_to_s3_are(desk: Desk, demo_server: DemoServer) -> None:
    account, bucket = _account(desk), _bucket(demo_server.ready)
    vault = desk.client.post("/s3_repositories/", name="vault", account=account, bucket_name=bucket)
    policy = f"/policies/{desk.client.post('/policies/', name='copied', account=account)['id']}/"
    desk.client.post(f"{policy}targets/volumes/", resource_id=desk.volume, region=REGION)
    desk.client.put(f"{policy}copy_to_s3/", enabled=True, repository=vault["id"])
    _set_faults(desk, {"op": "ebs:ListSnapshotBlocks", "kind": "503"})
    made = desk.client.post(f"{policy}backups/")["id"]
    assert clock.wait_until(
        lambda: desk.client.get(f"/backups/{made}/")["s3_copy_status"]["progress"],
        timeout_seconds=START_SECONDS,
    )
    assert "In progress: 0 %, 0 MiB/s, a while left" in desk.done("backup", "show", str(made))
    _set_faults(desk)


def test_a_delegate_does_what_he_may(desk: Desk, backup: int) -> None:
    desk.client.post(
        "/delegates/", username="dora", password="correct-horse", original_user=_root(desk)
    )
    told = desk.refused("backup", "delete", str(backup), "--user", "dora")
    assert "permission" in told


def _bucket(ready: dict[str, Any]) -> str:
    """An encrypted bucket in the demo's first account; its name."""
    keys = ready["accounts"][0]
    s3 = boto3.client(
        "s3",
        region_name=REGION,
        endpoint_url=ready["aws_endpoint"],
        aws_access_key_id=keys["access_key_id"],
        aws_secret_access_key=keys["secret_access_key"],
    )
    s3.create_bucket(Bucket="copied-at-the-terminal")
    s3.put_bucket_encryption(
        Bucket="copied-at-the-terminal", ServerSideEncryptionConfiguration=SSE_S3
    )
    return "copied-at-the-terminal"


def _account(desk: Desk) -> int:
    return int(desk.client.get(f"/policies/{desk.policy}/")["account"])


def _root(desk: Desk) -> int:
    (root,) = (user for user in desk.client.get("/users/") if user["username"] == "root")
    return int(root["id"])


def _set_faults(desk: Desk, *rules: dict[str, Any]) -> None:
    body = json.dumps(rules).encode()
    with urllib.request.urlopen(f"{desk.control}/_ctl/faults", data=body) as answer:
        assert answer.status == 200
