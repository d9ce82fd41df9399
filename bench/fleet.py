"""A fleet in the emulated AWS, a policy over all of it, and a worker that does what is due."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from cpm.kernel import clock, regions
from cpm.models.accounts import Account, Authentication
from cpm.models.policies import Policy, Target
from cpm.models.users import User, UserKind
from cpm.simulator.process import Credentials, Simulator

_ACCOUNT_NUMBER = "300000000000"
# Where the fleet is, and where its copies are.
REGION, COPIES = "us-east-1", "eu-west-1"
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Fleet:
    """How much there is to protect."""

    instances: int
    volumes_each: int
    loose_volumes: int
    databases: int = 0

    @property
    def volumes(self) -> int:
        """All volumes."""
        return self.instances * self.volumes_each + self.loose_volumes


def plant(fleet: Fleet, simulator: Simulator) -> Policy:
    """Make the fleet in AWS, and a policy that keeps one generation of it, here and elsewhere."""
    credentials = simulator.account(_ACCOUNT_NUMBER)
    planted = simulator.seed(
        account=credentials.account,
        region=REGION,
        instances=fleet.instances,
        volumes_per=fleet.volumes_each,
        standalone=fleet.loose_volumes,
        databases=fleet.databases,
        tags={"stage": "production", "owner": "platform"},
    )
    now = clock.now()
    user = User.objects.create(username="root", kind=UserKind.ROOT, created_at=now)
    policy = Policy.objects.create(
        user=user,
        account=_account(user, credentials),
        name="everything",
        generations=1,
        modified_at=now,
        dr_enabled=True,
        dr_regions=[region.id for region in [regions.by_name(COPIES)] if region],
    )
    kinds = {
        "ec2_instance": planted["instances"],
        "ebs_volume": planted["standalone"],
        "rds_database": planted["databases"],
    }
    Target.objects.bulk_create(
        Target(policy=policy, kind=kind, resource_id=resource_id, region=REGION)
        for kind, ids in kinds.items()
        for resource_id in ids
    )
    return policy


def _account(user: User, credentials: Credentials) -> Account:
    return Account.objects.create(
        user=user,
        name="production",
        authentication=Authentication.IAM_USER,
        aws_access_key=credentials.access_key_id,
        sealed_secret=settings.SEALER.seal(credentials.secret_access_key),
        aws_account_number=credentials.account,
    )


class Worker:
    """A running `cpm worker`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def cpu_seconds(self) -> float:
        """The CPU that it has used, all threads together."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        user_ticks, system_ticks = stat.rpartition(")")[2].split()[11:13]
        return (int(user_ticks) + int(system_ticks)) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Stop it as an operator does."""
        self._process.terminate()
        self._process.wait(_STOP_SECONDS)


@contextmanager
def running_worker(simulator: Simulator, *, poll_seconds: float) -> Iterator[Worker]:
    """A worker on the benchmark's database and the emulated AWS."""
    with tempfile.TemporaryDirectory(prefix="cpm-bench-") as data:
        environment = {
            **os.environ,
            "CPM_DATA": data,
            "CPM_AWS_ENDPOINT": simulator.endpoint,
            "CPM_POLL_SECONDS": f"{poll_seconds:g}",
            "CPM_LOG_LEVEL": "WARNING",
        }
        command = [sys.executable, "-m", "cpm", "worker"]
        worker = Worker(subprocess.Popen(command, env=environment))
        try:
            yield worker
        finally:
            worker.stop()
