"""What a user may have at most, and what the licence allows the whole server.

Whoever adds something holds the lock of its owner until the transaction ends, so that two who add
the last one at the same time do not both succeed.
"""

from cpm.engine import usage
from cpm.engine.settings import Licence
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.accounts import Account
from cpm.models.users import User
from cpm.resources.contract import Driver
from cpm.services.errors import Unlicensed


def lock_owner(owner_id: int) -> User:
    """The user whose limits are about to be checked, locked against everybody else who adds."""
    return usage.lock_owner(owner_id)


def check_accounts(owner: User) -> None:
    """Raise `Invalid` or `Unlicensed` unless one more account fits; `owner` is locked."""
    accounts = Account.objects.filter(user=owner).count()
    _refuse(usage.complaint(owner, "max_accounts", accounts + 1))
    allowed = Licence.locked().max_accounts
    if allowed is not None and Account.objects.count() >= allowed:
        raise Unlicensed(f"The licence allows {allowed} accounts (max_accounts).")


def check_targets(owner: User, driver: Driver) -> None:
    """Raise `Invalid` when the owner's targets of a type, or its like, are beyond their limit.

    Called after the change, in its transaction.
    """
    _refuse(usage.excess(owner, driver.limit))


def _refuse(complaint: str | None) -> None:
    if complaint is not None:
        raise Invalid(Problem("limit_exceeded", complaint))
