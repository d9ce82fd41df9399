"""Lists of more records than fit on a page, or in memory."""

from cpm.kernel import clock
from cpm.models.accounts import Account
from cpm.models.backups import Backup, BackupOutcome, BackupPhase, Trigger
from cpm.models.policies import Policy
from tests.api.cast import Caller


def test_pages_far_into_a_list_hold_what_the_list_holds_there(managed: Caller) -> None:
    now = clock.now()
    account = Account.objects.create(user_id=managed.id, name="prod", authentication="C")
    policy = Policy.objects.create(
        user_id=managed.id, account=account, name="nightly", modified_at=now
    )
    Backup.objects.bulk_create(
        Backup(
            user_id=managed.id,
            account=account,
            account_name="prod",
            policy=policy,
            policy_name="nightly",
            trigger=Trigger.MANUAL,
            phase=BackupPhase.CLOSED,
            outcome=BackupOutcome.SUCCEEDED,
            started_at=now,
            finished_at=now,
        )
        for _ in range(10_003)
    )
    everything = managed.get("/backups/?ordering=-start_time").json
    assert len(everything) == 10_003
    page = managed.get("/backups/?ordering=-start_time&page=101&page_size=100").json
    assert (page["count"], page["next"]) == (10_003, None)
    assert page["results"] == everything[10_000:]
