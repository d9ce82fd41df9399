"""Searches through more records than anybody wants to wait for."""

from django.db import connection
from django.test.utils import CaptureQueriesContext

from bench import records
from cpm.models.users import User
from tests.api.cast import Caller, caller


def planted(rows: int) -> Caller:
    """Root, who sees so many records of policies `policy-1` and so on."""
    records.plant(rows)
    with connection.cursor() as cursor:
        # As PostgreSQL does it by itself after a while.
        cursor.execute("SELECT gin_clean_pending_list('backup_searched')")
        cursor.execute("ANALYZE cpm_backup")
    return caller(User.objects.get(username="root"))


def plans(asked: CaptureQueriesContext) -> list[str]:
    """How PostgreSQL reads backups for what was asked."""
    texts = [query["sql"] for query in asked.captured_queries if "LIKE UPPER" in query["sql"]]
    with connection.cursor() as cursor:
        found = []
        for text in texts:
            cursor.execute(f"EXPLAIN {text}".replace("%", "%%"), [])
            found.append("\n".join(line for (line,) in cursor.fetchall()))
    return found


def test_a_search_reads_an_index_and_not_all_backups(db: None) -> None:
    root = planted(20_000)
    for words, expected in (("POLICY-77", 200), ("frozen-422", 2), ("auditors frozen-2110", 1)):
        with CaptureQueriesContext(connection) as asked:
            page = root.get(f"/backups/?page_size=5&search={words.replace(' ', '%20')}").json
        assert page["count"] == expected
        # The count, or a page that is not full: a full one may stop early on any way.
        assert "backup_searched" in plans(asked)[-1]
        assert "Seq Scan on cpm_backup" not in "\n".join(plans(asked))
