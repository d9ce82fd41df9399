"""CSV files: a list as a spreadsheet takes it.

A file is written whole before its first byte is sent. So it has a length, a client can tell that
it has all of it, and what goes wrong on the way is an error and not a shorter file.
"""

import csv
import re
import tempfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from io import TextIOWrapper

import msgspec
from django.http import FileResponse

from cpm.api.negotiation import CSV
from cpm.kernel import times

_MOST_IN_MEMORY = 1024 * 1024

# What spreadsheets take for the beginning of a formula.
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def answer(filename: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> FileResponse:
    """A CSV file of these rows; what its cells may hold is what `cell` knows."""
    file = tempfile.SpooledTemporaryFile(_MOST_IN_MEMORY)  # noqa: SIM115 - the response closes it
    try:
        text = TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text)
        writer.writerow(header)
        writer.writerows([cell(value) for value in row] for row in rows)
        text.detach()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return FileResponse(
        file, as_attachment=True, filename=filename, content_type=f"{CSV}; charset=utf-8"
    )


def cell(value: object) -> str:
    """A value as a cell shows it: no formula, whatever somebody has called his resources."""
    match value:
        case None | msgspec.UNSET:
            return ""
        case bool():
            return "Yes" if value else "No"
        case datetime():
            return times.to_wire(value)
        case list() | tuple():
            return _harmless("; ".join(cell(item) for item in value))
        case _:
            return _harmless(str(value))


def _harmless(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
