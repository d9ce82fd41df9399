"""A database that tells what is written to it, and fails at whichever of these writes a test wants.

It proves what a transaction is: wherever it fails, nothing of what was to be written remains.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

# Not part of what a request does: counted and kept beside it.
_BESIDE = {"cpm_metric", "cpm_badattempt", "cpm_apibudget", "django_migrations"}
# The queue's own notes, one for each job: how many there are depends on which ids are neighbours,
# so they are no places in an order of writes. That none remains is looked at all the same.
_NO_PLACES = {"procrastinate_events"}

_NOTE = """
CREATE FUNCTION test_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    written text := current_setting('test.written', true) || TG_TABLE_NAME || ' ';
    place integer := array_length(string_to_array(written, ' '), 1) - 1;
BEGIN
    PERFORM set_config('test.written', written, false);
    IF place = current_setting('test.fail_at')::integer THEN
        RAISE EXCEPTION 'the test wants this write to fail';
    END IF;
    RETURN NULL;
END $$
"""
_WATCH = (
    "CREATE TRIGGER test_note BEFORE INSERT OR UPDATE OR DELETE ON {}"
    " FOR EACH STATEMENT EXECUTE FUNCTION test_note()"
)
_SUM = "SELECT '{0}', count(*), sum(hashtextextended(row::text, 0)) FROM {0} AS row"


class Writes:
    """The tables that are written to, one after the other; failures are asked for by place."""

    def __init__(self) -> None:
        self._tables = [
            name for name in connection.introspection.table_names() if name not in _BESIDE
        ]
        with connection.cursor() as cursor:
            cursor.execute(_NOTE)
            for table in set(self._tables) - _NO_PLACES:
                cursor.execute(_WATCH.format(table))
        self._begin(0)

    @contextmanager
    def noted(self, fail_at: int = 0) -> Iterator[list[str]]:
        """The tables in the order in which they are written to; the one at `fail_at` fails."""
        written: list[str] = []
        self._begin(fail_at)
        yield written
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('test.written')")
            written += cursor.fetchone()[0].split()
        self._begin(0)

    def _begin(self, fail_at: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('test.written', '', false)")
            cursor.execute("SELECT set_config('test.fail_at', %s, false)", [str(fail_at)])

    def rows(self) -> dict[str, tuple[int, object]]:
        """How many rows there are in each table, and a sum of all that they say."""
        with connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(_SUM.format(table) for table in self._tables))
            return {table: (count, told) for table, count, told in cursor.fetchall()}
