"""What a store is."""

from datetime import timedelta

import pytest

from cpm.archive import repository
from cpm.archive.errors import NameTaken, NotFound
from cpm.archive.s3 import S3Store
from cpm.archive.store import MemoryStore, Store
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.simulator.process import Simulator
from tests.archive.conftest import BUCKET
from tests.archive.volumes import Copier, came_back, noise, text


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each kind of store, empty."""
    made: Store = MemoryStore() if request.param == "memory" else request.getfixturevalue("s3")
    return made


def test_what_is_written_is_read_whole_and_in_part(store: Store) -> None:
    store.write("packs/00/a", b"0123456789")
    assert store.read("packs/00/a") == b"0123456789"
    assert store.read_range("packs/00/a", 2, 3) == b"234"
    assert store.read_range("packs/00/a", 8, 10) == b"89"
    assert store.read_range("packs/00/a", 10, 5) == b""
    assert store.read_end("packs/00/a", 3) == b"789"
    assert store.read_end("packs/00/a", 30) == b"0123456789"


def test_what_is_not_there_is_told(store: Store) -> None:
    with pytest.raises(NotFound):
        store.read("packs/00/a")
    with pytest.raises(NotFound):
        store.read_range("packs/00/a", 0, 1)
    with pytest.raises(NotFound):
        store.read_end("packs/00/a", 1)


def test_the_second_of_a_name_is_refused_where_it_must_be_new(store: Store) -> None:
    store.write("manifests/a", b"first", only_new=True)
    with pytest.raises(NameTaken):
        store.write("manifests/a", b"second", only_new=True)
    assert store.read("manifests/a") == b"first"
    store.write("manifests/a", b"third")
    assert store.read("manifests/a") == b"third"


def test_what_is_kept_from_its_end_is_not_there(store: Store) -> None:
    class NotYet(Exception):
        pass

    def never() -> None:
        with pytest.raises(NotFound):
            store.read("packs/00/a")
        raise NotYet

    with pytest.raises(NotYet):
        store.write("packs/00/a", b"begin", b"end", before_end=never)
    with pytest.raises(NotFound):
        store.read("packs/00/a")
    store.write("packs/00/a", b"begin", b"end", before_end=lambda: None)
    assert store.read("packs/00/a") == b"beginend"


def test_what_is_deleted_is_gone_and_may_be_deleted_again(store: Store) -> None:
    store.write("manifests/a", b"first")
    for _ in range(2):
        store.delete("manifests/a")
    with pytest.raises(NotFound):
        store.read("manifests/a")


def test_lists_are_in_order_whole_and_of_the_prefix_alone(store: Store) -> None:
    for number in range(1_005):
        store.write(f"packs/{number:04}", b"x" * (number % 3))
    store.write("manifests/a", b"")
    found = list(store.list("packs/"))
    assert [each.name for each in found] == [f"packs/{number:04}" for number in range(1_005)]
    assert [each.size for each in found[:4]] == [0, 1, 2, 0]
    assert abs(store.now() - found[-1].modified_at) < timedelta(minutes=5)


def test_a_repository_in_s3_gives_back_what_it_got(s3: S3Store) -> None:
    archive = repository.create(s3, passphrase="correct horse")
    blocks = {0: noise(0), 1: text(1), 9: noise(2)}
    manifest = Copier(archive).copy(blocks)
    again = repository.open_(s3, passphrase="correct horse")
    assert came_back(again, manifest) == blocks


def test_small_things_stay_at_hand_whatever_class_packs_are_in(aws: Aws) -> None:
    store = S3Store(aws, BUCKET, "classes", storage_class="GLACIER_IR")
    Copier(repository.create(store)).copy({0: text(0)})
    answer = aws.call("s3", "ListObjectsV2", Bucket=BUCKET, Prefix="classes/")
    classes = {each["Key"].split("/")[1]: each["StorageClass"] for each in answer["Contents"]}
    assert classes == {
        "repository.json": "STANDARD",
        "manifests": "STANDARD",
        "packs": "GLACIER_IR",
    }


def test_trouble_of_s3_is_told_as_aws_s(s3: S3Store, simulator: Simulator) -> None:
    s3.write("packs/00/a", b"x")
    simulator.faults([{"op": "s3:GetObject", "kind": "denied"}])
    try:
        with pytest.raises(Fault) as told:
            s3.read("packs/00/a")
    finally:
        simulator.faults([])
    assert told.value.kind is FaultKind.DENIED
