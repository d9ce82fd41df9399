"""Garbage goes, and nothing that anybody needs or may still come to need."""

import itertools
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, rule

from cpm.archive import manifests, packs, repository, writer
from cpm.archive.blobs import Place
from cpm.archive.collector import GRACE, MOST_COPY, collect
from cpm.archive.errors import Damaged, Locked
from cpm.archive.manifests import Manifest, PagePlace
from cpm.archive.repository import PROBES, Repository
from cpm.archive.writer import AtOnce, Checkpoint, RangeWriter
from tests.archive.volumes import Bucket, Copier, came_back, noise, subject, text


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def archive(bucket: Bucket) -> Repository:
    return repository.create(bucket)


def count(bucket: Bucket, prefix: str = packs.PREFIX) -> int:
    return len(list(bucket.list(prefix)))


def test_what_a_retired_copy_alone_needed_goes_after_the_grace(
    archive: Repository, bucket: Bucket, tmp_path: Path
) -> None:
    copier = Copier(archive, pack_bytes=1)
    first = copier.copy({0: noise(0), 1: noise(1)})
    second = copier.copy({1: noise(2)}, subject("snap-2"), first)
    writer.retire(archive, first.name)
    assert list(archive.names()) == [second.name]
    bucket.time += GRACE - timedelta(seconds=1)
    assert collect(archive, tmp_path).deleted_packs == 0
    bucket.time += timedelta(seconds=1)
    before = count(bucket)
    collected = collect(archive, tmp_path)
    # Its page, and the block that has changed since.
    assert (collected.deleted_packs, count(bucket)) == (2, before - 2)
    assert count(bucket, manifests.RETIRED) == 0
    assert came_back(archive, second) == {0: noise(0), 1: noise(2)}


def test_what_a_copy_that_died_has_left_goes_after_the_grace(
    archive: Repository, bucket: Bucket, tmp_path: Path
) -> None:
    Copier(archive, pack_bytes=1).write({0: noise(0), 1: noise(1)})
    assert collect(archive, tmp_path).deleted_packs == 0
    bucket.time += GRACE
    collected = collect(archive, tmp_path)
    assert collected.deleted_packs == 3
    assert collected.deleted_bytes > 2 * len(noise(0))
    assert count(bucket) == 0


def test_nothing_goes_while_a_manifest_cannot_be_read(
    archive: Repository, bucket: Bucket, tmp_path: Path
) -> None:
    copier = Copier(archive)
    kept, damaged = copier.copy({0: noise(0)}), copier.copy({1: noise(1)})
    copier.write({2: noise(2)})
    bucket.time += GRACE
    bucket.write(manifests.PREFIX + damaged.name, b"what is this")
    before = count(bucket)
    with pytest.raises(Damaged, match=damaged.name):
        collect(archive, tmp_path)
    assert count(bucket) == before
    assert kept.name in archive.names()


def test_pages_that_say_the_same_are_kept_each_where_it_is(
    archive: Repository, bucket: Bucket, tmp_path: Path
) -> None:
    copier = Copier(archive)
    first = copier.copy({0: noise(0)})
    same = {place.digest: place for place in archive.page(first.pages[0]).values()}
    copier.known = Known(same)
    second = copier.copy({0: noise(0)}, subject("snap-2"))
    assert first.pages[0].sha256 == second.pages[0].sha256
    assert first.pages[0].pack != second.pages[0].pack
    bucket.time += GRACE
    assert collect(archive, tmp_path).deleted_packs == 0


