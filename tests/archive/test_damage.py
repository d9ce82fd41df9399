"""Damage is always found and named, and never keeps the rest from being read."""

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from cpm.archive import packs, reader, repository, tables, writer
from cpm.archive.blobs import BLOCK_BYTES, Encoding, digest_of
from cpm.archive.checks import EVERYTHING, NOTHING, Check, Checked, Portion
from cpm.archive.errors import ArchiveError, Damaged, NotFound
from cpm.archive.manifests import PREFIX, Manifest
from cpm.archive.repository import Repository
from cpm.archive.store import MemoryStore
from cpm.archive.tables import Tables
from tests.archive.volumes import Copier, misname, noise, subject, text

BLOCKS = {0: noise(0), 1: text(1), 2: noise(2), 9: text(9)}


@pytest.fixture(params=[None, "correct horse"], ids=["plain", "encrypted"])
def archive(request: pytest.FixtureRequest) -> Repository:
    """A repository of each kind."""
    return repository.create(MemoryStore(), passphrase=request.param)


@pytest.fixture
def copy(archive: Repository) -> Manifest:
    """A small copy of several packs."""
    return Copier(archive, pack_bytes=BLOCK_BYTES).copy(BLOCKS)


def read(archive: Repository, manifest: Manifest) -> tuple[dict[int, bytes], list[str]]:
    """What a copy still gives back, and what it says it does not."""
    lost: list[Damaged] = []
    found = dict(reader.blocks(archive, manifest, lose=lost.append))
    return found, [each.what for each in lost]


def check(archive: Repository, portion: Portion = EVERYTHING) -> list[str]:
    return [each.what for each in Check(archive, read=portion).run()]


def objects(archive: Repository, prefix: str) -> Iterator[str]:
    return (each.name for each in list(archive.store.list(prefix)))


def test_a_whole_repository_checks_out(archive: Repository, copy: Manifest) -> None:
    check = Check(archive, read=EVERYTHING)
    assert list(check.run()) == []
    assert (check.checked.manifests, check.checked.blocks) == (1, copy.blocks)
    assert check.checked.packs == len(list(objects(archive, packs.PREFIX)))


def test_a_flipped_bit_anywhere_is_found(archive: Repository, copy: Manifest) -> None:
    dice = random.Random(5)
    for name in [*objects(archive, packs.PREFIX), *objects(archive, PREFIX)]:
        content = archive.store.read(name)
        places = {0, len(content) - 1, *(dice.randrange(len(content)) for _ in range(12))}
        for at in sorted(places):
            flipped = bytearray(content)
            flipped[at] ^= 1 << dice.randrange(8)
            archive.store.write(name, bytes(flipped))
            told = check(archive)
            assert told, f"byte {at} of {name}"
            try:
                found, lost = read(archive, archive.manifest(copy.name))
            except ArchiveError:
                assert name.startswith(PREFIX)
            else:
                assert found.items() <= BLOCKS.items()
                assert bool(lost) == (found != BLOCKS)
        archive.store.write(name, content)
    assert check(archive) == []


def test_a_flipped_bit_in_what_opens_it_never_gives_back_anything_else(
    archive: Repository, copy: Manifest
) -> None:
    """Each opening of an encrypted one takes a third of a second, so few bits have to do."""
    dice = random.Random(6)
    store, passphrase = archive.store, "correct horse" if archive.key.secret else None
    for name in [repository.DESCRIPTION, *objects(archive, repository.KEYS)]:
        content = store.read(name)
        for at in dice.sample(range(len(content)), 6):
            flipped = bytearray(content)
            flipped[at] ^= 1 << dice.randrange(8)
            store.write(name, bytes(flipped))
            try:
                found, lost = read(repository.open_(store, passphrase=passphrase), copy)
            except ArchiveError:
                continue
            assert found == BLOCKS or lost
        store.write(name, content)
    assert repository.open_(store, passphrase=passphrase).id == archive.id


