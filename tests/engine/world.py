"""One user with an AWS account and policies in it, and a clock that goes as fast as the work."""

import itertools
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import connection
from django.db.models import Min

from cpm.engine import queue, recoveries, sweep, tick, worker
from cpm.engine.wishes import Wish
from cpm.kernel import clock
from cpm.models.accounts import Account, Authentication
from cpm.models.alerts import Alert
from cpm.models.backups import Backup, BackupPhase, BackupTarget
from cpm.models.events import Event
from cpm.models.machines import WorkerMachine
from cpm.models.notifications import Delivery, Notice
from cpm.models.operations import Operation, OperationPhase
from cpm.models.policies import Policy, PolicySchedule, Target, TargetVolume
from cpm.models.recoveries import Recovery, RecoveryPhase
from cpm.models.s3_copies import S3Copy, S3CopyRange
from cpm.models.s3_restores import S3RestoreRange
from cpm.models.schedules import Schedule
from cpm.models.snapshots import Snapshot
from cpm.models.tagscan import TagScan
from cpm.models.users import User, UserKind
from cpm.resources import options, registry
from cpm.resources.contract import Driver
from cpm.simulator.process import Credentials, Simulator
from tests import owners

T = TypeVar("T")

REGION = "us-east-1"
OTHER_REGION = "eu-west-1"

assert worker.LOOKS  # imported, so that this process can do every job

_numbers = itertools.count(300000000000)
_names = itertools.count(1)


class NeverQuiet(AssertionError):
    """The engine goes on and on; the text says what is still open."""


@dataclass
class World:
    """Everything that a test of the engine needs."""

    simulator: Simulator
    user: User
    account: Account
    credentials: Credentials
    offset: timedelta = field(default_factory=timedelta)

    # --- AWS ------------------------------------------------------------------------------

    def ec2(self, region: str = REGION) -> Any:
        """EC2 of the account."""
        return self.client("ec2", region)

    def client(self, service: str, region: str = REGION, *, of: Credentials | None = None) -> Any:
        """The account, or that of these keys, as its owner sees it, beside the product."""
        return owners.client(self.simulator.endpoint, service, of or self.credentials, region)

    def seed(self, *, region: str = REGION, **estate: Any) -> dict[str, Any]:
        """Make an estate in the account."""
        return self.simulator.seed(account=self.credentials.account, region=region, **estate)

    def volume(self, region: str = REGION) -> str:
        """A volume that belongs to no instance."""
        (volume_id,) = self.seed(region=region, standalone=1)["standalone"]
        return str(volume_id)

    def snapshots_in_aws(self, region: str = REGION, **tags: str) -> list[dict[str, Any]]:
        """The snapshots that AWS has, with these of our tags."""
        filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]
        pages = self.ec2(region).get_paginator("describe_snapshots")
        found = pages.paginate(OwnerIds=["self"], Filters=filters)
        return [snapshot for page in found for snapshot in page["Snapshots"]]

    # --- rows -----------------------------------------------------------------------------

    def policy(self, *targets: Target, **columns: Any) -> Policy:
        """A policy with these targets (not stored yet)."""
        columns = {"retry_count": 0, "name": f"policy-{next(_names)}", **columns}
        policy = Policy.objects.create(
            user=self.user, account=self.account, modified_at=clock.now(), **columns
        )
        for target in targets:
            target.policy = policy
            target.save()
        return policy

    def schedule(self, policy: Policy, **columns: Any) -> Schedule:
        """A schedule of the policy, armed."""
        columns = {"start_at": clock.now(), "name": f"schedule-{next(_names)}", **columns}
        schedule = Schedule.objects.create(user=self.user, modified_at=clock.now(), **columns)
        PolicySchedule.objects.create(policy=policy, schedule=schedule)
        arm(policy)
        return schedule

    # --- the engine -----------------------------------------------------------------------

    def backup(self, policy: Policy) -> Backup:
        """Run the policy now, to the end of this record (not of its retries)."""
        backup = tick.run_now(policy)
        self.drain()
        backup.refresh_from_db()
        return backup

    def drain(self, most_looks: int = 400) -> None:
        """Work until nothing is open, moving the clock on to whatever is due next."""
        for _ in range(most_looks):
            self.work()
            if not self.next_look():
                return
        raise NeverQuiet(describe_open())

    def next_look(self) -> bool:
        """Move the clock to the next look at something open; False when all is closed."""
        due_at = next_due()
        if due_at is not None:
            self.move_to(due_at)
        return due_at is not None

    def work(self) -> None:
        """Do all that is due, at the time that it is."""
        sweep.sweep()
        while queue.run_next():
            pass

    def step(self) -> None:
        """Do one job, or move the clock to when there is one."""
        sweep.sweep()
        if not queue.run_next():
            assert self.next_look()

    def pass_time(self, span: timedelta) -> None:
        """Let time pass and do what comes due meanwhile."""
        end = clock.now() + span
        while True:
            self.work()
            due_at = next_due(with_waiting=True)
            if due_at is None or due_at > end:
                break
            self.move_to(due_at)
        self.move_to(end)
        self.work()

    def move_to(self, moment: datetime) -> None:
        """Move the clock on."""
        ahead = moment - clock.now()
        if ahead > timedelta():
            self.offset += ahead
            clock.set_offset(self.offset)


