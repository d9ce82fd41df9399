"""Records for the console to show, without the runs that leave them."""

from cpm.kernel import clock
from cpm.models.accounts import Account
from cpm.models.backups import Backup, Trigger
from cpm.models.policies import Policy
from cpm.models.recoveries import Recovery
from cpm.models.repositories import S3Repository
from cpm.models.s3_copies import S3Copy, S3CopyRange
from cpm.models.snapshots import Snapshot
from cpm.models.users import User


def policy_of(user: User, name: str = "nightly") -> Policy:
    account, _ = Account.objects.get_or_create(user=user, name="prod", authentication="C")
    now = clock.now()
    return Policy.objects.create(user=user, account=account, name=name, modified_at=now)


def backup_of(policy: Policy, **state: object) -> Backup:
    """A record that is over, unless its `state` says otherwise."""
    closed = {"phase": "closed", "outcome": "B", "finished_at": clock.now()}
    return Backup.objects.create(
        user=policy.user,
        account=policy.account,
        policy=policy,
        policy_name=policy.name,
        account_name="prod",
        trigger=Trigger.MANUAL,
        started_at=clock.now(),
        **(state or closed),
    )


def recovery_of(backup: Backup, **state: object) -> Recovery:
    """A record that is under way, unless its `state` says otherwise."""
    under_way = {"phase": "running", "due_at": clock.now()}
    return Recovery.objects.create(
        user=backup.user,
        account=backup.account,
        account_name="prod",
        backup=backup,
        policy=backup.policy,
        policy_name=backup.policy_name,
        kind="ebs_volume",
        recovery_type="V",
        resource_id="vol-1",
        region="us-east-1",
        backup_started_at=backup.started_at,
        started_at=clock.now(),
        **(state or under_way),
    )


def s3_copy_of(backup: Backup, volume: str = "vol-1", **state: object) -> S3Copy:
    """A copy to S3 of one page that waits for its turn, unless its `state` says otherwise."""
    repository, _ = S3Repository.objects.get_or_create(
        user=backup.user, account=backup.account, name="vault", bucket_name="b", prefix="vault"
    )
    status = str(state.get("outcome", "P"))
    snapshot = Snapshot.objects.create(
        backup=backup,
        kind="ebs_volume",
        collection="copy_to_s3",
        resource_id=volume,
        size_gib=1,
        status=status,
        aws_ref=f"copy-of-{volume}" if status == "S" else "",
        started_at=backup.s3_started_at,
    )
    planned = {"backup": backup, "snapshot": snapshot, "repository": repository}
    return S3Copy.objects.create(**planned, storage_class="STANDARD", **state)


def copied_by_half(copy: S3Copy, blocks: int) -> None:
    """One of its two ranges is there, for which so many blocks were read."""
    for page in range(2):
        S3CopyRange.objects.create(
            copy=copy,
            first_page=page,
            last_page=page,
            is_done=not page,
            blocks_read=blocks * (not page),
        )
