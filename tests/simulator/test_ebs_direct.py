"""The EBS direct APIs: snapshots read and written block by block, as AWS does it."""

from typing import TYPE_CHECKING, Any

import pytest

from cpm.simulator.process import Credentials, Simulator
from tests.simulator import blocks
from tests.simulator.conftest import Clients, Later
from tests.simulator.expect import refused
from tests.simulator.resources import look, make_completed, make_volume, tags_of

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

A, B, C = blocks.block("a"), blocks.block("b"), blocks.block("c")
LAST = 2047  # of a volume of 1 GiB


@pytest.fixture
def volume_id(simulator: Simulator, ec2: "EC2Client") -> str:
    """A volume of 1 GiB of which the blocks 0, 3 and the last were written."""
    volume_id = make_volume(ec2, 1)
    for index, data in {0: A, 3: B, LAST: C}.items():
        simulator.write_blocks(volume_id, index, data)
    return volume_id


def test_a_snapshot_holds_what_was_written_and_nothing_else(
    ebs: Any, ec2: "EC2Client", volume_id: str
) -> None:
    snapshot_id = make_completed(ec2, volume_id)
    page = ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
    assert (page["VolumeSize"], page["BlockSize"]) == (1, blocks.BLOCK_BYTES)
    assert [item["BlockIndex"] for item in page["Blocks"]] == [0, 3, LAST]
    assert "NextToken" not in page
    assert blocks.download(ebs, snapshot_id) == {0: A, 3: B, LAST: C}


def test_a_snapshot_keeps_what_its_volume_held_when_it_was_made(
    simulator: Simulator, ebs: Any, ec2: "EC2Client", volume_id: str
) -> None:
    snapshot_id = make_completed(ec2, volume_id)
    simulator.write_blocks(volume_id, 3, C)
    assert blocks.download(ebs, snapshot_id)[3] == B
    again = make_volume(ec2, 2, SnapshotId=snapshot_id)
    assert simulator.differing(again, snapshot_id) == []
    assert simulator.differing(again, volume_id) == [3]
    assert simulator.read_blocks(again, 2, 2) == bytes(blocks.BLOCK_BYTES) + B


def test_copies_hold_the_same(
    simulator: Simulator, client: Clients, account: Credentials, ec2: "EC2Client", volume_id: str
) -> None:
    source = make_completed(ec2, volume_id)
    there = client("ec2", account, "eu-west-1")
    copy = there.copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId=source)["SnapshotId"]
    look(there, copy)
    assert simulator.blocks(copy) == simulator.blocks(source)
    assert blocks.download(client("ebs", account, "eu-west-1"), copy)[0] == A


def test_an_upload_becomes_a_snapshot_and_a_volume(
    simulator: Simulator, ebs: Any, ec2: "EC2Client"
) -> None:
    tags = [{"Key": "Name", "Value": "back"}]
    snapshot_id = blocks.upload(ebs, {LAST: C, 0: A}, Tags=tags, Description="d")
    shown = look(ec2, snapshot_id)
    assert (shown["State"], shown["VolumeSize"], shown["Description"]) == ("completed", 1, "d")
    assert tags_of(shown) == {"Name": "back"}
    volume_id = make_volume(ec2, 1, SnapshotId=snapshot_id)
    assert simulator.read_blocks(volume_id, LAST) == C


def test_an_upload_is_pending_until_it_is_completed_and_a_while_after(
    simulator: Simulator, ebs: Any, ec2: "EC2Client", later: Later
) -> None:
    simulator.config(pending=60)
    snapshot_id = ebs.start_snapshot(VolumeSize=1, Timeout=4320)["SnapshotId"]
    blocks.put(ebs, snapshot_id, 0, A, Progress=40)
    later(3000)
    assert (look(ec2, snapshot_id)["State"], look(ec2, snapshot_id)["Progress"]) == (
        "pending",
        "40%",
    )
    answer = ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)
    assert answer["Status"] == "pending"
    with refused("ValidationException", 400):
        blocks.put(ebs, snapshot_id, 1, A)
    with refused("ValidationException", 400):
        ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
    later(61)
    assert look(ec2, snapshot_id)["State"] == "completed"
    assert blocks.download(ebs, snapshot_id) == {0: A}