def make_world(simulator: Simulator) -> World:
    """A new user with an account that nobody has used before."""
    credentials = simulator.account(str(next(_numbers)))
    user = User.objects.create(
        username=f"user-{next(_names)}", kind=UserKind.MANAGED, created_at=clock.now()
    )
    return World(simulator, user, make_account(user, credentials), credentials)


def make_account(user: User, credentials: Credentials, **columns: Any) -> Account:
    """The row of an account that is entered with an access key."""
    return Account.objects.create(
        user=user,
        name=f"account_{credentials.account}",
        authentication=Authentication.IAM_USER,
        aws_access_key=credentials.access_key_id,
        sealed_secret=settings.SEALER.seal(credentials.secret_access_key),
        aws_account_number=credentials.account,
        **columns,
    )


def open_account(world: World, **columns: Any) -> tuple[Account, Credentials]:
    """One more account, which receives copies."""
    credentials = world.simulator.account(str(next(_numbers)))
    return make_account(world.user, credentials, is_dr_account=True, **columns), credentials


def recover(snapshot: Snapshot, **asked: Any) -> Recovery:
    """Start to bring back the volume that a snapshot was made of."""
    driver = registry.driver("ebs_volume")
    resource = (snapshot.resource_id, snapshot.resource_name, snapshot.facts)
    return start_recovery(driver, snapshot.backup, resource, [snapshot], asked)


def recover_instance(target: BackupTarget, **asked: Any) -> Recovery:
    """Start to bring back an instance from all that a backup has of it."""
    driver = registry.driver("ec2_instance")
    resource = (target.resource_id, target.resource_name, target.facts)
    snapshots = list(target.snapshots.order_by("pk"))
    return start_recovery(driver, target.backup, resource, snapshots, asked)


def start_recovery(
    driver: Driver,
    backup: Backup,
    resource: tuple[str, str | None, dict[str, Any]],
    snapshots: list[Snapshot],
    asked: dict[str, Any],
) -> Recovery:
    """Plan a recovery into the account of the snapshots, and set it going."""
    assert driver.recover_options is not None
    assert snapshots[0].account is not None
    wish = Wish(
        driver,
        backup,
        *resource,
        snapshots,
        account=snapshots[0].account,
        region=snapshots[0].region,
        options=options.make(driver.recover_options, asked),
        asked=asked,
    )
    return recoveries.start(wish, recoveries.plan(wish))


def volume_target(volume_id: str, region: str = REGION) -> Target:
    """A volume as a policy names it."""
    return Target(kind="ebs_volume", resource_id=volume_id, region=region)


def instance_target(instance_id: str, region: str = REGION, **options: Any) -> Target:
    """An instance as a policy names it."""
    return Target(kind="ec2_instance", resource_id=instance_id, region=region, options=options)


