"""What users have, as their limits count it: resources, or GiB as AWS last said them.

A resource counts once, in however many policies it is. Whoever adds holds the owner's lock, so
that two who add the last one at the same time do not both succeed.
"""

from collections import defaultdict

from django.db.models import Count, QuerySet, Sum

from cpm.models.policies import Target
from cpm.models.users import User
from cpm.resources import registry
from cpm.resources.contract import Driver

# Limits of this ending count sizes, the others count resources.
_SIZE = "_gib"

_Resource = tuple[int, str, str, str]


def lock_owner(owner_id: int) -> User:
    """The user whose limits are about to be checked, locked against everybody else who adds."""
    return User.objects.select_for_update(no_key=True).get(pk=owner_id)


def excess(owner: User, limit: str) -> str | None:
    """Why what the owner has is too much, None where it is not; asked after something was added."""
    if not limit or _allowed(owner, limit) is None:
        return None
    resources = _counted(owner, limit)
    if not limit.endswith(_SIZE):
        return complaint(owner, limit, resources.count())
    sizes = Target.objects.filter(pk__in=resources.values("pk"))
    return complaint(owner, limit, sizes.aggregate(total=Sum("size_gib"))["total"] or 0)


def totals(limit: str) -> dict[int, int]:
    """What all users have of what a limit counts, by the id of the user, where it is something."""
    counted = _resources(Target.objects.all(), limit)
    total = Sum("size_gib") if limit.endswith(_SIZE) else Count("pk")
    rows = Target.objects.filter(pk__in=counted.values("pk")).order_by().values("policy__user")
    return dict(rows.annotate(total=total).values_list("policy__user", "total"))


def complaint(owner: User, limit: str, wanted: int) -> str | None:
    """What there is to say against so many, None where they are allowed."""
    allowed = _allowed(owner, limit)
    if allowed is None or wanted <= allowed:
        return None
    return f"{limit}: {allowed} are allowed, this would make {wanted}."


class Room:
    """What still fits into the limits of a user, for those who add many targets at once."""

    def __init__(self, owner: User) -> None:
        self._owner = owner
        self._sizes: dict[str, dict[_Resource, int]] = {}

    def take(self, target: Target, driver: Driver) -> str | None:
        """Count a target that is to be added; says why it cannot, and counts it not, if so."""
        limit = driver.limit
        if not limit or _allowed(self._owner, limit) is None:
            return None
        sizes = self._of(limit)
        key = (target.policy.account_id, target.kind, target.region, target.resource_id)
        size = max(sizes.get(key, 0), target.size_gib)
        if limit.endswith(_SIZE):
            wanted = sum(sizes.values()) - sizes.get(key, 0) + size
        else:
            wanted = len(sizes.keys() | {key})
        refusal = complaint(self._owner, limit, wanted)
        if refusal is None:
            sizes[key] = size
        return refusal

    def _of(self, limit: str) -> dict[_Resource, int]:
        if limit not in self._sizes:
            columns = ("policy__account", "kind", "region", "resource_id", "size_gib")
            found = _counted(self._owner, limit).values_list(*columns)
            sizes: dict[_Resource, int] = defaultdict(int, {row[:4]: row[4] for row in found})
            self._sizes[limit] = sizes
        return self._sizes[limit]


def _allowed(owner: User, limit: str) -> int | None:
    allowed: int | None = getattr(owner, limit)
    return allowed


def _counted(owner: User, limit: str) -> QuerySet[Target]:
    return _resources(Target.objects.filter(policy__user=owner), limit)


def _resources(targets: QuerySet[Target], limit: str) -> QuerySet[Target]:
    """One target for each resource that counts, the largest that it was seen as."""
    kinds = [driver.kind for driver in registry.drivers() if driver.limit == limit]
    resource = ("policy__account", "kind", "region", "resource_id")
    return targets.filter(kind__in=kinds).order_by(*resource, "-size_gib").distinct(*resource)
