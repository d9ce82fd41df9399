"""Records as the API shows them, for scripts, and in words, for people."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cpm.cli.terminal import fail

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from cpm.api.shapes import Shape

Record = dict[str, Any]


def records(rows: "QuerySet[Any]", shape: "Shape[Any]") -> list[Record]:
    """The rows as the latest version of the API shows them."""
    import msgspec

    from cpm.api import rows as read
    from cpm.api import statements

    asked = statements.Rows(lambda: rows, is_kept=False)
    found = read.few(statements.every(asked, shape.columns))
    return [msgspec.to_builtins(shape.build(*row)) for row in found]


def record(rows: "QuerySet[Any]", row_id: int, shape: "Shape[Any]") -> Record:
    """One of them."""
    found = records(rows.filter(pk=row_id), shape)
    if not found:
        fail("The record is not there any longer.")
    return found[0]


def in_words(shown: Record, letters: Mapping[str, Mapping[str, str]]) -> Record:
    """A record with words instead of the letters under these keys."""
    words = {key: letters[key].get(shown[key], shown[key]) for key in letters}
    return {**shown, **words}
