"""Asks for looks at what exists in the accounts."""

from cpm.engine import jobs
from cpm.models.accounts import Account
from cpm.queries.people import Person, owned_by


def ask_where_nobody_has_looked(actor: Person) -> None:
    """Have the accounts that the actor sees looked through, as far as none ever has been."""
    new = Account.objects.filter(owned_by(actor), is_dr_account=False, discovered_at=None)
    jobs.defer_discoveries(new.values_list("pk", flat=True))