@pytest.mark.parametrize("length", [0, 1, 100, BLOCK_BYTES // 2])
def test_objects_that_are_cut_off_are_found(
    archive: Repository, copy: Manifest, length: int
) -> None:
    for name in [*objects(archive, packs.PREFIX), *objects(archive, PREFIX)]:
        content = archive.store.read(name)
        archive.store.write(name, content[:length] if length < len(content) else content[:-1])
        assert check(archive), name
        archive.store.write(name, content)


def test_the_damaged_block_is_named_and_the_others_come_back(
    archive: Repository, copy: Manifest
) -> None:
    place = archive.page(copy.pages[0])[2]
    name = packs.name_of(place.pack)
    content = bytearray(archive.store.read(name))
    content[place.offset + 1_000] ^= 1
    archive.store.write(name, bytes(content))
    found, lost = read(archive, copy)
    assert lost == ["block 2"]
    assert found == {block: each for block, each in BLOCKS.items() if block != 2}
    assert check(archive) == [f"{copy.name} block 2"]


def test_a_missing_pack_takes_its_blocks_along_and_no_others(
    archive: Repository, copy: Manifest
) -> None:
    gone = archive.page(copy.pages[0])[0].pack
    archive.store.delete(packs.name_of(gone))
    found, lost = read(archive, copy)
    assert lost == ["block 0"]
    assert 0 not in found
    assert len(found) == 3
    assert check(archive, Portion(0, 0)) == [f"{copy.name} block 0"]


def test_a_damage_is_told_of_every_copy_that_suffers(archive: Repository, copy: Manifest) -> None:
    second = Copier(archive, now=Copier(archive).now.replace(hour=9)).copy(
        {9: noise(10)}, subject("snap-2"), copy
    )
    place = archive.page(copy.pages[0])[0]
    name = packs.name_of(place.pack)
    content = bytearray(archive.store.read(name))
    content[place.offset] ^= 1
    archive.store.write(name, bytes(content))
    assert check(archive) == [f"{each.name} block 0" for each in (copy, second)]


def test_a_copy_that_is_retired_while_it_is_looked_for_is_no_damage(
    archive: Repository, copy: Manifest
) -> None:
    second = Copier(archive).copy({0: noise(3)}, subject("snap-2"))

    def retire(_checked: Checked) -> None:
        with suppress(NotFound):
            writer.retire(archive, second.name)

    assert list(Check(archive, progress=retire).run()) == []
    assert list(archive.names()) == [copy.name]


def test_portions_cover_everything_in_their_turn(archive: Repository, copy: Manifest) -> None:
    read = [Check(archive, read=Portion(number, 7)) for number in range(7)]
    assert [list(each.run()) for each in read] == [[]] * 7
    every = len(list(objects(archive, packs.PREFIX)))
    assert sum(each.checked.packs for each in read) == every


def test_a_pack_in_the_place_of_another_is_found(archive: Repository, copy: Manifest) -> None:
    first, second = list(objects(archive, packs.PREFIX))[:2]
    archive.store.write(first, archive.store.read(second))
    assert check(archive)
    found, _ = read(archive, copy)
    assert found.items() <= BLOCKS.items()


@pytest.mark.parametrize(
    "wrong",
    [{"digest": digest_of(noise(7))}, {"offset": 25}, {"length": 9}, {"encoding": Encoding.RAW}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_page_that_names_what_its_packs_do_not_have_is_found_with_its_blocks(
    archive: Repository, copy: Manifest, wrong: dict[str, object]
) -> None:
    bad = misname(archive, copy, 1, **wrong)
    assert check(archive) == [f"{bad.name} block 1"]
    _, lost = read(archive, bad)
    assert lost == ["block 1"]
    # What reads no data does not compare it; what reads all of it in parts does.
    assert check(archive, NOTHING) == []
    parts = [told for number in range(5) for told in check(archive, Portion(number, 5))]
    assert parts == [f"{bad.name} block 1"]


def test_tables_are_read_in_bounded_memory_however_long_they_are(
    archive: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_USUAL_BYTES", 200)
    manifest = Copier(archive, pack_bytes=5 * BLOCK_BYTES).copy(
        {block: noise(block) for block in range(20)}
    )
    known = Tables(archive, most_bytes=500)
    places = archive.page(manifest.pages[0])
    assert not any(known.deny(place) for place in [*places.values(), *places.values()])
    assert all(known.deny(replace(place, length=7)) for place in places.values())
    # A page is no block.
    assert known.deny(manifest.pages[0].place)
