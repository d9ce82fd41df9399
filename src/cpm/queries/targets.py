"""Reads of targets: what policies protect, and the volumes that targets name."""

from django.db.models import QuerySet

from cpm.models.policies import Target, TargetVolume
from cpm.queries.people import Person, owned_by
from cpm.resources.contract import Driver


def of_policy(viewer: Person, policy_id: int) -> QuerySet[Target]:
    """The targets of a policy, if the viewer sees it."""
    return Target.objects.filter(owned_by(viewer, "policy__user"), policy=policy_id)


def of_type(viewer: Person, policy_id: int, driver: Driver) -> QuerySet[Target]:
    """Those of one resource type."""
    return of_policy(viewer, policy_id).filter(kind=driver.kind)


def volumes(
    viewer: Person, policy_id: int, driver: Driver, target_id: int
) -> QuerySet[TargetVolume]:
    """The volumes that a target names."""
    return TargetVolume.objects.filter(
        owned_by(viewer, "target__policy__user"),
        target__policy=policy_id,
        target__kind=driver.kind,
        target=target_id,
    )
