"""The index of blocks: what one volume has brought into an archive, others need not bring again.

It is bounded, and may lack anything: then a block is stored once more. What it says is heeded only
where the archive's rules let it be named (docs/design/archive-format.md, writing, rule 3).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import islice
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from cpm.archive import manifests
from cpm.archive import repository as archive
from cpm.archive.blobs import BLOCK_BYTES, Encoding, Place
from cpm.archive.errors import Damaged, NotFound
from cpm.archive.known import BEGINNING_BYTES, Elsewhere, Near
from cpm.archive.manifests import PagePlace
from cpm.archive.pages import Places
from cpm.kernel import clock
from cpm.models.s3_blocks import S3Block
from cpm.models.s3_copies import S3Copy
from cpm.models.snapshots import SnapshotStatus

_ROWS_PER_STATEMENT = 1_000
# Pages of a copy that are read for the index, each by a request: full ones fill the usual index.
_MOST_PAGES = 250
_GOOD_FOR_SECONDS = 60.0
# Of so many repositories: some MiB each, where the index is full.
_MOST_KEPT = 8

_NEAR = """\
SELECT snapshot.aws_ref, near.digest, near.pack, near."offset", near.length, near.encoding
FROM cpm_s3block AS block
JOIN cpm_s3copy AS copy ON copy.id = block.copy_id
JOIN cpm_snapshot AS snapshot ON snapshot.id = copy.snapshot_id
JOIN cpm_s3block AS near ON near.copy_id = block.copy_id AND near.page = block.page
WHERE block.repository_id = %s AND block.digest = %s
AND snapshot.status = 'S' AND snapshot.delete_requested_at IS NULL"""

_BEGINNINGS = """\
SELECT string_agg(substring(digest FROM 1 FOR %s), ''::bytea ORDER BY digest)
FROM cpm_s3block WHERE repository_id = %s"""


@contextmanager
def index(opened: archive.Repository, repository_id: int) -> Iterator[Elsewhere]:
    """What a copy may name of other volumes' blocks.

    It has a connection of its own, which the threads of the copy share.
    """
    own = connection.copy()
    own.inc_thread_sharing()
    try:
        yield Elsewhere(opened, beginnings(repository_id), partial(near, own, repository_id))
    finally:
        own.close()


def beginnings(repository_id: int) -> bytes:
    """The first bytes of each digest, in order, for `Elsewhere`; there may be millions.

    To read a million takes a second, which is more than a small copy: what this process has read is
    good for a while, as an index may lack anything.
    """
    return _beginnings(repository_id, int(clock.monotonic() // _GOOD_FOR_SECONDS))


@lru_cache(_MOST_KEPT)
def _beginnings(repository_id: int, _period: int) -> bytes:
    with connection.cursor() as cursor:
        cursor.execute(_BEGINNINGS, [BEGINNING_BYTES, repository_id])
        (joined,) = cursor.fetchone()
    return bytes(joined or b"")


def near(own: BaseDatabaseWrapper, repository_id: int, digest: bytes) -> Near | None:
    """What the index has of the page that a block is in, if it has the block."""
    with own.cursor() as cursor:
        cursor.execute(_NEAR, [repository_id, digest])
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    if not rows:
        return None
    places = [
        Place(bytes(pack), offset, length, Encoding(encoding), BLOCK_BYTES, bytes(digest))
        for _, digest, pack, offset, length, encoding in rows
    ]
    return Near(rows[0][0], {place.digest: place for place in places})


def note(opened: archive.Repository, copy: S3Copy, changed: Mapping[int, PagePlace | None]) -> None:
    """Take into the index what the changed pages of a published copy name, as far as there is room.

    Raises Fault.
    """
    room = settings.ENVIRONMENT.archive_indexed_blocks - _count(copy.repository_id)
    for number, place in islice(changed.items(), _MOST_PAGES):
        if room <= 0:
            break
        if place is not None:
            room -= _insert(copy, number, _places(opened, place), room)
    _beginnings.cache_clear()


def hand_on(opened: archive.Repository, copy: S3Copy) -> None:
    """A copy was retired: its blocks are named by the newest copy of the volume, or dropped.

    A page that both manifests have in the same place says the same in both. Raises Fault.
    """
    rows = S3Block.objects.filter(copy=copy)
    if not rows.exists():
        return
    heir = _newest(copy)
    if heir is not None:
        common = _pages(opened, copy, manifests.RETIRED) & _pages(opened, heir, manifests.PREFIX)
        rows.filter(page__in=[each.page for each in common]).update(copy=heir)
    rows.delete()


def _newest(copy: S3Copy) -> S3Copy | None:
    good = S3Copy.objects.filter(
        repository=copy.repository_id,
        snapshot__status=SnapshotStatus.SUCCEEDED,
        snapshot__delete_requested_at=None,
        snapshot__resource_id=copy.snapshot.resource_id,
    )
    return good.select_related("snapshot").order_by("-taken_at", "-pk").first()


def _pages(opened: archive.Repository, copy: S3Copy, prefix: str) -> set[PagePlace]:
    try:
        return set(opened.manifest(copy.snapshot.aws_ref, prefix=prefix).pages)
    except (NotFound, Damaged):
        return set()


def _places(opened: archive.Repository, place: PagePlace) -> Places:
    try:
        return opened.page(place)
    except Damaged:
        return {}  # the rolling verification will tell


def _insert(copy: S3Copy, page: int, places: Places, most: int) -> int:
    by_digest = {place.digest: place for place in islice(places.values(), most)}
    rows = (
        S3Block(
            repository_id=copy.repository_id,
            digest=place.digest,
            copy=copy,
            page=page,
            pack=place.pack,
            offset=place.offset,
            length=place.length,
            encoding=place.encoding,
        )
        for place in by_digest.values()
    )
    made = 0
    while batch := list(islice(rows, _ROWS_PER_STATEMENT)):
        S3Block.objects.bulk_create(
            batch,
            update_conflicts=True,
            unique_fields=["repository", "digest"],
            update_fields=["copy", "page", "pack", "offset", "length", "encoding"],
        )
        made += len(batch)
    return made


def _count(repository_id: int) -> int:
    return S3Block.objects.filter(repository=repository_id).count()
