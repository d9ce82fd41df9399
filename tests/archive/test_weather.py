"""What AWS, the network and time do to a copy: it goes on, or it says what is wrong."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cpm.archive import packs, repository, source, target
from cpm.archive.copying import Progress, copy_range
from cpm.archive.errors import NameTaken
from cpm.archive.manifests import Manifest
from cpm.archive.s3 import S3Store
from cpm.archive.source import EbsSource, Listed
from cpm.archive.target import Wanted
from cpm.archive.writer import Checkpoint
from cpm.aws.budget import NoBudget
from cpm.aws.credentials import AssumedRole
from cpm.aws.sessions import Aws, Cloud
from cpm.kernel.faults import Fault, FaultKind
from cpm.simulator.process import Simulator
from tests.archive.cloud import Mover, Volume, told
from tests.archive.relay import Relay, relay
from tests.archive.volumes import noise, text

BLOCKS: dict[int, bytes | None] = {0: noise(0), 1: text(1), 5: noise(2), 9: noise(3), 2047: text(4)}
PAGE = range(1)

PASSING = [
    {"kind": "500", "times": 2},
    {"kind": "503", "times": 2},
    {"kind": "throttle", "times": 3},
    {"kind": "drop", "times": 2},
    {"kind": "lost", "times": 2},
]


@pytest.fixture
def mover(s3: S3Store, aws: Aws) -> Mover:
    """One that copies into a new repository."""
    return Mover(repository.create(s3), aws)


@pytest.fixture(scope="module")
def snapshot(aws: Aws, simulator: Simulator) -> str:
    """A snapshot with a few blocks, for all tests here."""
    volume = Volume.new(aws, simulator)
    volume.write(BLOCKS)
    return volume.snapshot()


@pytest.fixture
def weather(simulator: Simulator) -> Iterator[Simulator]:
    """The simulator, whose faults end with the test."""
    yield simulator
    simulator.faults([])
    simulator.config(block_token_seconds=7 * 86400.0, page_token_seconds=3600.0)


def everything(simulator: Simulator, one: str, other: str) -> bool:
    return simulator.differing(one, other) == []


@pytest.mark.parametrize("rule", PASSING, ids=[str(each["kind"]) for each in PASSING])
def test_what_passes_keeps_no_copy_and_no_restore_from_its_end(
    mover: Mover, snapshot: str, weather: Simulator, rule: dict[str, Any]
) -> None:
    moving = ("ebs:GetSnapshotBlock", "ebs:ListSnapshotBlocks", "s3:PutObject")
    weather.faults([{**rule, "op": operation} for operation in moving])
    manifest = mover.full(snapshot)
    weather.faults([{**rule, "op": each} for each in ("s3:GetObject", "ebs:PutSnapshotBlock")])
    assert everything(weather, mover.restore(manifest), snapshot)


def test_a_refusal_ends_a_copy_and_what_was_told_stands(
    mover: Mover, snapshot: str, weather: Simulator
) -> None:
    told_before: list[Checkpoint] = []

    def tell(checkpoint: Checkpoint) -> None:
        told_before.append(checkpoint)
        weather.faults([{"op": "s3:PutObject", "kind": "denied"}])

    store, ebs = mover.repository, EbsSource(mover.aws, snapshot)
    with pytest.raises(Fault) as refused:
        copy_range(store, ebs, PAGE, tell=tell, limits=mover.limits)
    assert refused.value.kind is FaultKind.DENIED
    # What was behind the one that was refused has not come to its end.
    assert len(list(store.store.list(packs.PREFIX))) == len(told_before) == 1
    weather.faults([])
    mover.checkpoints = list(told_before)
    assert copy_range(
        store, ebs, PAGE, tell=mover.checkpoints.append, after=told_before[-1], limits=mover.limits
    )
    assert everything(weather, mover.restore(mover.publish(snapshot, 1, None)), snapshot)


def test_a_copy_goes_on_from_every_checkpoint_and_stores_a_pack_twice_at_most(
    mover: Mover, snapshot: str, weather: Simulator
) -> None:
    stored = 0
    while True:
        count = len(mover.checkpoints)
        progress = Progress()
        is_done = copy_range(
            mover.repository,
            EbsSource(mover.aws, snapshot),
            PAGE,
            tell=mover.checkpoints.append,
            after=mover.checkpoints[-1] if mover.checkpoints else None,
            should_stop=lambda seen=count: len(mover.checkpoints) > seen,  # type: ignore[misc]
            limits=replace(mover.limits, connections=1),
            progress=progress,
        )
        stored += progress.stored_bytes
        if is_done:
            break
    kept = sum(each.size for each in mover.repository.store.list(packs.PREFIX))
    assert stored == kept
    assert everything(weather, mover.restore(mover.publish(snapshot, 1, None)), snapshot)


def test_tokens_of_blocks_that_have_expired_are_renewed(
    mover: Mover, snapshot: str, weather: Simulator
) -> None:
    weather.config(block_token_seconds=0)
    ebs = EbsSource(mover.aws, snapshot)
    listed = list(ebs.blocks(0, 2048))
    weather.config(block_token_seconds=60)
    weather.reset_counts()
    assert [ebs.read(each).content for each in listed] == [BLOCKS[each.block] for each in listed]
    assert weather.counts()["ebs:ListSnapshotBlocks"] == 1


def test_tokens_of_pages_that_have_expired_are_done_without(
    aws: Aws, weather: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_PAGE", 100)
    volume = Volume.new(aws, weather)
    weather.fill(volume.id, {"pattern": "repeated", "start": 50, "count": 250})
    taken = volume.snapshot()
    weather.config(page_token_seconds=0)
    listed = EbsSource(aws, taken).blocks(60, 290)
    assert [each.block for each in listed] == list(range(60, 290))


def test_a_block_that_is_not_there_is_no_matter_of_tokens(aws: Aws, snapshot: str) -> None:
    with pytest.raises(Fault) as refused:
        EbsSource(aws, snapshot).read(Listed(77, "made up"))
    assert refused.value.kind is FaultKind.INVALID


def test_temporary_keys_that_end_in_the_middle_are_replaced(
    mover: Mover, snapshot: str, weather: Simulator
) -> None:
    expired = {"kind": "denied", "times": 1}
    weather.faults(
        [
            {**expired, "op": "ebs:GetSnapshotBlock", "code": "ExpiredTokenException"},
            {**expired, "op": "s3:PutObject", "code": "ExpiredToken"},
        ]
    )
    aws = replace(mover.aws, credentials=role(mover.aws))
    store = S3Store(aws, "archive", "of/roles")
    moved = Mover(repository.create(store), aws)
    manifest = moved.full(snapshot)
    assert everything(weather, moved.restore(manifest), snapshot)


def role(aws: Aws) -> AssumedRole:
    """A role of the account that may do everything."""
    trust = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": '
        '{"AWS": "arn:aws:iam::500000000001:root"}, "Action": "sts:AssumeRole"}]}'
    )
    aws.call("iam", "CreateRole", RoleName="mover", AssumeRolePolicyDocument=trust)
    return AssumedRole(aws.credentials, "arn:aws:iam::500000000001:role/mover")


def test_two_writers_of_one_range_are_in_nobodys_way(
    mover: Mover, snapshot: str, weather: Simulator
) -> None:
    copied: list[list[Checkpoint]] = [[], []]
    for each in copied:
        ebs = EbsSource(mover.aws, snapshot)
        copy_range(mover.repository, ebs, PAGE, tell=each.append, limits=mover.limits)
    mixed = told([*copied[0], *copied[1]])
    assert mixed.keys() == told(copied[0]).keys()
    mover.checkpoints = copied[1]
    manifest = mover.publish(snapshot, 1, None)
    mover.now = mover.now.replace(second=mover.now.second - 1)
    mover.checkpoints = copied[0]
    with pytest.raises(NameTaken):
        mover.publish(snapshot, 1, None)
    assert everything(weather, mover.restore(manifest), snapshot)


def test_what_was_put_without_an_answer_is_no_others(s3: S3Store, weather: Simulator) -> None:
    weather.faults([{"op": "s3:PutObject", "kind": "lost", "times": 1}])
    s3.write("manifests/a", b"mine", only_new=True)
    assert s3.read("manifests/a") == b"mine"
    with pytest.raises(NameTaken):
        s3.write("manifests/a", b"mine", only_new=True)


def damage(mover: Mover, manifest: Manifest, block: int) -> None:
    place = mover.repository.page(manifest.pages[0])[block]
    store, name = mover.repository.store, packs.name_of(place.pack)
    content = bytearray(store.read(name))
    content[place.offset + 5] ^= 1
    store.write(name, bytes(content))


def test_a_damaged_block_is_named_and_nothing_is_completed_without_a_decision(
    mover: Mover, snapshot: str, weather: Simulator
) -> None:
    manifest = mover.full(snapshot)
    damage(mover, manifest, 5)
    started = target.start(mover.aws, Wanted(token="damaged", volume_gib=1))
    done = target.restore_range(mover.repository, manifest, mover.aws, started, PAGE)
    assert [each.what for each in done.damages] == ["block 5"]
    with pytest.raises(Fault) as refused:
        mover.complete(manifest, started)
    assert refused.value.kind is FaultKind.INVALID
    mover.complete(manifest, started, lost={"block 5"})
    assert weather.differing(started, snapshot) == [5]


def test_a_restore_goes_on_where_it_was_stopped(
    mover: Mover, snapshot: str, weather: Simulator
) -> None:
    manifest = mover.full(snapshot)
    wanted = Wanted(token="stopped", volume_gib=1)
    started = target.start(mover.aws, wanted)
    assert target.start(mover.aws, wanted) == started
    block, is_finished = 0, False
    while not is_finished:
        weather.reset_counts()
        done = target.restore_range(
            mover.repository,
            manifest,
            mover.aws,
            started,
            PAGE,
            first_block=block,
            should_stop=lambda: True,
            percent=lambda: 50,
        )
        block, is_finished = done.block, done.is_finished
    mover.complete(manifest, started)
    assert everything(weather, started, snapshot)


@pytest.fixture
def relayed(aws: Aws, simulator: Simulator) -> Iterator[tuple[Aws, Relay]]:
    """The owner of the bucket behind a relay that spoils answers."""
    with relay(simulator.endpoint) as relaying:
        cloud = Cloud(endpoint_url=relaying.endpoint, budget=NoBudget())
        yield cloud.aws(aws.credentials, aws.region), relaying
        cloud.close()


@pytest.mark.parametrize("plan", ["cut", "flip"])
def test_what_is_spoilt_on_its_way_is_got_again(
    mover: Mover, snapshot: str, weather: Simulator, relayed: tuple[Aws, Relay], plan: str
) -> None:
    aws, relaying = relayed
    store = S3Store(aws, "archive", mover.repository.store.prefix)  # type: ignore[attr-defined]
    moved = Mover(replace(mover.repository, store=store), aws)
    relaying.plans += [plan] * 2
    manifest = moved.full(snapshot)
    assert relaying.plans == []
    assert everything(weather, moved.restore(manifest), snapshot)


def test_packs_that_are_cut_off_on_their_way_are_read_again(
    mover: Mover, snapshot: str, weather: Simulator, relayed: tuple[Aws, Relay]
) -> None:
    manifest = mover.full(snapshot)
    aws, relaying = relayed
    store = S3Store(aws, "archive", mover.repository.store.prefix)  # type: ignore[attr-defined]
    moved = Mover(replace(mover.repository, store=store), aws)
    relaying.plans += ["cut"] * 2
    assert everything(weather, moved.restore(manifest), snapshot)
    assert relaying.plans == []
