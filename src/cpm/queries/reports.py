"""Reads of reports: what has happened, and what is protected, over all that a viewer sees."""

from collections.abc import Collection

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Case, Exists, F, Max, OuterRef, Q, QuerySet, Subquery, When

from cpm.models.audit import AuditEntry
from cpm.models.backups import Backup
from cpm.models.discoveries import Discovered
from cpm.models.policies import Target
from cpm.models.snapshots import Snapshot
from cpm.queries import backups as records
from cpm.queries.people import Person, owned_by

# Targets that agree in these mean the same resource.
_RESOURCE = ("policy__account", "kind", "region", "resource_id")


def backups(viewer: Person) -> QuerySet[Backup]:
    """The records of runs."""
    return records.visible_to(viewer)


def snapshots(viewer: Person, without: Collection[str] = ()) -> QuerySet[Snapshot]:
    """The snapshots of all records, with the name of the instance that they belong to.

    Those of the collections in `without` are left out.
    """
    visible = Snapshot.objects.filter(owned_by(viewer, "backup__user"), backup__discarded_at=None)
    visible = visible.exclude(collection__in=without)
    is_of_instance = Q(target__resource_id=F("instance_id"))
    return visible.annotate(
        instance_name=Case(When(is_of_instance, then=F("target__resource_name")))
    )


def audit(viewer: Person) -> QuerySet[AuditEntry]:
    """The trail of those whose objects the viewer sees; root's has the server's own rows, too."""
    visible = owned_by(viewer)
    return AuditEntry.objects.filter(visible | Q(user=None) if viewer.acts_for_root else visible)


def protected_resources(viewer: Person) -> QuerySet[Target]:
    """Every resource that policies protect, once, with the names of these and their schedules.

    Of all targets that mean the same resource of one user's account, the first stands for it.
    """
    visible = Target.objects.filter(owned_by(viewer, "policy__user"))
    first = visible.order_by(*_RESOURCE, "pk").distinct(*_RESOURCE)
    same = _of_the_same()
    schedules = same.exclude(policy__schedules=None)
    last = same.values("resource_id").annotate(last=Max("protected_at"))
    return visible.filter(pk__in=first.values("pk")).annotate(
        policies=_names(same, "policy__name"),
        schedules=_names(schedules, "policy__schedules__name"),
        last_success_at=Subquery(last.values("last")),
    )


def unprotected_resources(viewer: Person) -> QuerySet[Discovered]:
    """What was last seen in the accounts and no policy of its user protects, neither itself nor
    what it is part of.
    """
    same_place = Target.objects.filter(
        policy__account=OuterRef("account"), region=OuterRef("region")
    ).order_by()
    itself = same_place.filter(kind=OuterRef("kind"), resource_id=OuterRef("resource_id"))
    whole = same_place.filter(resource_id=OuterRef("part_of"))
    visible = Discovered.objects.filter(owned_by(viewer, "account__user"))
    return visible.filter(~Exists(itself), ~Exists(whole))


def is_protected_by(policy_id: int) -> Q:
    """The condition that a policy has a target that means the same resource."""
    return Q(Exists(_of_the_same().filter(policy=policy_id)))


def _of_the_same() -> QuerySet[Target]:
    """All targets that mean the resource of the outer one."""
    return Target.objects.filter(**{name: OuterRef(name) for name in _RESOURCE}).order_by()


def _names(targets: QuerySet[Target], path: str) -> ArraySubquery:
    return ArraySubquery(targets.order_by(path).values(path).distinct())
