"""What a read answers when there is nothing to show."""

from typing import TypeVar

from django.db.models import Model, QuerySet

M = TypeVar("M", bound=Model)


class NotFound(Exception):
    """There is no such object, or the viewer may not see it: nobody is told which."""

    def __init__(self, message: str = "Not found.") -> None:
        super().__init__(message)
        self.message = message


def one(rows: QuerySet[M], row_id: int) -> M:
    """The row of this id among those that somebody sees; raises `NotFound`."""
    row = rows.filter(pk=row_id).first()
    if row is None:
        raise NotFound
    return row
