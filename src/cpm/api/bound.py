"""Views that serve several addresses, each with something of its own."""

from functools import partial, update_wrapper
from typing import Any

from cpm.api.operations import View


def bound(view: View, **named: Any) -> View:
    """The view with some of its arguments given, under its own name and description."""
    return update_wrapper(partial(view, **named), view)
