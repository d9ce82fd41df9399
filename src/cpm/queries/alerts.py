"""Reads of alerts."""

from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce

from cpm.models.alerts import Alert
from cpm.models.users import User, UserKind
from cpm.queries.people import Person, owned_by


def visible_to(viewer: Person) -> QuerySet[Alert]:
    """The alerts that somebody sees, with `owner_id`: the server's own are root's."""
    mine = owned_by(viewer)
    if viewer.acts_for_root:
        mine |= Q(user=None)
    root = User.objects.filter(kind=UserKind.ROOT).values("pk")
    return Alert.objects.filter(mine).annotate(owner_id=Coalesce("user_id", root))
