"""What the emulated AWS lacks, or gets wrong, it says aloud and in AWS's own format."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from cpm.simulator.process import Credentials, Simulator
from tests.simulator.conftest import Clients
from tests.simulator.expect import refused
from tests.simulator.resources import make_snapshot, make_volume

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def test_a_missing_operation_is_a_loud_501_that_names_it(
    client: Clients, account: Credentials, ec2: "EC2Client"
) -> None:
    with refused("NotImplemented", 501) as seen:
        ec2.describe_fast_snapshot_restores()
    assert "ec2:DescribeFastSnapshotRestores" in seen.message
    with refused("NotImplemented", 501) as seen:
        client("backup", account).list_backup_jobs()
    assert "backup:ListBackupJobs" in seen.message
    with refused("NotImplemented", 501):
        client("service-quotas", account).list_services()


def test_a_failure_inside_is_an_internal_error_with_its_traceback_in_the_log(
    simulator: Simulator, client: Clients, account: Credentials
) -> None:
    # moto reads a subnet group's first subnet without looking whether there is one.
    rds = client("rds", account)
    with refused("InternalError", 500) as seen:
        rds.create_db_subnet_group(
            DBSubnetGroupName="empty", DBSubnetGroupDescription="none", SubnetIds=[]
        )
    assert "rds:CreateDBSubnetGroup" in seen.message
    assert "Traceback" in simulator.log_file.read_text()


def test_a_dry_run_does_nothing(ec2: "EC2Client") -> None:
    volume_id = make_volume(ec2)
    with refused("DryRunOperation", 412):
        ec2.create_snapshot(VolumeId=volume_id, DryRun=True)
    assert not ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]


def test_a_missing_parameter_is_named(ec2: "EC2Client") -> None:
    with refused("MissingParameter") as seen:
        ec2.create_snapshot()  # type: ignore[call-arg] # on purpose
    assert "VolumeId" in seen.message


@pytest.mark.parametrize(
    ("code", "resource_id"),
    [
        ("InvalidSnapshotID.Malformed", "snapshot"),
        ("InvalidSnapshotID.Malformed", "vol-0123456789abcdef0"),
    ],
)
def test_an_id_that_cannot_be_one_is_refused(ec2: "EC2Client", code: str, resource_id: str) -> None:
    with refused(code):
        ec2.describe_snapshots(SnapshotIds=[resource_id])


def test_threads_lose_no_snapshot(ec2: "EC2Client") -> None:
    volumes = [make_volume(ec2) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(lambda n: make_snapshot(ec2, volumes[n % 8]), range(80)))
    listed = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert {item["SnapshotId"] for item in listed} == made
    assert len(made) == 80
