"""Lists of more records than fit on a page, or in memory."""

import math

import pytest

from cpm.api import positions
from cpm.kernel import clock
from cpm.models.accounts import Account
from cpm.models.backups import Backup, BackupOutcome, BackupPhase, Trigger
from cpm.models.policies import Policy
from tests.api.cast import Caller

FAR = 10_000


def test_pages_far_into_a_list_hold_what_the_list_holds_there(managed: Caller) -> None:
    _plant(managed, FAR + 3)
    everything = managed.get("/backups/?ordering=-start_time").json
    assert len(everything) == FAR + 3
    page = managed.get("/backups/?ordering=-start_time&page=101&page_size=100").json
    assert (page["count"], page["next"]) == (FAR + 3, None)
    assert page["results"] == everything[FAR:]


def test_who_reads_page_by_page_misses_nothing_when_a_record_goes_meanwhile(
    managed: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(positions, "GOOD_FOR_SECONDS", math.inf)  # however slow the machine is
    _plant(managed, FAR + 7)
    everything = managed.get("/backups/").json
    page = managed.get(f"/backups/?page={FAR // 2 + 1}&page_size=2").json
    seen = page["results"]
    assert managed.delete(f"/backups/{everything[0]['id']}/").status == 204
    while page["next"]:
        page = managed.get(page["next"].partition("/api")[2]).json
        seen += page["results"]
    assert seen == everything[FAR:]


def _plant(owner: Caller, count: int) -> None:
    now = clock.now()
    account = Account.objects.create(user_id=owner.id, name="prod", authentication="C")
    policy = Policy.objects.create(
        user_id=owner.id, account=account, name="nightly", modified_at=now
    )
    Backup.objects.bulk_create(
        Backup(
            user_id=owner.id,
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
        for _ in range(count)
    )