def name_volumes(target: Target, volume_ids: Iterable[str]) -> None:
    """Name volumes for inclusion in, or exclusion from, the backups of an instance."""
    for volume_id in volume_ids:
        TargetVolume.objects.create(target=target, volume_id=volume_id)


def arm(policy: Policy) -> None:
    """Have the policy's schedules count from now."""
    tick.arm_policy(policy.pk)


def planned_operations(backup: Backup) -> list[int]:
    """The ids of what a backup consists of, when that is known and nothing of it is begun."""
    while not (planned := sorted(backup.operations.values_list("pk", flat=True))):
        assert queue.run_next()
    return planned


def at_once(count: int, work: Callable[[], T]) -> list[T]:
    """What the same work gives in several threads that start together."""
    together = threading.Barrier(count)

    def run() -> T:
        together.wait()
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as threads:
        doing = [threads.submit(run) for _ in range(count)]
    return [each.result() for each in doing]


def fail_until_given_up(world: World) -> None:
    """Work with jobs that raise, as often as they are tried, to the end."""
    for _ in range(20 * queue.MOST_ATTEMPTS):
        try:
            world.work()
        except (LookupError, AttributeError):
            queue.take_over_stalled(60)
            continue
        due_at = next_due()
        if due_at is None:
            return
        world.move_to(due_at)
    raise AssertionError(describe_open())


def next_due(*, with_waiting: bool = False) -> datetime | None:
    """When the next look is due; with what merely waits (retries, schedules) if wanted."""
    times = [
        Operation.objects.exclude(phase=OperationPhase.CLOSED).aggregate(at=Min("due_at"))["at"],
        Backup.objects.exclude(phase=BackupPhase.CLOSED).aggregate(at=Min("due_at"))["at"],
        Recovery.objects.exclude(phase=RecoveryPhase.CLOSED).aggregate(at=Min("due_at"))["at"],
        Backup.objects.aggregate(at=Min("dr_due_at"))["at"],
        Backup.objects.aggregate(at=Min("s3_due_at"))["at"],
        S3Copy.objects.aggregate(at=Min("due_at"))["at"],
        S3CopyRange.objects.aggregate(at=Min("due_at"))["at"],
        WorkerMachine.objects.aggregate(at=Min("due_at"))["at"],
        S3RestoreRange.objects.aggregate(at=Min("due_at"))["at"],
        TagScan.objects.aggregate(at=Min("due_at"))["at"],
        Notice.objects.aggregate(at=Min("due_at"))["at"],
        Delivery.objects.aggregate(at=Min("due_at"))["at"],
    ]
    if with_waiting:
        times.append(Backup.objects.aggregate(at=Min("retry_at"))["at"])
        times.append(PolicySchedule.objects.aggregate(at=Min("next_run_at"))["at"])
    return min((time for time in times if time is not None), default=None)


def describe_open() -> str:
    """What is still open, for whoever reads a failed test."""
    rows: list[Operation | Backup | Recovery | S3Copy] = [
        *Operation.objects.exclude(phase=OperationPhase.CLOSED),
        *Backup.objects.exclude(phase=BackupPhase.CLOSED),
        *Recovery.objects.exclude(phase=RecoveryPhase.CLOSED),
        *Backup.objects.exclude(dr_due_at=None),
        *Backup.objects.exclude(s3_due_at=None),
        *S3Copy.objects.exclude(due_at=None),
    ]
    return "\n".join(f"{row} {row.phase} {row.due_at}" for row in rows)


def log_of(record: Backup | Recovery) -> list[str]:
    """The codes of a record's log, in order."""
    of = {"backup": record} if isinstance(record, Backup) else {"recovery": record}
    return list(Event.objects.filter(**of).order_by("pk").values_list("code", flat=True))


def refs_of(backup: Backup) -> set[str]:
    """What AWS calls the snapshots of a backup, as far as our rows know."""
    return set(Snapshot.objects.filter(backup=backup).values_list("aws_ref", flat=True))


def open_alerts() -> set[str]:
    """The causes of the alerts that are open."""
    return set(Alert.objects.filter(resolved_at=None).values_list("cause", flat=True))
