"""Reads of schedules."""

from django.db.models import Case, IntegerField, QuerySet, Value, When

from cpm.kernel.schedule import Unit
from cpm.models.schedules import Schedule
from cpm.queries.people import Person, owned_by

# Units in the order of their length, which is not that of their letters.
UNIT_RANK = Case(
    *(When(every_unit=unit, then=Value(unit.rank)) for unit in Unit), output_field=IntegerField()
)


def visible_to(viewer: Person) -> QuerySet[Schedule]:
    """The schedules that somebody sees."""
    return Schedule.objects.filter(owned_by(viewer))
