"""Values that no two rows may share: told with the other problems, and upheld by the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from psycopg.errors import UniqueViolation

from cpm.kernel.invalid import Invalid, Problem
from cpm.services.given import Given

_MESSAGE = "This field must be unique."


def refuse_taken(given: Given, field: str, others: QuerySet[Any], lookup: str = "exact") -> None:
    """Note a problem where one of the other rows already has the value of `field`."""
    if field in given and others.filter(**{f"{field}__{lookup}": given[field]}).exists():
        given.refuse(field, "unique", _MESSAGE)


@contextmanager
def kept_by(constraint: str, field: str) -> Iterator[None]:
    """Turn a violation of `constraint`, where somebody else was faster, into a problem."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        cause = error.__cause__
        if isinstance(cause, UniqueViolation) and cause.diag.constraint_name == constraint:
            raise Invalid(Problem("unique", _MESSAGE, field)) from None
        raise
