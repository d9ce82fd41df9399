"""Options are declared once, for the API, the console, the CLI and the rows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from cpm.resources import registry
from cpm.resources.options import OptionSpec, OptionType, make, option, specs, to_json


@dataclass(frozen=True)
class Shelf:
    """Nested options."""

    place: str = option(label="Place")
    width: int | None = option(None, label="Width", minimum=1, maximum=9)


@dataclass(frozen=True)
class Options:
    """One of each sort."""

    strict: bool = option(True, label="Strict", help="No excuses.")
    colour: str | None = option(None, label="Colour", choices={"R": "Red"}, max_length=1)
    words: tuple[str, ...] = option((), label="Words")
    tags: Mapping[str, str] = option(dict, label="Tags")
    shelves: tuple[Shelf, ...] | None = option(None, label="Shelves")
    hidden: tuple[str, ...] = ()


def test_each_option_is_described_for_all_front_ends() -> None:
    found = {spec.name: spec for spec in specs(Options)}
    assert found["strict"] == OptionSpec(
        name="strict",
        type=OptionType.BOOLEAN,
        label="Strict",
        help="No excuses.",
        default=True,
    )
    colour = found["colour"]
    assert (colour.type, colour.is_nullable, colour.max_length) == (OptionType.STRING, True, 1)
    assert colour.choices == {"R": "Red"}
    assert found["words"].type is OptionType.STRINGS
    assert (found["tags"].type, found["tags"].default) == (OptionType.MAPPING, {})
    shelves = found["shelves"]
    assert (shelves.type, shelves.is_nullable) == (OptionType.OBJECTS, True)
    place, width = shelves.nested
    assert (place.is_required, place.is_nullable) == (True, False)
    assert (width.is_required, width.minimum, width.maximum) == (False, 1, 9)


def test_what_is_no_option_is_not_shown() -> None:
    assert "hidden" not in {spec.name for spec in specs(Options)}


def test_options_survive_their_row() -> None:
    values = {
        "strict": False,
        "words": ["a", "b"],
        "tags": {"a": "b"},
        "shelves": [{"place": "left", "width": 3}, {"place": "right"}],
        "hidden": ["x"],
        "unknown": 1,
    }
    options = make(Options, values)
    assert options.words == ("a", "b")
    assert options.shelves == (Shelf("left", 3), Shelf("right"))
    assert options.hidden == ("x",)
    assert make(Options, json.loads(json.dumps(to_json(options)))) == options


def test_what_is_not_given_keeps_its_default() -> None:
    assert make(Options, {}) == Options()


def test_a_type_that_no_front_end_knows_is_refused() -> None:
    @dataclass(frozen=True)
    class Bad:
        size: float = option(1.0, label="Size")

    with pytest.raises(TypeError, match="float"):
        specs(Bad)


@pytest.mark.parametrize("kind", [driver.kind for driver in registry.drivers()])
def test_the_options_of_every_type_have_labels_and_legal_defaults(kind: str) -> None:
    driver = registry.driver(kind)
    declared = specs(driver.target_options)
    if driver.recover_options:
        declared += specs(driver.recover_options)
    for spec in declared:
        assert spec.label
        assert spec.default is None or not spec.choices or spec.default in spec.choices
        assert spec.is_required or spec.is_nullable or spec.default is not None
