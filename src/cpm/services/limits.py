"""What a user may have at most, and what the licence allows the whole server.

Whoever adds something holds the lock of its owner until the transaction ends, so that two who add
the last one at the same time do not both succeed.
"""

from django.db.models import Sum

from cpm.engine.settings import Licence
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.accounts import Account
from cpm.models.policies import Target
from cpm.models.users import User
from cpm.resources import registry
from cpm.resources.contract import Driver
from cpm.services.errors import Unlicensed

# Limits of this ending count sizes, the others count resources.
_SIZE = "_gib"


def lock_owner(owner_id: int) -> User:
    """The user whose limits are about to be checked, locked against everybody else who adds."""
    return User.objects.select_for_update(no_key=True).get(pk=owner_id)


def check_accounts(owner: User) -> None:
    """Raise `Invalid` or `Unlicensed` unless one more account fits; `owner` is locked."""
    _check("max_accounts", owner, Account.objects.filter(user=owner).count() + 1)
    allowed = Licence.locked().max_accounts
    if allowed is not None and Account.objects.count() >= allowed:
        raise Unlicensed(f"The licence allows {allowed} accounts (max_accounts).")


def check_targets(owner: User, driver: Driver) -> None:
    """Raise `Invalid` when the owner's targets of a type, or its like, are beyond their limit.

    Called after the change, in its transaction. A resource counts once, in however many policies.
    """
    if not driver.limit or getattr(owner, driver.limit) is None:
        return
    kinds = [each.kind for each in registry.drivers() if each.limit == driver.limit]
    resources = (
        Target.objects.filter(policy__user=owner, kind__in=kinds)
        .order_by("policy__account", "kind", "region", "resource_id", "-size_gib")
        .distinct("policy__account", "kind", "region", "resource_id")
    )
    if driver.limit.endswith(_SIZE):
        sizes = Target.objects.filter(pk__in=resources.values("pk"))
        _check(driver.limit, owner, sizes.aggregate(total=Sum("size_gib"))["total"] or 0)
    else:
        _check(driver.limit, owner, resources.count())


def _check(limit: str, owner: User, wanted: int) -> None:
    allowed: int | None = getattr(owner, limit)
    if allowed is not None and wanted > allowed:
        raise Invalid(
            Problem("limit_exceeded", f"{limit}: {allowed} are allowed, this would make {wanted}.")
        )
