"""The audit trail, as far as it is the server's own doing. People's is written by the services."""

from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction

from cpm.kernel import clock, times
from cpm.models.audit import AuditEntry
from cpm.models.users import User

_ROWS_PER_INSERT = 500
_LONGEST_OBJECT = 300


def record(owner: User | None, event_type: str, changes: Iterable[tuple[str, str]]) -> None:
    """Note what the server has done to objects of `owner`: an object and a description each."""
    entries = (
        AuditEntry(
            at=clock.now(),
            user=owner,
            event_type=event_type,
            object=subject[:_LONGEST_OBJECT],
            description=description,
        )
        for subject, description in changes
    )
    AuditEntry.objects.bulk_create(entries, batch_size=_ROWS_PER_INSERT)


@transaction.atomic
def drop_older_than(days: int) -> int:
    """Forget entries that are older; says how many.

    The database lets nothing else be deleted, and counts from the newest entry: the one that says
    what is dropped.
    """
    oldest = clock.now() - timedelta(days=days)
    old = AuditEntry.objects.filter(at__lt=oldest)
    count = old.count()
    if count:
        what = f"{count} entries before {times.to_wire(oldest)}"
        record(None, "drop audit entries", [("audit trail", what)])
        old.delete()
    return count
