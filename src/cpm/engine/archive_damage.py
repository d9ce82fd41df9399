"""What is damaged in archives: noted where it was found, and told by the copies that suffer.

A row is an object of the archive, or a place in one. It lasts until somebody who looks there finds
it whole, or nothing needs it any more.
"""

from collections.abc import Iterable, Mapping
from itertools import groupby

from django.db import transaction
from django.db.models import QuerySet

from cpm.archive import checks, packs
from cpm.archive.checks import At, Bad, Portion
from cpm.archive.collector import Lost
from cpm.archive.errors import Damaged
from cpm.archive.repository import Repository
from cpm.archive.tables import Tables
from cpm.engine import alerts
from cpm.engine.alerts import Tally
from cpm.kernel import clock
from cpm.models.alerts import AlertCategory
from cpm.models.repositories import ArchiveDamage, S3Repository
from cpm.models.s3_blocks import S3Block

# Of a catastrophe not every piece is written down.
_MOST_NOTED = 10_000
# Packs that are looked at again each day, so that whoever mends one sees it soon.
_MOST_LOOKED_AT = 100


def note_unreadable(repository: S3Repository, lost: Iterable[Lost]) -> None:
    """Note the manifests and pages that cannot be read; all other manifests can."""
    of_manifests = repository.damages.exclude(name__startswith=packs.PREFIX)
    rows = [ArchiveDamage(name=each.name, offset=each.offset, why=each.why) for each in lost]
    _replace(repository, of_manifests, rows)


def note_missing(repository: S3Repository, missing: Iterable[bytes]) -> None:
    """Note packs that are needed and not there."""
    bad = {(pack, checks.ALL_OF_IT): f"{packs.name_of(pack)} is gone" for pack in missing}
    _replace(repository, repository.damages.none(), _rows(bad))


def note_read(repository: S3Repository, portion: Portion, bad: Bad) -> bool:
    """Note what is bad of a portion that was read; says whether that is to be told.

    Also where nothing is new: whoever has noted it may have died before it was told.
    """
    before = {at: row.pk for at, row in _noted(repository).items() if portion.has(at[0])}
    _replace(repository, repository.damages.filter(pk__in=before.values()), _rows(bad))
    return bool(before or bad) or not repository.damages.exists()


def look_again(repository: S3Repository, opened: Repository) -> None:
    """Read damaged packs again."""
    damaged = sorted({pack for pack, _ in _noted(repository)})
    tables = Tables(opened)
    for pack in damaged[:_MOST_LOOKED_AT]:
        bad = {(pack, offset): why for offset, why in checks.damaged_blobs(opened, pack, tables)}
        _replace(repository, repository.damages.filter(name=packs.name_of(pack)), _rows(bad))


def suffers(repository: S3Repository, opened: Repository, name: str) -> bool:
    """Whether a copy names anything that is known to be damaged. Raises Fault."""
    bad = _bad(_noted(repository))
    lost = list[Damaged]()
    if bad:
        checks.who_suffers(opened, bad, lost.append, [name])
    return bool(lost)


def review(repository: S3Repository, opened: Repository) -> None:
    """Raise or resolve the alert about what is damaged, and forget what nothing needs."""
    if not repository.damages.exists():
        alerts.resolve(_cause(repository))
        return
    noted, lost = _noted(repository), list[Damaged]()
    # What is damaged is stored anew when it comes again, and not named once more.
    S3Block.objects.filter(repository=repository, pack__in={pack for pack, _ in noted}).delete()
    guilty = checks.who_suffers(opened, _bad(noted), lost.append)
    unneeded = [row.pk for at, row in noted.items() if at not in guilty]
    with transaction.atomic():
        repository.damages.filter(pk__in=unneeded).delete()
        if lost:
            _alert(repository, lost)
        else:
            alerts.resolve(_cause(repository))


def _alert(repository: S3Repository, lost: Iterable[Damaged]) -> None:
    copies, pieces = Tally(), Tally()
    for name, damages in groupby(lost, lambda each: _copy_of(each.what)):
        copies.add(name)
        for damage in damages:
            pieces.add(damage.what)
    alerts.raise_alert(
        _cause(repository),
        user=repository.user,
        category=AlertCategory.S3_COPY,
        title=f"S3 repository {repository.name} is damaged",
        message=f"{copies.count} copies suffer ({copies}): {pieces.count} blocks, pages or"
        f" manifests cannot be read ({pieces}). Everything else in them can be recovered.",
    )


def _copy_of(what: str) -> str:
    return what.removeprefix("manifest ").partition(" ")[0]


def _cause(repository: S3Repository) -> str:
    return f"repository:{repository.pk}:damage"


def _noted(repository: S3Repository) -> dict[At, ArchiveDamage]:
    """What is noted of packs, by where it is."""
    found: dict[At, ArchiveDamage] = {}
    for row in repository.damages.filter(name__startswith=packs.PREFIX):
        pack = packs.id_of(row.name)
        if pack is not None:
            found[pack, row.offset] = row
    return found


def _bad(noted: Mapping[At, ArchiveDamage]) -> Bad:
    return {at: row.why for at, row in noted.items()}


def _rows(bad: Bad) -> list[ArchiveDamage]:
    return [
        ArchiveDamage(name=packs.name_of(pack), offset=offset, why=why)
        for (pack, offset), why in bad.items()
    ]


@transaction.atomic
def _replace(
    repository: S3Repository, outdated: QuerySet[ArchiveDamage], rows: list[ArchiveDamage]
) -> None:
    """Put what was found now into the place of what was found there before."""
    outdated.delete()
    for row in rows[:_MOST_NOTED]:
        row.repository, row.found_at = repository, clock.now()
    ArchiveDamage.objects.bulk_create(rows[:_MOST_NOTED], ignore_conflicts=True)
