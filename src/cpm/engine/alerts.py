"""Alerts: one row per cause while the cause lasts, however often it shows itself.

A cause that comes back soon after it had gone is still the same one: it does not flap.
"""

from dataclasses import dataclass, field

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet

from cpm.engine import notices
from cpm.engine.notices import COOL_DOWN
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


@transaction.atomic
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
    """Open an alert for `cause`, or count one more occasion on the one that is open.

    One that was resolved only just now is opened again.
    """
    new = Alert(
        user=user,
        cause=cause,
        category=category,
        severity=severity,
        title=title[:_TITLE_LENGTH],
        message=message,
        policy=policy,
        raised_at=clock.now(),
    )
    if not (_count_one_more(_open(cause), new) or _begin(new)):
        _count_one_more(_open(cause), new)  # another process opened it just now
    for alert in _open(cause):
        notices.tell_of(alert)


def resolve(*causes: str) -> None:
    """Close the alerts whose cause is gone; nothing happens where there is none."""
    ids = list(_open(*causes).values_list("pk", flat=True))
    if ids:
        with transaction.atomic():
            Alert.objects.filter(pk__in=ids, resolved_at=None).update(resolved_at=clock.now())
            notices.take_back(ids)


def resolve_about(subject: str) -> None:
    """Close all alerts about something that is being deleted, as `policy:7`."""
    about = Alert.objects.filter(resolved_at=None, cause__regex=rf"(^|:){subject}(:|$)")
    resolve(*about.values_list("cause", flat=True))


def _open(*causes: str) -> QuerySet[Alert]:
    return Alert.objects.filter(cause__in=causes, resolved_at=None)


def _begin(new: Alert) -> bool:
    """Open the alert of this cause that was resolved just now, or else the new one."""
    lately = Alert.objects.filter(cause=new.cause, resolved_at__gt=clock.now() - COOL_DOWN)
    try:
        with transaction.atomic():
            last = lately.order_by("-resolved_at").values("pk")[:1]
            again = Alert.objects.filter(pk__in=last, resolved_at__isnull=False)
            if not _count_one_more(again, new):
                new.save(force_insert=True)
    except IntegrityError:
        return False
    return True


def _count_one_more(alerts: QuerySet[Alert], new: Alert) -> bool:
    return bool(
        alerts.update(
            count=F("count") + 1,
            severity=new.severity,
            title=new.title,
            message=new.message,
            resolved_at=None,
        )
    )
