"""What helps those who help: versions, configuration, health, row counts and logs; no secrets."""

import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.db.models import QuerySet

from cpm.config.environment import variable
from cpm.engine.settings import Section
from cpm.queries import health
from cpm.queries.errors import NotFound
from cpm.queries.people import Person
from cpm.resources.options import specs

_SECRET = frozenset({"secret_key", "root_password", "metrics_token"})
_HIDDEN = "(set)"


def documents(viewer: Person) -> Iterator[tuple[str, bytes]]:
    """Files made for the occasion, by name; raises `NotFound` for others than root's people."""
    if not viewer.acts_for_root:
        raise NotFound
    yield _document("versions", _versions())
    yield _document("environment", _environment())
    yield _document("settings", _settings())
    yield _document("health", [asdict(each) for each in health.checks()])
    yield _document("rows", _rows())


def logs() -> Iterator[Path]:
    """The log files of this machine's server, which are bounded in number and size."""
    folder = Path(settings.ENVIRONMENT.data) / "logs"
    yield from sorted(path for path in folder.glob("*") if path.is_file())


def _document(name: str, content: object) -> tuple[str, bytes]:
    return f"{name}.json", json.dumps(content, indent=2, default=str).encode()


def _versions() -> Mapping[str, str]:
    packages = {each.metadata["Name"]: each.version for each in distributions()}
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        **dict(sorted(packages.items())),
    }


def _environment() -> Mapping[str, Any]:
    """Every variable as it is in force; of what is secret only whether it is set."""
    found: dict[str, Any] = {}
    for field in fields(settings.ENVIRONMENT):
        value = getattr(settings.ENVIRONMENT, field.name)
        if field.name in _SECRET:
            value = value and _HIDDEN
        elif field.name == "database_url":
            value = _without_login(value)
        found[variable(field)] = value
    return found


def _without_login(url: str) -> str:
    """Where a database is, without the parts of its address that let one in."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if url else ""


def _settings() -> Mapping[str, Mapping[str, Any]]:
    """What root has set, section by section; the server's notes are not among it."""
    found = {}
    for section in Section.__subclasses__():
        current = section.current()
        shown = {spec.name: getattr(current, spec.name) for spec in specs(section)}
        if shown:
            found[section.name] = shown
    return found


def _rows() -> Mapping[str, int]:
    return {model.__name__: QuerySet(model).count() for model in apps.get_models()}
