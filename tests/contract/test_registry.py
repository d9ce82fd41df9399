"""Types are found by their files, and no two claim the same word."""

from dataclasses import replace

import pytest

from cpm.resources import registry
from cpm.resources.contract import Driver, SnapshotCollection, Watch
from tests.contract.rigs import RIGS


@pytest.fixture
def volume() -> Driver:
    return registry.driver("ebs_volume")


def another(driver: Driver) -> Driver:
    """A type that shares no word with `driver`."""
    return replace(
        driver, kind="tape", target_collection="tapes", snapshot_collections=(), watches=()
    )


def test_every_file_of_the_folder_is_a_type_in_the_order_of_kinds() -> None:
    kinds = [driver.kind for driver in registry.drivers()]
    assert {"ebs_volume", "ec2_instance"} <= set(kinds)
    assert kinds == sorted(kinds)


def test_every_type_is_put_through_the_suite() -> None:
    assert set(RIGS) == {driver.kind for driver in registry.drivers()}


def test_types_are_found_by_the_words_of_the_api(volume: Driver) -> None:
    assert registry.by_target_collection("volumes") is volume
    owner, collection = registry.by_snapshot_collection("volumes")
    assert owner is volume
    assert collection.delete in {effect.name for effect in owner.effects}
    with pytest.raises(KeyError):
        registry.driver("tape")


def test_every_effect_names_a_watch_of_its_driver() -> None:
    for driver in registry.drivers():
        watched = {effect.watch for effect in driver.effects}
        watched |= {effect.undo_watch for effect in driver.effects}
        watched -= {""}
        assert watched <= {watch.name for watch in driver.watches}
        assert len({effect.name for effect in driver.effects}) == len(driver.effects)


def test_names_fit_where_rows_keep_them() -> None:
    for driver in registry.drivers():
        assert len(driver.kind) <= 32
        assert all(len(effect.name) <= 48 for effect in driver.effects)
        assert all(len(watch.name) <= 32 for watch in driver.watches)
        assert all(len(each.name) <= 32 for each in driver.snapshot_collections)


def test_a_type_can_be_added_for_a_while(volume: Driver) -> None:
    with registry.added(another(volume)):
        assert registry.by_target_collection("tapes").kind == "tape"
    assert "tape" not in {driver.kind for driver in registry.drivers()}


@pytest.mark.parametrize(
    "claim",
    [
        {"kind": "ebs_volume"},
        {"target_collection": "volumes"},
        {"snapshot_collections": (SnapshotCollection("volumes", "Volumes"),)},
        {"watches": (Watch("ebs_snapshot", (), lambda _aws, _refs: {}),)},
    ],
)
def test_two_types_that_claim_the_same_word_are_refused(
    volume: Driver, claim: dict[str, object]
) -> None:
    twin = replace(another(volume), **claim)  # type: ignore[arg-type]  # one field of the driver
    with pytest.raises(registry.BadDriver, match=r"ebs_volume|tape"), registry.added(twin):
        pass
    assert registry.driver("ebs_volume") is volume
