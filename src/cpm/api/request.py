"""What a view is given: a request that has passed every check that comes before the view."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec

from django.db.models import QuerySet
from django.http import HttpRequest

from cpm.api import bodies, statements
from cpm.api import rows as read
from cpm.api.negotiation import CSV, Wanted
from cpm.api.statements import Rows
from cpm.api.versions import Version
from cpm.queries.errors import NotFound
from cpm.queries.people import Person
from cpm.services.fields import Fields

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Request:
    """A request for one operation. `path` is the canonical form of the one that was asked for."""

    http: HttpRequest
    path: str
    wanted: Wanted
    asker: Person | None

    @property
    def person(self) -> Person:
        """Who asks, where the operation needs a token."""
        if self.asker is None:
            raise RuntimeError(f"{self.path} knows nobody")
        return self.asker

    @property
    def version(self) -> Version:
        """The version of the API in which the answer is to be."""
        return self.wanted.version

    @property
    def wants_csv(self) -> bool:
        """Whether the answer is to be a CSV file."""
        return self.wanted.media_type == CSV

    @property
    def source_address(self) -> str:
        """Where it comes from."""
        return str(self.http.META.get("REMOTE_ADDR", ""))

    def body(self, fields: Fields) -> bodies.Data:
        """The values of the body, as far as JSON or a form can tell."""
        return bodies.read(self.http, fields)

    def rows(
        self,
        compose: Callable[Concatenate[Person, P], QuerySet[Any]],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> Rows:
        """What a query, called with who asks and these arguments, lets him see."""
        return Rows(compose, (self.person, *arguments), tuple(named.items()))

    def must_see(self, rows: Rows, row_id: int) -> None:
        """Raise `NotFound` unless the id is among the rows: before a body is looked at."""
        if not read.few(statements.named(rows, ("pk",)).naming([row_id])):
            raise NotFound
