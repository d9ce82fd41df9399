"""References to what is not in the body: other objects, and regions."""

from collections.abc import Sequence

from django.db.models import QuerySet

from cpm.kernel import regions
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.accounts import Account
from cpm.services.fields import Kind
from cpm.services.given import Given
from cpm.services.kinds import region

# Users of what is to be deleted that a refusal names.
_MOST_NAMED = 20


def refuse(given: Given, field: str, value: object) -> None:
    """Note that `field` names something that is not there, or not for this owner."""
    message = f'Invalid pk "{str(value)[:100]}" - object does not exist.'
    given.refuse(field, "does_not_exist", message)


def refuse_foreign_account(given: Given, own: QuerySet[Account]) -> None:
    """Note an account that is not one of `own`; one that is stays until the transaction ends."""
    if "account" not in given:
        return
    if not own.select_for_update(no_key=True).filter(pk=given["account"]).exists():
        refuse(given, "account", given["account"])


def in_use(what: str, uses: Sequence[str]) -> Invalid:
    """Why something cannot be deleted: the error that names what uses it, in words."""
    others = len(uses) - _MOST_NAMED
    named = [*uses[:_MOST_NAMED], *([f"{others} others"] if others > 0 else [])]
    return Invalid(Problem("in_use", f"The {what} is used by {', '.join(named)}."))


def region_name() -> Kind:
    """A region, by id or name; read as its name, which is what rows about AWS hold."""
    kind = region()

    def read(value: object) -> str:
        return _NAMES[kind.read(value)]

    return Kind(read, kind.schema)


_NAMES = {each.id: each.name for each in regions.REGIONS}
