"""Writes of the server's settings, and the work that they ask for at once."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from cpm.engine import cleanup
from cpm.engine.settings import Section
from cpm.queries.people import Person
from cpm.services import access, audit, options
from cpm.services.access import Action
from cpm.services.fields import Fields


def fields_of(section: type[Section]) -> Fields:
    """What a body about a section may hold; what it leaves out stays as it is."""
    return Fields(options.fields(section))


@transaction.atomic
def update(section: type[Section], data: Mapping[str, object], *, actor: Person) -> None:
    """Change what `data` holds. Raises `Forbidden` and `Invalid`."""
    access.require(actor, Action.CHANGE_SERVER)
    given = fields_of(section).read(data, partial=True)
    given.check()
    change(section, given, actor=actor)


def change(section: type[Section], values: Mapping[str, Any], *, actor: Person) -> None:
    """Store values that have been checked."""
    if values:
        section.change(**values)
        audit.record(actor, "update settings", section.name, ", ".join(values))


@transaction.atomic
def clean_up(*, actor: Person) -> None:
    """Have a cleanup begin at once, unless one is under way. Raises `Forbidden`."""
    access.require(actor, Action.CHANGE_SERVER)
    cleanup.ask()
    audit.record(actor, "run cleanup")
