"""Logs on the wire: the lines that backups and recoveries have left, as a list or as CSV."""

from datetime import datetime
from typing import Any

from django.http.response import HttpResponseBase

from cpm.api import csv_files, pages
from cpm.api.lists import Listing
from cpm.api.negotiation import CSV, JSON
from cpm.api.operations import Operation, View
from cpm.api.request import Request
from cpm.api.shapes import Shape, Shown
from cpm.api.statements import Rows
from cpm.engine.events import text
from cpm.models.events import Severity
from cpm.services.access import Action


class LogLine(Shown):
    """One thing that happened."""

    id: int
    time: datetime
    severity: Severity
    message: str


def _build(line_id: int, at: datetime, severity: Severity, code: str, values: Any) -> LogLine:
    return LogLine(line_id, at, severity, text(code, values))


SHAPE = Shape(LogLine, ("id", "at", "severity", "code", "values"), _build)
LISTING = Listing(SHAPE)


def operation(path: str, view: View, action: Action = Action.READ) -> Operation:
    """The declaration of a log."""
    return Operation("GET", path, view, action, listing=LISTING, produces=(JSON, CSV))


def answer(request: Request, lines: Rows, filename: str) -> HttpResponseBase:
    """The lines in order; as CSV all of them."""
    if not request.wants_csv:
        return pages.answer(request, lines, LISTING)
    cells = (
        (line.time, Severity(line.severity).label, line.message)
        for line in pages.every(request, lines, LISTING)
    )
    return csv_files.answer(filename, ("Time", "Severity", "Message"), cells)
