"""Lists of more records than fit on a page, or in memory."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cpm.api import counts
from cpm.kernel import clock
from cpm.models.accounts import Account
from cpm.models.backups import Backup, BackupOutcome, BackupPhase, Trigger
from cpm.models.policies import Policy
from tests.api.cast import Caller

FAR = 10_000
_COUNT = "SELECT count(*) FROM ("


def test_pages_far_into_a_list_hold_what_the_list_holds_there(managed: Caller) -> None:
    _plant(managed, FAR + 3)
    everything = managed.get("/backups/?ordering=-start_time").json
    assert len(everything) == FAR + 3
    page = managed.get("/backups/?ordering=-start_time&page=101&page_size=100").json
    assert (page["count"], page["next"]) == (FAR + 3, None)
    assert page["results"] == everything[FAR:]


def test_who_reads_page_by_page_misses_nothing_when_a_record_goes_meanwhile(
    managed: Caller, known_for_good: None
) -> None:
    _plant(managed, FAR + 7)
    everything = managed.get("/backups/").json
    page = managed.get(f"/backups/?page={FAR // 2 + 1}&page_size=2").json
    seen = page["results"]
    assert managed.delete(f"/backups/{everything[0]['id']}/").status == 204
    while page["next"]:
        page = managed.get(page["next"].partition("/api")[2]).json
        seen += page["results"]
    assert seen == everything[FAR:]


def test_the_count_of_backups_reads_one_index_and_no_records(root: Caller, managed: Caller) -> None:
    _plant(managed, 2)
    for caller in (root, managed):
        with CaptureQueriesContext(connection) as asked:
            assert caller.get("/backups/?page_size=1").json["count"] == 2
        (count,) = _counts(asked)
        assert set(re.findall(r'"cpm_backup"."(\w+)"', count)) == {"id", "user_id", "discarded_at"}
        plan = _plan_with("backup_listed", count)
        assert "Index Only Scan using backup_listed" in plan
        assert "Seq Scan on cpm_backup" not in plan


def test_a_large_list_is_not_counted_again_for_its_next_page(
    managed: Caller, known_for_good: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "_LARGE", 4)
    _plant(managed, 4)
    counted = []
    for page in (1, 2):
        with CaptureQueriesContext(connection) as asked:
            assert managed.get(f"/backups/?page={page}&page_size=2").json["count"] == 4
        counted.append(len(_counts(asked)))
    assert counted == [1, 0]


def _counts(asked: CaptureQueriesContext) -> list[str]:
    return [query["sql"] for query in asked.captured_queries if query["sql"].startswith(_COUNT)]


def _plan_with(index: str, statement: str) -> str:
    """How PostgreSQL would answer if backups had that index and no other way to be read.

    By an index alone it can only if that has all that the statement needs to know.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_indexdef(%s::regclass)", [index])
        ((made,),) = cursor.fetchall()
        # In front of the real table, as long as this transaction lasts.
        cursor.execute("CREATE TEMPORARY TABLE cpm_backup (LIKE public.cpm_backup)")
        cursor.execute(made.replace("public.", "pg_temp."))
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        cursor.execute(f"EXPLAIN {statement}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
        cursor.execute("DROP TABLE pg_temp.cpm_backup")
    return plan


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
