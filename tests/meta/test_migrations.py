"""The tables are what the models say, by one linear chain of migrations."""

from django.apps import apps
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState


def test_no_change_of_a_model_lacks_its_migration() -> None:
    loader = MigrationLoader(None)
    wanted = ProjectState.from_apps(apps)
    changes = MigrationAutodetector(loader.project_state(), wanted).changes(loader.graph)
    assert "cpm" not in changes


def test_the_chain_of_migrations_is_linear() -> None:
    assert len(MigrationLoader(None).graph.leaf_nodes("cpm")) == 1
