"""The index of blocks: what one volume has brought into an archive, others need not bring again.

It is bounded, and may lack anything: then a block is stored once more. What it says is heeded only
where the archive's rules let it be named (docs/design/archive-format.md, writing, rule 3).
"""

import sys
import threading
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Self

from django.conf import settings
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from cpm.archive import manifests
from cpm.archive import repository as archive
from cpm.archive.blobs import BLOCK_BYTES, Encoding, Place
from cpm.archive.errors import Damaged, NotFound
from cpm.archive.manifests import PagePlace
from cpm.archive.pages import Places
from cpm.archive.writer import Known
from cpm.models.s3_blocks import S3Block
from cpm.models.s3_copies import S3Copy
from cpm.models.snapshots import SnapshotStatus

_ROWS_PER_STATEMENT = 1_000

_FIND = """\
SELECT block.pack, block."offset", block.length, block.encoding, snapshot.aws_ref
FROM cpm_s3block AS block
JOIN cpm_s3copy AS copy ON copy.id = block.copy_id
JOIN cpm_snapshot AS snapshot ON snapshot.id = copy.snapshot_id
WHERE block.repository_id = %s AND block.digest = %s
AND snapshot.status = 'S' AND snapshot.delete_requested_at IS NULL"""

_BEGINNINGS = """\
SELECT string_agg(substring(digest FROM 1 FOR 4), ''::bytea ORDER BY digest)
FROM cpm_s3block WHERE repository_id = %s"""


class Index:
    """The blocks of a repository that a copy may name. Thread-safe.

    Most blocks are new: the beginnings of all digests are in memory, four bytes each, and only what
    they may have is looked up.
    """

    def __init__(
        self, opened: archive.Repository, repository_id: int, own: BaseDatabaseWrapper
    ) -> None:
        self._opened = opened
        self._repository_id = repository_id
        self._own = own
        self._lock = threading.Lock()
        self._beginnings = _beginnings(repository_id)
        self._seen: dict[str, bool] = {}

    @classmethod
    @contextmanager
    def of(cls, opened: archive.Repository, repository_id: int) -> Iterator[Self]:
        """The index, over a connection of its own, which the threads of a copy share."""
        own = connection.copy()
        own.inc_thread_sharing()
        try:
            yield cls(opened, repository_id, own)
        finally:
            own.close()

    def find(self, block: int, digest: bytes) -> Place | None:  # noqa: ARG002 - any place will do
        """As `Known` says."""
        beginning = int.from_bytes(digest[:4])
        at = bisect_left(self._beginnings, beginning)
        if at == len(self._beginnings) or self._beginnings[at] != beginning:
            return None
        with self._lock:
            found = self._look_up(digest)
            if found is None or not self._is_there(found[-1]):
                return None
        pack, offset, length, encoding, _ = found
        return Place(bytes(pack), offset, length, Encoding(encoding), BLOCK_BYTES, digest)

    def _look_up(self, digest: bytes) -> Sequence[Any] | None:
        with self._own.cursor() as cursor:
            cursor.execute(_FIND, [self._repository_id, digest])
            row: Sequence[Any] | None = cursor.fetchone()
        return row

    def _is_there(self, name: str) -> bool:
        """Whether the manifest that names it is there, now that the copy has begun."""
        if name not in self._seen:
            listed = self._opened.store.list(manifests.PREFIX + name)
            self._seen[name] = any(each.name == manifests.PREFIX + name for each in listed)
        return self._seen[name]


class Both:
    """What one of two knows: the first is the likelier."""

    def __init__(self, first: Known, second: Known) -> None:
        self._first = first
        self._second = second

    def find(self, block: int, digest: bytes) -> Place | None:
        """As `Known` says."""
        return self._first.find(block, digest) or self._second.find(block, digest)


def note(opened: archive.Repository, copy: S3Copy, changed: Mapping[int, PagePlace | None]) -> None:
    """Take into the index what the changed pages of a published copy name, as far as there is room.

    Raises Fault.
    """
    room = settings.ENVIRONMENT.archive_indexed_blocks - _count(copy.repository_id)
    for number, place in changed.items():
        if room <= 0:
            return
        if place is not None:
            room -= _insert(copy, number, _places(opened, place), room)


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


def _beginnings(repository_id: int) -> "array[int]":
    """The first four bytes of each digest, in order; as one value, since there may be millions."""
    with connection.cursor() as cursor:
        cursor.execute(_BEGINNINGS, [repository_id])
        (joined,) = cursor.fetchone()
    beginnings = array("I", bytes(joined or b""))
    if sys.byteorder == "little":
        beginnings.byteswap()
    return beginnings
