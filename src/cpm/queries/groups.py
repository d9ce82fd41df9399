"""Reads of the identity provider's groups, which are the server's, and root's to see."""

from django.db.models import QuerySet

from cpm.models.groups import Group, GroupType
from cpm.queries.people import Person


def visible_to(viewer: Person) -> QuerySet[Group]:
    """All groups, for root and his delegates."""
    return Group.objects.all() if viewer.acts_for_root else Group.objects.none()


def of_type(viewer: Person, group_type: GroupType) -> QuerySet[Group]:
    """Those that make users, or those that make delegates."""
    return visible_to(viewer).filter(group_type=group_type)
