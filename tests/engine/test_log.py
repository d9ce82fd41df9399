"""The log that users read: every line is in the catalogue, complete, and safe to show."""

import re
from pathlib import Path
from string import Formatter

import pytest

import cpm.engine
from cpm.engine import events
from tests.engine.world import World, log_of, volume_target

ENGINE = Path(cpm.engine.__file__).parent
# Codes stand as literals where lines are logged, or in tables of outcomes.
LITERAL = re.compile(r'"([a-z]+[0-9]?(?:_[a-z]+)+)"')


def codes_in_the_engine() -> set[str]:
    modules = (path for path in ENGINE.glob("*.py") if path.name != "events.py")
    return {code for path in modules for code in LITERAL.findall(path.read_text())}


def test_every_line_of_the_catalogue_is_logged_somewhere() -> None:
    assert set(events.CATALOGUE) - codes_in_the_engine() == set()


def test_a_code_that_is_not_in_the_catalogue_cannot_be_logged(db: None) -> None:
    with pytest.raises(KeyError):
        events.log("no_such_line")


@pytest.mark.parametrize("code", events.CATALOGUE)
def test_a_line_reads_well_with_its_values_and_without(code: str) -> None:
    names = {name for _, name, _, _ in Formatter().parse(events.CATALOGUE[code].text) if name}
    shown = events.text(code, dict.fromkeys(names, "42"))
    assert "{" not in shown
    assert "?" not in shown
    assert "{" not in events.text(code, {})


def test_a_code_of_another_version_is_shown_as_it_is() -> None:
    assert events.text("from_the_future", {"answer": 42}) == "from_the_future {'answer': 42}"


def test_values_are_not_taken_for_templates() -> None:
    shown = events.text("backup_started", {"policy": "{secret} %s"})
    assert shown == "Backup of policy {secret} %s started."


def test_every_line_of_a_backup_has_all_its_values(world: World) -> None:
    good, bad = world.volume(), world.volume()
    world.simulator.config(fail=[bad])
    world.simulator.faults([{"op": "ec2:CreateSnapshot", "kind": "lost", "times": 1}])
    policy = world.policy(volume_target(good), volume_target(bad), retry_count=1)
    backup = world.backup(policy)
    lines = [events.text(event.code, event.values) for event in backup.events.all()]
    assert len(lines) == len(log_of(backup)) > 5
    assert not [line for line in lines if "?)" in line]
