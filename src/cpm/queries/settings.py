"""Reads of the server's settings, which are root's."""

from typing import TypeVar

from cpm.engine.settings import Section
from cpm.queries.errors import NotFound
from cpm.queries.people import Person

S = TypeVar("S", bound=Section)


def current(viewer: Person, section: type[S]) -> S:
    """A section as it is now; raises `NotFound` for others than root and his delegates."""
    if not viewer.acts_for_root:
        raise NotFound
    return section.current()