def test_an_upload_that_stands_still_for_its_timeout_fails(
    ebs: Any, ec2: "EC2Client", later: Later
) -> None:
    snapshot_id = ebs.start_snapshot(VolumeSize=1, Timeout=10)["SnapshotId"]
    later(500)
    blocks.put(ebs, snapshot_id, 0, A)
    later(500)
    assert look(ec2, snapshot_id)["State"] == "pending"
    later(101)
    assert look(ec2, snapshot_id)["State"] == "error"
    with refused("ValidationException"):
        blocks.put(ebs, snapshot_id, 0, A)


def test_a_child_inherits_its_parents_blocks(ebs: Any) -> None:
    parent = blocks.upload(ebs, {0: A, 1: B})
    child = blocks.upload(ebs, {1: C}, ParentSnapshotId=parent, VolumeSize=2)
    assert blocks.download(ebs, child) == {0: A, 1: C}
    changed = ebs.list_changed_blocks(FirstSnapshotId=parent, SecondSnapshotId=child)
    assert [item["BlockIndex"] for item in changed["ChangedBlocks"]] == [1]
    with refused("ValidationException"):
        ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=child)
    with refused("ValidationException"):
        ebs.start_snapshot(VolumeSize=2, ParentSnapshotId=child, Encrypted=True)


def test_what_changed_between_two_snapshots(
    simulator: Simulator, ebs: Any, ec2: "EC2Client", volume_id: str
) -> None:
    first = make_completed(ec2, volume_id)
    simulator.write_blocks(volume_id, 3, C)
    simulator.write_blocks(volume_id, 7, B)
    simulator.fill(volume_id, {"pattern": "erase", "start": 0, "count": 1})
    ec2.modify_volume(VolumeId=volume_id, Size=2)
    second = make_completed(ec2, volume_id)
    page = ebs.list_changed_blocks(FirstSnapshotId=first, SecondSnapshotId=second)
    assert page["VolumeSize"] == 2
    found = {item.pop("BlockIndex"): item for item in page["ChangedBlocks"]}
    assert list(found) == [0, 3, 7]
    assert {index: set(item) for index, item in found.items()} == {
        0: {"FirstBlockToken"},
        3: {"FirstBlockToken", "SecondBlockToken"},
        7: {"SecondBlockToken"},
    }
    assert blocks.get(ebs, first, 3, found[3]["FirstBlockToken"]) == B
    assert blocks.get(ebs, second, 3, found[3]["SecondBlockToken"]) == C
    with refused("ValidationException"):
        ebs.list_changed_blocks(FirstSnapshotId=second, SecondSnapshotId=first)
    everything = ebs.list_changed_blocks(SecondSnapshotId=second)["ChangedBlocks"]
    assert [item["BlockIndex"] for item in everything] == [3, 7, LAST]


def test_only_snapshots_of_one_lineage_are_compared(
    ebs: Any, ec2: "EC2Client", volume_id: str
) -> None:
    one, stranger = make_completed(ec2, volume_id), blocks.upload(ebs, {0: A})
    copy = ec2.copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId=one)["SnapshotId"]
    look(ec2, copy)
    for other in (stranger, copy):
        with pytest.raises(ebs.exceptions.ValidationException) as caught:
            ebs.list_changed_blocks(FirstSnapshotId=other, SecondSnapshotId=one)
        assert caught.value.response["Reason"] == "UNRELATED_SNAPSHOTS"
    restored = make_volume(ec2, 1, SnapshotId=one)
    grandchild = make_completed(ec2, restored)
    page = ebs.list_changed_blocks(FirstSnapshotId=one, SecondSnapshotId=grandchild)
    assert page["ChangedBlocks"] == []


