"""Alerts: one row per cause while the cause lasts, however often it shows itself."""

from dataclasses import dataclass, field

from django.db import IntegrityError, transaction
from django.db.models import F

from cpm.kernel import clock
from cpm.models.alerts import Alert, AlertCategory, AlertSeverity
from cpm.models.policies import Policy
from cpm.models.users import User

_TITLE_LENGTH = 200
_MOST_NAMED = 5


@dataclass
class Tally:
    """Things of which an alert says how many there are, and names the first."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """One more."""
        self.count += 1
        if len(self.first) < _MOST_NAMED:
            self.first.append(name)

    def __add__(self, more: "Tally") -> "Tally":
        return Tally(self.count + more.count, (self.first + more.first)[:_MOST_NAMED])

    def __str__(self) -> str:
        others = self.count - len(self.first)
        return ", ".join(self.first) + (f" and {others} others" if others else "")


def raise_alert(
    cause: str,
    *,
    user: User | None,
    category: AlertCategory,
    title: str,
    message: str,
    severity: AlertSeverity = AlertSeverity.ERROR,
    policy: Policy | None = None,
) -> None:
    """Open an alert for `cause`, or count one more occasion on the open one."""
    if _count_one_more(cause, severity, message):
        return
    try:
        with transaction.atomic():
            Alert.objects.create(
                user=user,
                cause=cause,
                category=category,
                severity=severity,
                title=title[:_TITLE_LENGTH],
                message=message,
                policy=policy,
                raised_at=clock.now(),
            )
    except IntegrityError:
        _count_one_more(cause, severity, message)  # another process opened it just now


def resolve(*causes: str) -> None:
    """Close the alerts whose cause is gone; nothing happens where there is none."""
    Alert.objects.filter(cause__in=causes, resolved_at=None).update(resolved_at=clock.now())


def _count_one_more(cause: str, severity: AlertSeverity, message: str) -> bool:
    still_open = Alert.objects.filter(cause=cause, resolved_at=None)
    return bool(still_open.update(count=F("count") + 1, severity=severity, message=message))
