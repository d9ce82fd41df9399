"""What is made for each resource type: views bound to a driver, and names of its structs."""

from functools import partial, update_wrapper
from typing import Any

from cpm.api.operations import View


def bound(view: View, **named: Any) -> View:
    """The view with some of its arguments given, under its own name and description."""
    return update_wrapper(partial(view, **named), view)


def struct_name(kind: str, what: str) -> str:
    """A name that no other type's struct can have: `ebs_volume` and `Target`: `EbsVolumeTarget`."""
    return "".join(word.capitalize() for word in kind.split("_")) + what
