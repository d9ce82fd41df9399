"""Logs on the wire: the lines that backups and recoveries have left."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from cpm.api.lists import Listing
from cpm.api.shapes import Shape
from cpm.engine.events import text
from cpm.models.events import Severity


class LogLine(Struct):
    """One thing that happened."""

    id: int
    time: datetime
    severity: Severity
    message: str


def _build(line_id: int, at: datetime, severity: Severity, code: str, values: Any) -> LogLine:
    return LogLine(line_id, at, severity, text(code, values))


LISTING = Listing(Shape(LogLine, ("id", "at", "severity", "code", "values"), _build))
