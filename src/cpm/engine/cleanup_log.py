"""The cleanup log: what becomes of each record, a line for each new reason and none twice."""

from collections.abc import Collection
from typing import Any

from django.db import transaction

from cpm.engine import events
from cpm.models.backups import Backup
from cpm.models.events import Stream

_LONGEST = 100


@transaction.atomic
def tell(code: str, backup_ids: Collection[int], *, why: str = "", **values: Any) -> None:
    """Log a line about each of the records, but for those of which it was the last one.

    `why` tells lines of one code apart, where a record may stay for several reasons.
    """
    told = f"{code} {why}".strip()[:_LONGEST]
    rows = Backup.objects.filter(pk__in=backup_ids).exclude(cleanup_told=told)
    names = dict(
        rows.select_for_update(no_key=True).order_by("pk").values_list("pk", "policy_name")
    )
    if not names:
        return
    Backup.objects.filter(pk__in=names).update(cleanup_told=told)
    lines = (
        events.event(code, stream=Stream.CLEANUP, record=pk, policy=name, **values)
        for pk, name in names.items()
    )
    events.log_all(lines)