def test_pages_are_in_order_and_may_be_empty(
    simulator: Simulator, ebs: Any, ec2: "EC2Client"
) -> None:
    volume_id = make_volume(ec2, 1)
    simulator.fill(volume_id, {"pattern": "repeated", "seed": 1, "start": 10, "count": 250})
    first = make_completed(ec2, volume_id)
    simulator.write_blocks(volume_id, 259, A)
    second = make_completed(ec2, volume_id)
    assert list(blocks.tokens(ebs, second, MaxResults=100)) == list(range(10, 260))
    assert list(blocks.tokens(ebs, second, StartingBlockIndex=200)) == list(range(200, 260))
    wanted = {"FirstSnapshotId": first, "SecondSnapshotId": second, "MaxResults": 100}
    sizes, page = [], ebs.list_changed_blocks(**wanted)
    while page.get("NextToken"):
        sizes.append(len(page["ChangedBlocks"]))
        page = ebs.list_changed_blocks(**wanted, NextToken=page["NextToken"])
    assert (sizes, len(page["ChangedBlocks"])) == ([0, 0], 1)
    assert len(ebs.list_snapshot_blocks(SnapshotId=second, MaxResults=5)["Blocks"]) == 100
    with refused("ValidationException"):
        ebs.list_snapshot_blocks(SnapshotId=second, MaxResults=10_001)


def test_tokens_are_for_one_block_and_for_a_time(
    simulator: Simulator, ebs: Any, ec2: "EC2Client", volume_id: str, later: Later
) -> None:
    one, other = make_completed(ec2, volume_id), make_completed(ec2, volume_id)
    token = blocks.tokens(ebs, one)[0]
    for snapshot_id, index in ((one, 3), (other, 0)):
        with pytest.raises(ebs.exceptions.ValidationException) as caught:
            blocks.get(ebs, snapshot_id, index, token)
        assert caught.value.response["Reason"] == "INVALID_BLOCK_TOKEN"
    simulator.config(block_token_seconds=100)
    short = blocks.tokens(ebs, one)[0]
    later(101)
    assert blocks.get(ebs, one, 0, token) == A
    with refused("ValidationException", 400):
        blocks.get(ebs, one, 0, short)
    with pytest.raises(ebs.exceptions.ValidationException) as caught:
        ebs.list_snapshot_blocks(SnapshotId=one, NextToken=token)
    assert caught.value.response["Reason"] == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize(
    "wrong",
    [
        {"Checksum": blocks.checksum(B)},
        {"DataLength": 4096},
        {"BlockData": b"short", "Checksum": blocks.checksum(b"short")},
        {"BlockIndex": LAST + 1},
        {"ChecksumAlgorithm": "MD5"},
    ],
)
def test_a_block_that_is_not_right_is_refused(ebs: Any, wrong: dict[str, Any]) -> None:
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    with refused("ValidationException", 400):
        blocks.put(ebs, snapshot_id, **{"index": 0, "data": A, **wrong})
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ChangedBlocksCount": 1},
        {"Checksum": blocks.linear(B, A)},
        {"ChecksumAggregationMethod": "TREE"},
    ],
)
def test_a_snapshot_that_lacks_blocks_is_not_completed(ebs: Any, wrong: dict[str, Any]) -> None:
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    blocks.put(ebs, snapshot_id, 5, B)
    blocks.put(ebs, snapshot_id, 2, B)
    blocks.put(ebs, snapshot_id, 2, A)
    wanted = {
        "SnapshotId": snapshot_id,
        "ChangedBlocksCount": 2,
        "Checksum": blocks.linear(A, B),
        "ChecksumAlgorithm": "SHA256",
        "ChecksumAggregationMethod": "LINEAR",
    }
    with refused("ValidationException", 400):
        ebs.complete_snapshot(**{**wanted, **wrong})
    ebs.complete_snapshot(**wanted)
    # AWS does not say that a completion may be repeated.
    with refused("ValidationException", 400):
        ebs.complete_snapshot(**wanted)
