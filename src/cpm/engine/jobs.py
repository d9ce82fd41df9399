"""The kinds of jobs there are, and how one part of the engine wakes another.

Waking sets the row's due time in the same transaction, so that the wish outlives the job.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from django.db.models import Exists, F, OuterRef, QuerySet

from cpm.engine.queue import ARCHIVE, NOTICES, SCRIPTS, Task
from cpm.kernel import clock
from cpm.models.backups import Backup, BackupPhase
from cpm.models.dr_copies import DrCopy
from cpm.models.operations import Operation, OperationPhase
from cpm.models.recoveries import Recovery, RecoveryPhase
from cpm.models.s3_copies import S3Copy, S3CopyPhase

# Who waits for a person comes first; what merely frees space comes last.
LOOK_AT_POLICY = Task("look_at_policy", priority=90)
LOOK_AT_RECOVERY = Task("look_at_recovery", priority=70)
LOOK_AT_RECOVERY_STEP = Task("look_at_recovery_step", priority=70)
RESTORE_RANGE = Task("restore_range", priority=70, queue=ARCHIVE)
WATCH = Task("watch", priority=60)
LOOK_AT_BACKUP = Task("look_at_backup", priority=50)
RETRY_BACKUP = Task("retry_backup", priority=50)
RUN_SCRIPT = Task("run_script", priority=50, queue=SCRIPTS)
NOTIFY = Task("notify", priority=50, queue=NOTICES)
LOOK_AT_DR = Task("look_at_dr", priority=45)
LOOK_AT_S3 = Task("look_at_s3", priority=45)
LOOK_AT_S3_COPY = Task("look_at_s3_copy", priority=45)
LOOK_AT_MACHINE = Task("look_at_machine", priority=45)
LOOK_AT_SNAPSHOT = Task("look_at_snapshot", priority=40)
COPY_S3_RANGE = Task("copy_s3_range", priority=40, queue=ARCHIVE)
LOOK_AT_DR_STEP = Task("look_at_dr_step", priority=35)
SUMMARIZE = Task("summarize", priority=30)
SCAN_TAGS = Task("scan_tags", priority=30)
APPLY_RETENTION = Task("apply_retention", priority=20)
CLEAN_UP = Task("clean_up", priority=20)
LIST_AGENTS = Task("list_agents", priority=20)
LOOK_AT_AGENTS = Task("look_at_agents", priority=20)
START_INVENTORY = Task("start_inventory", priority=10)
TAKE_INVENTORY = Task("take_inventory", priority=10)
DISCOVER = Task("discover", priority=10)
REAP_MACHINES = Task("reap_machines", priority=10)
LOOK_AT_DELETION = Task("look_at_deletion", priority=10)
COLLECT_GARBAGE = Task("collect_garbage", priority=10, queue=ARCHIVE)
VERIFY_ARCHIVE = Task("verify_archive", priority=10, queue=ARCHIVE)
REMOVE_USER = Task("remove_user", priority=5)

# So many rows of operations that were made one after the other are looked at by one job: it takes
# more than a call to AWS to fetch a job, read a row and write what came of it by themselves. Nobody
# waits for a neighbour while a person waits for him, and nobody waits for copies and deletions.
_NEIGHBOURS = {
    LOOK_AT_RECOVERY_STEP: 1,
    LOOK_AT_SNAPSHOT: 10,
    LOOK_AT_DR_STEP: 50,
    LOOK_AT_DELETION: 50,
}

# For so long a run collects copies that are over, until it looks at them together.
_TOGETHER = timedelta(seconds=15)


def defer_policies(policy_ids: Iterable[int]) -> None:
    """Have the policies looked at, whose schedules say that it is time."""
    LOOK_AT_POLICY.defer_all({f"policy:{pk}": {"policy_id": pk} for pk in policy_ids})


def defer_operations(operations: Iterable[Operation] | QuerySet[Operation]) -> None:
    """Have the operations looked at, with those of their neighbours that are due."""
    if isinstance(operations, QuerySet):
        operations = operations.only("recovery", "dr_copy", "snapshot")
    arguments_by_task: dict[Task, dict[str, dict[str, int]]] = defaultdict(dict)
    for operation in operations:
        task = _task_of(operation)
        count = _NEIGHBOURS[task]
        first_id = operation.pk // count * count
        arguments = {"first_id": first_id, "count": count}
        arguments_by_task[task][f"{task.name}:{first_id}"] = arguments
    for task, arguments_by_key in arguments_by_task.items():
        task.defer_all(arguments_by_key)


def defer_watches(groups: Iterable[tuple[int | None, str, str]]) -> None:
    """Have groups of started operations watched: account, region, and name of the watch."""
    WATCH.defer_all(
        {
            f"watch:{account_id}:{region}:{watch}": {
                "account_id": account_id,
                "region": region,
                "watch_name": watch,
            }
            for account_id, region, watch in groups
        }
    )


def defer_backups(backup_ids: Iterable[int]) -> None:
    """Have the backups looked at."""
    LOOK_AT_BACKUP.defer_all({f"backup:{pk}": {"backup_id": pk} for pk in backup_ids})


def defer_dr(backup_ids: Iterable[int]) -> None:
    """Have the copies of these runs looked at."""
    LOOK_AT_DR.defer_all({f"dr:{pk}": {"backup_id": pk} for pk in backup_ids})


def defer_s3(backup_ids: Iterable[int]) -> None:
    """Have the copies of these runs in S3 looked at."""
    LOOK_AT_S3.defer_all({f"s3:{pk}": {"backup_id": pk} for pk in backup_ids})


def defer_s3_copies(copy_ids: Iterable[int]) -> None:
    """Have these copies in S3 looked at."""
    LOOK_AT_S3_COPY.defer_all({f"s3_copy:{pk}": {"copy_id": pk} for pk in copy_ids})


def defer_s3_ranges(range_ids: Iterable[int]) -> None:
    """Have these ranges copied to S3."""
    COPY_S3_RANGE.defer_all({f"s3_range:{pk}": {"range_id": pk} for pk in range_ids})


def defer_retries(backup_ids: Iterable[int]) -> None:
    """Have what failed in the backups repeated."""
    RETRY_BACKUP.defer_all({f"retry:{pk}": {"backup_id": pk} for pk in backup_ids})


def defer_scripts(script_ids: Iterable[int]) -> None:
    """Have the scripts run."""
    RUN_SCRIPT.defer_all({f"script:{pk}": {"script_id": pk} for pk in script_ids})


def defer_recoveries(recovery_ids: Iterable[int]) -> None:
    """Have the recoveries looked at."""
    LOOK_AT_RECOVERY.defer_all({f"recovery:{pk}": {"recovery_id": pk} for pk in recovery_ids})


def defer_restore_ranges(range_ids: Iterable[int]) -> None:
    """Have ranges of copies in S3 brought back."""
    RESTORE_RANGE.defer_all({f"restore:{pk}": {"range_id": pk} for pk in range_ids})


def defer_retention(policy_id: int) -> None:
    """Have the generations of a policy counted."""
    APPLY_RETENTION.defer(f"retention:{policy_id}", policy_id=policy_id)


def defer_agents(places: Iterable[tuple[int, str, str]]) -> None:
    """Have the agents asked for: by account, resource type and region."""
    LOOK_AT_AGENTS.defer_all(
        {
            f"agents:{account_id}:{kind}:{region}": {
                "account_id": account_id,
                "kind": kind,
                "region": region,
            }
            for account_id, kind, region in places
        }
    )


def defer_inventories(account_ids: Iterable[int]) -> None:
    """Have what AWS keeps in the accounts compared with the rows."""
    TAKE_INVENTORY.defer_all({f"inventory:{pk}": {"account_id": pk} for pk in account_ids})


def defer_discoveries(account_ids: Iterable[int]) -> None:
    """Have what exists in the accounts looked at."""
    DISCOVER.defer_all({f"discovery:{pk}": {"account_id": pk} for pk in account_ids})


def defer_collections(repository_ids: Iterable[int]) -> None:
    """Have the garbage of the archives collected, unless it is being done."""
    COLLECT_GARBAGE.defer_all({f"collect:{pk}": {"repository_id": pk} for pk in repository_ids})


def defer_verifications(repository_ids: Iterable[int]) -> None:
    """Have the next portions of the archives read and verified."""
    VERIFY_ARCHIVE.defer_all({f"verify:{pk}": {"repository_id": pk} for pk in repository_ids})


def defer_machines(machine_ids: Iterable[int]) -> None:
    """Have the worker machines looked at."""
    LOOK_AT_MACHINE.defer_all({f"machine:{pk}": {"machine_id": pk} for pk in machine_ids})


def defer_reaping(places: Iterable[tuple[int, str]]) -> None:
    """Have worker machines looked for that nobody here knows: by account and region."""
    REAP_MACHINES.defer_all(
        {
            f"reap:{account_id}:{region}": {"account_id": account_id, "region": region}
            for account_id, region in places
        }
    )


def defer_scans(scan_ids: Iterable[int]) -> None:
    """Have the tags of accounts and regions scanned."""
    SCAN_TAGS.defer_all({f"scan:{pk}": {"scan_id": pk} for pk in scan_ids})


def defer_notices(channel_ids: Iterable[int]) -> None:
    """Have the channels told what they are to know."""
    NOTIFY.defer_all({f"channel:{pk}": {"channel_id": pk} for pk in channel_ids})


def defer_summaries(user_ids: Iterable[int]) -> None:
    """Have the daily summaries of these users written."""
    SUMMARIZE.defer_all({f"summary:{pk}": {"user_id": pk} for pk in user_ids})


def defer_cleanup() -> None:
    """Have everything cleaned up, unless it is being done."""
    CLEAN_UP.defer_all({"cleanup": {}})


def defer_removal(user_id: int) -> None:
    """Have the next piece of what a deleted user has left removed, after one that is going now."""
    REMOVE_USER.defer(f"user:{user_id}", user_id=user_id)


def defer_removals(user_ids: Iterable[int]) -> None:
    """Have what deleted users have left removed, where nobody is at it."""
    REMOVE_USER.defer_all({f"user:{pk}": {"user_id": pk} for pk in user_ids})


def wake_backups(backup_ids: Iterable[int]) -> None:
    """Something that the backups wait for has happened; closed ones sleep on."""
    ids = sorted(set(backup_ids))
    still_open = Backup.objects.filter(pk__in=ids).exclude(phase=BackupPhase.CLOSED)
    if still_open.update(due_at=clock.now(), version=F("version") + 1):
        defer_backups(ids)


def wake_dr(copy_ids: Iterable[int]) -> None:
    """Something that the copies wait for has happened; runs that have all of theirs sleep on.

    A run that has more under way looks a little later, at all that is over by then.
    """
    ids = sorted(set(copy_ids))
    if not ids:
        return
    copies = DrCopy.objects.filter(pk__in=ids)
    steps = Operation.objects.filter(dr_copy__backup=OuterRef("pk"))
    goes_on = Exists(steps.exclude(phase=OperationPhase.CLOSED))
    runs = Backup.objects.filter(pk__in=copies.values("backup"), dr_due_at__isnull=False)
    soon, ended = clock.now() + _TOGETHER, []
    for run_id, due_at, is_going_on in runs.order_by("pk").values_list("pk", "dr_due_at", goes_on):
        if not is_going_on:
            ended.append(run_id)
        elif due_at is not None and due_at > soon:
            later = Backup.objects.filter(pk=run_id, dr_due_at__gt=soon)
            later.update(dr_due_at=soon, version=F("version") + 1)
    still_open = Backup.objects.filter(pk__in=ended, dr_due_at__isnull=False)
    if ended and still_open.update(dr_due_at=clock.now(), version=F("version") + 1):
        defer_dr(ended)


def wake_s3(backup_ids: Iterable[int]) -> None:
    """Something that the runs wait for has happened; those whose copies are over sleep on."""
    ids = sorted(set(backup_ids))
    still_open = Backup.objects.filter(pk__in=ids, s3_due_at__isnull=False)
    if still_open.update(s3_due_at=clock.now(), version=F("version") + 1):
        defer_s3(ids)


def wake_s3_copy(copy_id: int) -> None:
    """The last of its ranges is there; a copy that is over sleeps on."""
    running = S3Copy.objects.filter(pk=copy_id, phase=S3CopyPhase.RUNNING)
    if running.update(due_at=clock.now(), version=F("version") + 1):
        defer_s3_copies([copy_id])


def wake_recovery(recovery_id: int) -> None:
    """Something that the recovery waits for has happened."""
    still_open = Recovery.objects.filter(pk=recovery_id).exclude(phase=RecoveryPhase.CLOSED)
    if still_open.update(due_at=clock.now(), version=F("version") + 1):
        defer_recoveries([recovery_id])


def _task_of(operation: Operation) -> Task:
    if operation.recovery_id is not None:
        return LOOK_AT_RECOVERY_STEP
    if operation.dr_copy_id is not None:
        return LOOK_AT_DR_STEP
    return LOOK_AT_SNAPSHOT if operation.snapshot_id is None else LOOK_AT_DELETION
