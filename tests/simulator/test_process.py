"""The simulator as a process: starts, keeps its state, ends with its parent, refuses with words."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cpm.kernel import clock
from cpm.simulator.process import Credentials, Simulator, SimulatorFailed
from tests.simulator.resources import connect, look, make_completed, make_volume, run_instance

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

ACCOUNT = "111122223333"


def is_alive(pid: int) -> bool:
    """Whether a process runs, zombies not counted."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    """Where the simulators of a test keep their state, one after the other."""
    return tmp_path / "aws.state"


class TestState:
    """`--state`."""

    def test_what_exists_survives_a_clean_stop(self, tmp_path: Path, state_file: Path) -> None:
        with Simulator(tmp_path, state_file=state_file) as first:
            key = first.account(ACCOUNT)
            ec2: EC2Client = connect(first, "ec2", key)
            volume_id = make_volume(ec2, 17)
            first.config(pending=3600)
            snapshot_id = ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
            instance_id = run_instance(ec2)["InstanceId"]
            s3 = connect(first, "s3", key)
            s3.create_bucket(Bucket="kept")
            s3.put_object(Bucket="kept", Key="a", Body=b"kept too")
            connect(first, "iam", key).create_user(UserName="operator")
            connect(first, "rds", key).create_db_instance(
                DBInstanceIdentifier="orders",
                DBInstanceClass="db.t3.medium",
                Engine="postgres",
                AllocatedStorage=20,
                MasterUsername="orders",
                MasterUserPassword="not-a-secret",
            )
            connect(first, "dynamodb", key).create_table(
                TableName="kept",
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
            )
            kms = connect(first, "kms", key)
            pair = {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}
            kms_key = kms.create_key(**pair)["KeyMetadata"]["KeyId"]
            public_key = kms.get_public_key(KeyId=kms_key)["PublicKey"]
        assert state_file.stat().st_mode & 0o777 == 0o600
        with Simulator(tmp_path, state_file=state_file) as second:
            assert second.account(ACCOUNT) == key
            assert second.config()["pending"] == 3600
            ec2 = connect(second, "ec2", key)
            assert look(ec2, volume_id)["Size"] == 17
            assert look(ec2, snapshot_id)["State"] == "pending"
            second.finish(snapshot_id)
            assert look(ec2, snapshot_id)["State"] == "completed"
            assert look(ec2, instance_id)["BlockDeviceMappings"]
            ec2.terminate_instances(InstanceIds=[instance_id])
            ec2.create_volume(AvailabilityZone="us-east-1a", SnapshotId=snapshot_id)
            body = connect(second, "s3", key).get_object(Bucket="kept", Key="a")["Body"]
            assert body.read() == b"kept too"
            connect(second, "iam", key).get_user(UserName="operator")
            connect(second, "rds", key).describe_db_instances(DBInstanceIdentifier="orders")
            connect(second, "dynamodb", key).describe_table(TableName="kept")
            known = connect(second, "kms", key).get_public_key(KeyId=kms_key)
            assert known["PublicKey"] == public_key

    def test_what_exists_survives_a_kill_soon_after_it_was_made(
        self, tmp_path: Path, state_file: Path
    ) -> None:
        simulator = Simulator(tmp_path, state_file=state_file).start()
        try:
            key = simulator.account(ACCOUNT)
            volume_id = make_volume(connect(simulator, "ec2", key))
            assert clock.wait_until(
                lambda: state_file.exists() and volume_id.encode() in state_file.read_bytes(),
                timeout_seconds=60,
            )
            os.kill(simulator.pid, signal.SIGKILL)
        finally:
            simulator.stop()
        with Simulator(tmp_path, state_file=state_file) as again:
            assert look(connect(again, "ec2", key), volume_id)["State"] == "available"

    def test_a_damaged_file_is_refused_and_left_alone(
        self, tmp_path: Path, state_file: Path
    ) -> None:
        with Simulator(tmp_path, state_file=state_file) as simulator:
            simulator.account(ACCOUNT)
        whole = state_file.read_bytes()
        for damaged in (
            whole[: len(whole) // 2],
            whole[:-10] + bytes([whole[-10] ^ 1]) + whole[-9:],
            b"something else\n",
        ):
            state_file.write_bytes(damaged)
            with pytest.raises(SimulatorFailed, match=r"The state file .* remove it to begin"):
                Simulator(tmp_path, state_file=state_file).start()
            assert state_file.read_bytes() == damaged


class TestEnding:
    """However the parent ends, the simulator does too."""

    PARENT = (
        "import sys, pathlib\n"
        "from cpm.simulator.process import Simulator\n"
        "from cpm.kernel import clock\n"
        "simulator = Simulator(pathlib.Path(sys.argv[1])).start()\n"
        "print(simulator.pid, flush=True)\n"
        "clock.sleep(600)\n"
    )

    @pytest.fixture
    def parent(self, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [sys.executable, "-c", self.PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        with process:
            yield process
            process.kill()

    def test_a_killed_parent_takes_its_simulator_along(self, parent: subprocess.Popen[str]) -> None:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
        assert clock.wait_until(lambda: not is_alive(pid), timeout_seconds=60)

    def test_stop_ends_it(self, tmp_path: Path) -> None:
        simulator = Simulator(tmp_path).start()
        pid = simulator.pid
        simulator.stop()
        assert not is_alive(pid)


def test_a_port_that_is_taken_is_refused_with_words(tmp_path: Path, simulator: Simulator) -> None:
    port = int(simulator.endpoint.rpartition(":")[2])
    with pytest.raises(SimulatorFailed, match=r"[Aa]ddress already in use"):
        Simulator(tmp_path, port=port).start()


def test_the_ready_file_has_the_keys_and_is_for_its_owner_only(tmp_path: Path) -> None:
    with Simulator(tmp_path, accounts=[ACCOUNT]) as simulator:
        ready_file = tmp_path / "simulator.ready.json"
        ready = json.loads(ready_file.read_text())
        assert ready_file.stat().st_mode & 0o777 == 0o600
        assert ready["endpoint"] == simulator.endpoint
        given = Credentials(**ready["accounts"][0])
        assert connect(simulator, "sts", given).get_caller_identity()["Account"] == ACCOUNT


def test_reset_empties_aws_and_leaves_the_keys(tmp_path: Path) -> None:
    with Simulator(tmp_path) as simulator:
        key = simulator.account(ACCOUNT)
        ec2: EC2Client = connect(simulator, "ec2", key)
        make_completed(ec2)
        simulator.config(pending=3600)
        simulator.faults([{"op": "ec2:*", "kind": "503"}])
        simulator.reset()
        assert simulator.counts() == {}
        assert simulator.config()["pending"] == 0
        assert not ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        assert not ec2.describe_volumes()["Volumes"]
