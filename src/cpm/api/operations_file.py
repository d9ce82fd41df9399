"""`python -m cpm.api.operations_file`: every operation in one list, for `docs/operations.md`."""

import inspect
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:
    from cpm.api.operations import Operation
    from cpm.services.access import Action

_HEAD = """\
# Operations

Every operation of the API: the version that introduced it, who may call it, and what it does. \
Made from the operations themselves by `make openapi`; a test compares it with them.

Paths stand below `/api`. "Owners" are users, for what is theirs; root is also one for what is \
of managed users. A delegate is what his user is, if he has the switches that stand there. \
`openapi.yaml` says what goes in and comes out.
"""

_TABLE = """
## {title}

| operation | since | who | effect |
| --- | --- | --- | --- |
"""


def text() -> str:
    """The page, in the order of paths."""
    # Operations know models, which can be imported once Django is ready.
    from cpm.api.routes import OPERATIONS  # noqa: PLC0415

    ordered = sorted(OPERATIONS, key=lambda one: one.path)
    return _HEAD + "".join(_tables(ordered))


def _tables(operations: Iterable["Operation"]) -> Iterator[str]:
    for noun, group in groupby(operations, key=lambda one: one.path.split("/")[1]):
        yield _TABLE.format(title=noun)
        yield from map(_row, group)


def _row(operation: "Operation") -> str:
    summary = (inspect.getdoc(operation.view) or "").partition("\n")[0]
    words = (
        f"`{operation.method} {operation.path}`",
        operation.since.value,
        _who(operation.action),
        summary,
    )
    return f"| {' | '.join(words)} |\n"


def _who(action: "Action | None") -> str:
    """Who may do it at all."""
    from cpm.services.access import RULES  # noqa: PLC0415

    if action is None:
        return "anybody"
    rule = RULES[action]
    users = "root" if rule.root_only else "owners"
    condition = " whom `allow_account_changes` lets" if rule.owner_must_allow else ""
    switches = " and ".join(f"`{one.value}`" for one in sorted(rule.switches))
    return f"{users}{condition}; delegates{f' with {switches}' if switches else ''}"


if __name__ == "__main__":
    django.setup()
    sys.stdout.write(text())
