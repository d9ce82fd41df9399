"""Care of archives: their garbage goes, and everything in them is read again within some days.

The rows carry what is done and when the next look is due, so a look may be repeated at any point.
Nothing breaks where two look after one archive: the format is made for that.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet

from cpm.archive import checks, collector
from cpm.archive.checks import Checked, Portion
from cpm.archive.collector import Collected, Lost
from cpm.archive.errors import ArchiveError, Damaged
from cpm.archive.repository import Repository
from cpm.engine import alerts, archive_damage, events, jobs, repositories
from cpm.kernel import amounts, clock
from cpm.kernel.faults import Fault
from cpm.models.alerts import AlertCategory, AlertSeverity
from cpm.models.events import Stream
from cpm.models.repositories import S3Repository

# What one look reads, so that none takes hours.
PORTION_BYTES = 4 * 2**30
# After what passes by itself, and after what somebody has to see to.
_SOON, _LATER = timedelta(minutes=5), timedelta(hours=1)


def tick(now: datetime) -> None:
    """Have done what is due; of repositories that are new the time begins to count."""
    environment = settings.ENVIRONMENT
    made = S3Repository.objects.exclude(aws_region="").order_by("pk")
    hours, days = environment.archive_collect_hours, environment.archive_verify_days
    if hours:
        first = now + timedelta(hours=hours)
        jobs.defer_collections(_due(made, "collect_due_at", now, first))
    if days:
        # Not before the first collection, which tells how much there is.
        first = now + timedelta(hours=hours) + timedelta(days=1)
        jobs.defer_verifications(_due(made, "verify_due_at", now, first))


@jobs.COLLECT_GARBAGE.runs
def collect(repository_id: int) -> None:
    """Delete what no copy needs any more, and find what is missing."""
    repository = _get(repository_id, "collect_due_at")
    if repository is None:
        return
    with _looking_after(repository, "collect_due_at"):
        opened = repositories.open_archive(repository)
        lost: list[Lost] = []
        collected = _collect(opened, lost)
        archive_damage.note_unreadable(repository, lost)
        if collected is not None:
            archive_damage.note_missing(repository, collected.missing_packs)
        archive_damage.look_again(repository, opened)
        archive_damage.review(repository, opened)
        changes = {} if collected is None else {"stored_bytes": collected.stored_bytes}
        hours = settings.ENVIRONMENT.archive_collect_hours or 24
        _change(repository, collect_due_at=clock.now() + timedelta(hours=hours), **changes)
        _tell(repository, collected, lost)


@jobs.VERIFY_ARCHIVE.runs
def verify(repository_id: int) -> None:
    """Read the next portion of everything that is stored, and verify it."""
    repository = _get(repository_id, "verify_due_at")
    if repository is None:
        return
    with _looking_after(repository, "verify_due_at"):
        opened = repositories.open_archive(repository)
        _begin_round(repository)
        portion = Portion(repository.round_done, repository.round_portions)
        bad = checks.read(opened, portion, Checked())
        if archive_damage.note_read(repository, portion, bad):
            archive_damage.review(repository, opened)
        _go_on(repository)


def _due(
    repositories_: QuerySet[S3Repository], column: str, now: datetime, first: datetime
) -> list[int]:
    """Those that are due; where the time is not counted yet it is from now on.

    It also is where a clock that was ahead has put it off for longer.
    """
    uncounted = repositories_.filter(Q(**{column: None}) | Q(**{f"{column}__gt": first}))
    uncounted.order_by().update(**{column: first})
    return list(repositories_.filter(**{f"{column}__lte": now}).values_list("pk", flat=True))


def _get(repository_id: int, column: str) -> S3Repository | None:
    due = S3Repository.objects.filter(pk=repository_id, **{f"{column}__lte": clock.now()})
    return due.select_related("user", "account__assume_from_account").first()


def _change(repository: S3Repository, **changes: Any) -> None:
    S3Repository.objects.filter(pk=repository.pk).update(**changes)


@contextmanager
def _looking_after(repository: S3Repository, column: str) -> Iterator[None]:
    """What keeps an archive from being looked after puts the look off."""
    try:
        yield
    except (ArchiveError, Fault) as error:
        passes = isinstance(error, Fault) and error.worth_another_try
        _change(repository, **{column: clock.now() + (_SOON if passes else _LATER)})
        _log("archive_not_cared_for", repository, error=str(error))
        if not passes:
            _alert(repository, error)
    else:
        alerts.resolve(_cause(repository))


def _collect(opened: Repository, lost: list[Lost]) -> Collected | None:
    """What became of the garbage; None, and what is `lost`, where nobody knows what is needed."""
    try:
        return collector.collect(opened, Path(gettempdir()), lose=lost.append)
    except Damaged:
        if not lost:
            raise
        return None


def _begin_round(repository: S3Repository) -> None:
    """Divide what there is, once a round, so that it is read within the days of the setting."""
    began_at = repository.round_started_at
    if began_at is not None and began_at <= clock.now():
        return
    portions = max(_window().days, -(-repository.stored_bytes // PORTION_BYTES))
    repository.round_started_at, repository.round_portions = clock.now(), portions
    repository.round_done = 0
    _change(
        repository,
        round_started_at=repository.round_started_at,
        round_portions=portions,
        round_done=0,
    )


def _go_on(repository: S3Repository) -> None:
    """Note that a portion was read; with the last of them, the round is over."""
    began_at, done = repository.round_started_at, repository.round_done + 1
    if began_at is None:
        return
    changes: dict[str, Any] = {"round_done": done}
    changes["verify_due_at"] = began_at + _window() * done / repository.round_portions
    if done == repository.round_portions:
        changes["round_started_at"] = None
        damages = repository.damages.count()
        if not damages:
            changes["last_verified_at"] = clock.now()
        _log("archive_verified", repository, portions=done, damages=damages)
    at_this = S3Repository.objects.filter(pk=repository.pk, round_started_at=began_at)
    at_this.filter(round_done=repository.round_done).update(**changes)


def _window() -> timedelta:
    return timedelta(days=settings.ENVIRONMENT.archive_verify_days or 30)


def _tell(repository: S3Repository, collected: Collected | None, lost: list[Lost]) -> None:
    if collected is None:
        _log("archive_not_collected", repository, unreadable=len(lost), name=lost[0].name)
        return
    if collected.brought_back:
        _log("archive_brought_back", repository, objects=collected.brought_back)
    _log(
        "archive_collected",
        repository,
        copies=collected.manifests,
        packs=collected.kept_packs,
        deleted=collected.deleted_packs,
        freed=amounts.size(collected.deleted_bytes),
        locked=collected.locked_packs,
        missing=len(collected.missing_packs),
    )


def _alert(repository: S3Repository, error: Exception) -> None:
    alerts.raise_alert(
        _cause(repository),
        user=repository.user,
        category=AlertCategory.S3_COPY,
        severity=AlertSeverity.WARNING,
        title=f"S3 repository {repository.name} cannot be looked after",
        message=f"Its copies are not verified, and its garbage stays: {error}",
    )


def _cause(repository: S3Repository) -> str:
    return f"repository:{repository.pk}:care"


def _log(code: str, repository: S3Repository, **values: Any) -> None:
    shown = {"repository": repository.name, "owner": repository.user_id, **values}
    events.log(code, stream=Stream.CLEANUP, **shown)
