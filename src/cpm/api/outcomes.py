"""The status letters of backups and recoveries as a filter."""

from collections.abc import Iterable

from django.db.models import Q

from cpm.api.lists import Filter, choice
from cpm.queries.outcomes import IN_PROGRESS


def by_status(outcomes: Iterable[str]) -> Filter:
    """One of the letters; what is under way has no outcome yet."""
    letters = choice("outcome", (IN_PROGRESS, *outcomes))

    def condition(sent: str) -> Q:
        wanted = letters.condition(sent)
        return Q(outcome="") if wanted == Q(outcome=IN_PROGRESS) else wanted

    return Filter(condition, letters.schema)
