"""The status of whatever ends with an outcome: the outcome's letter, or that it is under way."""

from django.db.models import Case, F, TextChoices, Value, When

IN_PROGRESS = "P"

STATUS = Case(When(outcome="", then=Value(IN_PROGRESS)), default=F("outcome"))


def status(outcome: str) -> str:
    """The letter of a status; an outcome is empty as long as there is none."""
    return outcome or IN_PROGRESS


def words(outcomes: type[TextChoices]) -> dict[str, str]:
    """How the letters of a status read."""
    return {IN_PROGRESS: "In progress", **dict(outcomes.choices)}
