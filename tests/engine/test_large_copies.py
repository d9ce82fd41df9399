"""The largest volume there is, 64 TiB, costs memory and rows by the page, and not by the block."""

import os
import tracemalloc

from django.db import connection

from cpm.archive import manifests, pages
from cpm.archive.blobs import BLOCK_BYTES, Encoding, Place
from cpm.archive.copying import Progress
from cpm.archive.manifests import PagePlace
from cpm.archive.pages import PAGE_BLOCKS
from cpm.archive.writer import Checkpoint
from cpm.engine import s3_ranges, tick
from cpm.models.s3_copies import S3CopyRange
from tests.engine.archiving import Vault, calls, copies_of, s3_policy
from tests.engine.world import REGION, World, volume_target

GIB = 65_536
PAGES = GIB * 2**30 // (PAGE_BLOCKS * BLOCK_BYTES)
MIB = 2**20
# What a page of 4,096 blocks that do not compress takes in a pack.
PAGE_BYTES = 200_000


def test_64_tib_are_planned_told_and_published_in_little_memory_and_small_rows(
    world: World,
) -> None:
    vault = Vault.of(world)
    source = world.ec2().create_volume(
        AvailabilityZone=f"{REGION}a", Size=GIB, VolumeType="io2", Iops=100
    )["VolumeId"]
    backup = tick.run_now(s3_policy(vault, volume_target(source)))
    while not S3CopyRange.objects.exists():
        world.step()
    assert S3CopyRange.objects.count() == 256
    open_page = pages.encode(places())
    for each in S3CopyRange.objects.select_related("copy").iterator(chunk_size=10):
        tell_all(each, open_page)
    world.simulator.reset_counts()
    tracemalloc.start()
    try:
        world.drain()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    (requests,) = calls(world, "s3:GetObject")
    assert requests < 500
    (copy,) = copies_of(backup)
    assert len(vault.opened().manifest(copy.aws_ref).pages) == PAGES == 32_768
    assert stored_bytes(vault, copy.aws_ref) < 4 * MIB
    assert peak_bytes < 128 * MIB


def tell_all(range_: S3CopyRange, open_page: bytes) -> None:
    """What a worker tells of a range all of whose blocks are stored."""
    first, last = range_.first_page, range_.last_page
    done: dict[int, PagePlace | None] = {number: page(number) for number in range(first, last)}
    end = (last + 1) * PAGE_BLOCKS
    s3_ranges.keep(range_, Progress(), Checkpoint(end - 1, done, open_page))
    assert row_bytes(range_) < MIB // 3
    s3_ranges.keep(range_, Progress(), Checkpoint(end, {last: page(last)}, b""))
    assert row_bytes(range_) < MIB // 16
    s3_ranges.finish(range_)


def page(number: int) -> PagePlace:
    place = Place(os.urandom(16), 24, PAGE_BYTES, Encoding.RAW, PAGE_BYTES, os.urandom(32))
    return PagePlace.of(number, PAGE_BLOCKS, place)


def places() -> dict[int, Place]:
    """Those of a page of blocks that do not compress: a pack has 64 of them."""
    packs = [os.urandom(16) for _ in range(PAGE_BLOCKS // 64)]
    return {
        block: Place(packs[block // 64], 24, BLOCK_BYTES, Encoding.RAW, BLOCK_BYTES, os.urandom(32))
        for block in range(PAGE_BLOCKS - 1)
    }


def row_bytes(range_: S3CopyRange) -> int:
    """What a row takes in the table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT octet_length(pages::text) + octet_length(open_page) "
            "FROM cpm_s3copyrange WHERE id = %s",
            [range_.pk],
        )
        (size,) = cursor.fetchone()
    return int(size)


def stored_bytes(vault: Vault, name: str) -> int:
    return len(vault.opened().store.read(manifests.PREFIX + name))
