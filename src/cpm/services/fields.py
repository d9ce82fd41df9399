"""What the fields of a write may hold, declared once per noun.

A declaration reads plain values as they come from JSON (numbers and booleans may be texts, as in
forms), and it is what the OpenAPI document says of a body. Rules that need other fields or rows
are in the services.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cpm.kernel.invalid import Invalid, Problem
from cpm.services.given import Given

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value may be. `read` returns the value to use, or raises `Invalid`."""

    read: Callable[[Any], Any]
    schema: Schema
    nested: "Fields | None" = None


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a body.

    `required` means on create; on update nothing is. A `fixed` one is ignored on update. `aliases`
    are other names under which it may be sent.
    """

    name: str
    kind: Kind
    required: bool = False
    nullable: bool = False
    fixed: bool = False
    aliases: tuple[str, ...] = ()
    description: str = ""

    def sent_as(self, data: Mapping[str, object]) -> str | None:
        """The name under which it is in `data`, if it is."""
        return next((name for name in (self.name, *self.aliases) if name in data), None)

    def read(self, value: object) -> Any:
        """The value to use; raises `Invalid` with problems named from this field on."""
        if value is None:
            if self.nullable:
                return None
            raise Invalid(Problem("null", "This field may not be null.", self.name))
        try:
            return self.kind.read(value)
        except Invalid as error:
            raise Invalid(*(self._named(problem) for problem in error.problems)) from None

    def _named(self, problem: Problem) -> Problem:
        path = f"{self.name}.{problem.field}" if problem.field else self.name
        return replace(problem, field=path)


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one kind of body, in the order in which they are documented."""

    of: tuple[Field, ...]

    def __iter__(self) -> Iterator[Field]:
        return iter(self.of)

    def read(self, data: Mapping[str, object], *, partial: bool = False) -> Given:
        """Read a body: `partial` on update, where what is left out stays as it is."""
        given = Given()
        for one in self.of:
            sent_as = one.sent_as(data)
            if sent_as is None:
                if one.required and not partial:
                    given.refuse(one.name, "required", "This field is required.")
            elif not (partial and one.fixed):
                try:
                    given[one.name] = one.read(data[sent_as])
                except Invalid as error:
                    given.problems.extend(error.problems)
        return given
