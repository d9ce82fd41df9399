"""Phases follow each other as the tables say, and of two workers only the first changes a row."""

import pytest
from django.db import IntegrityError

from cpm.engine import tick, transitions
from cpm.engine.queue import Overtaken
from cpm.kernel import clock
from cpm.models.backups import Backup, BackupOutcome, BackupPhase
from tests.engine.world import World, volume_target


@pytest.fixture
def backup(world: World) -> Backup:
    return tick.run_now(world.policy(volume_target("vol-1")))


def closing() -> dict[str, object]:
    return {"outcome": BackupOutcome.FAILED, "finished_at": clock.now(), "due_at": None}


@pytest.mark.parametrize("table", transitions.TABLES.values())
def test_every_phase_leads_to_the_end_and_nothing_leads_back_from_it(
    table: transitions.Table,
) -> None:
    assert table["closed"] == frozenset()
    for phase in table:
        reached, new = set(), {phase}
        while new:
            reached |= new
            new = {after for before in new for after in table[before]} - reached
        assert "closed" in reached


@pytest.mark.parametrize(("model", "table"), transitions.TABLES.items())
def test_the_tables_know_every_phase_there_is(model: type, table: transitions.Table) -> None:
    choices = model._meta.get_field("phase").choices  # type: ignore[attr-defined]  # a Django model
    assert {value for value, _ in choices} == set(table)


def test_a_step_that_the_table_does_not_know_is_refused(backup: Backup) -> None:
    transitions.move(backup, BackupPhase.CLOSED, **closing())
    with pytest.raises(transitions.IllegalTransition):
        transitions.move(backup, BackupPhase.RUNNING)


def test_whoever_comes_second_is_told_and_changes_nothing(backup: Backup) -> None:
    same = Backup.objects.get(pk=backup.pk)
    transitions.move(backup, BackupPhase.RUNNING)
    with pytest.raises(Overtaken):
        transitions.move(same, BackupPhase.CLOSED, **closing())
    with pytest.raises(Overtaken):
        transitions.change(same, description="late")
    same.refresh_from_db()
    assert (same.phase, same.version) == (BackupPhase.RUNNING, 1)


def test_a_row_that_was_changed_is_as_it_was_written(backup: Backup) -> None:
    transitions.move(backup, BackupPhase.RUNNING, description="new")
    stored = Backup.objects.get(pk=backup.pk)
    assert (backup.phase, backup.version) == (stored.phase, stored.version)
    assert backup.description == stored.description == "new"


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": BackupPhase.CLOSED},
        {"due_at": None},
        {"outcome": BackupOutcome.FAILED},
    ],
)
def test_the_database_refuses_rows_that_contradict_themselves(
    backup: Backup, changes: dict[str, object]
) -> None:
    with pytest.raises(IntegrityError):
        Backup.objects.filter(pk=backup.pk).update(**changes)
