"""Means to copies that several of them need at a time: an original shared with one account.

Who ends the sharing looks whether another copy still needs it, and who plans a copy whether it is
just being ended. Both do so under one lock, so that neither misses the other.
"""

from collections.abc import Iterable

from django.db import connection
from django.db.models import QuerySet

from cpm.models.dr_copies import DrCopy
from cpm.models.operations import Operation, OperationPhase

# Any number that nothing else here uses.
_LOCK = 0x63706D02

# What AWS calls the original, and the account that copies it.
Key = tuple[str, int | None]


def key_of(copy: DrCopy) -> Key:
    """What the copy needs to be shared, and with whom."""
    return copy.original.aws_ref, copy.account_id


def lock() -> None:
    """Keep others from planning and from taking back until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def in_use(copies: Iterable[DrCopy]) -> dict[Key, set[int]]:
    """The ids of copies, these or others, that are still at work on the originals of these."""
    refs = {copy.original.aws_ref for copy in copies}
    at_work = _open_operations().filter(undoes=None, dr_copy__original__aws_ref__in=refs)
    found: dict[Key, set[int]] = {}
    columns = ("dr_copy__original__aws_ref", "dr_copy__account", "dr_copy")
    for ref, account_id, copy_id in at_work.values_list(*columns):
        found.setdefault((ref, account_id), set()).add(copy_id)
    return found


def being_taken_back() -> set[Key]:
    """What is not shared with whom much longer."""
    undoing = _open_operations().exclude(undoes=None).exclude(dr_copy=None)
    return set(undoing.values_list("dr_copy__original__aws_ref", "dr_copy__account"))


def _open_operations() -> QuerySet[Operation]:
    return Operation.objects.exclude(phase=OperationPhase.CLOSED)
