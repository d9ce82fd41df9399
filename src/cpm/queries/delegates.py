"""Reads of delegates."""

from django.db.models import QuerySet

from cpm.models.users import User, UserKind
from cpm.queries.people import Person, owned_by


def visible_to(viewer: Person) -> QuerySet[User]:
    """The delegates of users whose objects somebody sees."""
    return User.objects.filter(owned_by(viewer, "original_user"), kind=UserKind.DELEGATE)