def test_what_is_locked_is_left_and_no_error(
    archive: Repository, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.locks_for = GRACE * 2
    Copier(archive).write({0: noise(0)})
    bucket.time += GRACE
    collected = collect(archive, tmp_path)
    assert (collected.deleted_packs, collected.locked_packs, count(bucket)) == (0, 1, 1)
    bucket.time += GRACE
    assert collect(archive, tmp_path).deleted_packs == 1


def test_foreign_objects_are_left_alone(
    archive: Repository, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.write("packs/ab/notes.txt", b"mine")
    bucket.time += GRACE
    collect(archive, tmp_path)
    assert bucket.read("packs/ab/notes.txt") == b"mine"


def test_what_somebody_tried_out_and_left_goes_after_a_day(
    archive: Repository, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.write(f"{PROBES}1", b"can I?")
    collect(archive, tmp_path)
    assert count(bucket, PROBES) == 1
    bucket.time += timedelta(days=1)
    collect(archive, tmp_path)
    assert count(bucket, PROBES) == 0


def test_packs_that_are_needed_and_not_there_are_told(
    archive: Repository, bucket: Bucket, tmp_path: Path
) -> None:
    copy = Copier(archive, pack_bytes=1).copy({0: noise(0), 1: noise(1)})
    gone = archive.page(copy.pages[0])[1].pack
    bucket.delete(packs.name_of(gone))
    assert collect(archive, tmp_path).missing_packs == [gone]


class Died(BaseException):
    """The process is gone."""


def test_a_collection_that_dies_anywhere_harms_nothing_and_is_finished_by_the_next(
    tmp_path: Path,
) -> None:
    for last in itertools.count():
        bucket = Bucket()
        archive = repository.create(bucket)
        copier = Copier(archive, pack_bytes=1)
        first = copier.copy({0: noise(0), 1: noise(1)})
        second = copier.copy({1: noise(2)}, subject("snap-2"), first)
        copier.write({5: noise(5)})
        writer.retire(archive, first.name)
        bucket.time += GRACE
        has_died = dies_after(last, bucket, archive, tmp_path)
        assert came_back(archive, second) == {0: noise(0), 1: noise(2)}
        collect(archive, tmp_path)
        assert came_back(archive, second) == {0: noise(0), 1: noise(2)}
        assert (count(bucket), count(bucket, manifests.RETIRED)) == (3, 0)
        assert list(tmp_path.iterdir()) == []
        if not has_died:
            break
    assert last > 10


def dies_after(steps: int, bucket: Bucket, archive: Repository, scratch: Path) -> bool:
    """Let a collection come so far; whether it has not come to its end."""
    left = iter(range(steps))

    def step() -> None:
        if next(left, None) is None:
            raise Died

    bucket.meanwhile = step
    try:
        collect(archive, scratch)
    except Died:
        return True
    finally:
        bucket.meanwhile = lambda: None
    return False


class Known(dict[bytes, Place]):
    """Blocks that copies may name again."""

    def find(self, block: int, digest: bytes) -> Place | None:
        return self.get(digest)


class Running:
    """A copy that is under way: what it has seen, and what it has written."""

    def __init__(self, archive: Repository, began_at: datetime, based_on: Manifest | None) -> None:
        self.began_at = began_at
        self.based_on = based_on
        self.known = Known()
        self.volume: dict[int, bytes] = {}
        self.pages: dict[int, PagePlace | None] = {}
        base = {each.page: each for each in based_on.pages} if based_on else {}
        for found in base.values():
            for place in archive.page(found).values():
                self.known[place.digest] = place
        self._into = RangeWriter(
            archive, AtOnce(archive, self._keep), base=base, known=self.known, pack_bytes=1
        )
        self._block = 0

    def write(self, content: bytes) -> None:
        self._into.write(self._block, content)
        self.volume[self._block] = content
        self._block += 1

    def finish(self) -> None:
        self._into.finish()

    def _keep(self, checkpoint: Checkpoint) -> None:
        self.pages.update(checkpoint.pages)


class Interleavings(RuleBasedStateMachine):
    """Copies, retirements, collections and days, in any order: what is promised is restorable."""

    running = Bundle("running")
    locks_for = timedelta()

    @initialize()
    def begin(self) -> None:
        self.bucket = Bucket(self.locks_for)
        self.archive = repository.create(self.bucket)
        self.promised: dict[str, dict[int, bytes]] = {}
        self.number = 0
        self.publish(self.begin_copy(0))
        # What it has written is old enough to go by itself.
        self.bucket.time += GRACE

    @rule(target=running, choice=st.integers(0, 3))
    def begin_copy(self, choice: int) -> Running:
        names = sorted(self.promised)
        based_on = self.archive.manifest(names[choice % len(names)]) if names else None
        copy = Running(self.archive, self.bucket.time, based_on)
        if based_on:
            copy.volume = dict(self.promised[based_on.name])
        else:
            copy.write(text(choice))
        return copy

    @rule(copy=running, seed=st.integers(0, 1))
    def write(self, copy: Running, seed: int) -> None:
        if not self.is_overdue(copy):
            copy.write(text(seed))

    @rule(copy=consumes(running))
    def publish(self, copy: Running) -> None:
        if self.is_overdue(copy):
            return
        copy.finish()
        self.number += 1
        made = writer.publish(
            self.archive,
            subject(f"snap-{self.number}"),
            self.bucket.time,
            copy.pages,
            copy.based_on,
        )
        self.promised[made.name] = copy.volume

    @rule(choice=st.integers(0, 3))
    def retire(self, choice: int) -> None:
        names = sorted(self.promised)
        if names:
            name = names[choice % len(names)]
            with suppress(Locked):
                writer.retire(self.archive, name)
                del self.promised[name]

    @rule(days=st.sampled_from([2, 6, 8]))
    def collect_after(self, days: int) -> None:
        self.bucket.time += timedelta(days=days)
        self.collect()

    @rule(
        days=st.sampled_from([0, 2, 6]),
        step=st.integers(0, 12),
        copy=consumes(running),
        choice=st.integers(0, 3),
    )
    def collect_beside_others(self, days: int, step: int, copy: Running, choice: int) -> None:
        """In the middle of a collection somebody publishes a copy, and another is retired."""
        self.bucket.time += timedelta(days=days)
        steps = itertools.count()

        def meanwhile() -> None:
            if next(steps) == step:
                self.bucket.meanwhile = lambda: None
                self.publish(copy)
                self.retire(choice)

        self.bucket.meanwhile = meanwhile
        self.collect()

    def collect(self) -> None:
        with TemporaryDirectory() as scratch:
            assert collect(self.archive, Path(scratch)).missing_packs == []
        self.bucket.meanwhile = lambda: None
        self.everything_promised_comes_back()

    def is_overdue(self, copy: Running) -> bool:
        return self.bucket.time - copy.began_at > MOST_COPY

    def everything_promised_comes_back(self) -> None:
        for name, expected in self.promised.items():
            assert came_back(self.archive, self.archive.manifest(name)) == expected

    def teardown(self) -> None:
        self.everything_promised_comes_back()


class LockedInterleavings(Interleavings):
    """The same where everything is locked for a while."""

    locks_for = timedelta(days=10)


_SETTINGS = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = _SETTINGS
TestLockedInterleavings = LockedInterleavings.TestCase
TestLockedInterleavings.settings = _SETTINGS
