"""Alerts: one row per cause while the cause lasts, however often it shows itself."""

from django.db import IntegrityError, transaction
from django.db.models import F

from cpm.kernel import clock
from cpm.models.alerts import Alert, AlertCategory, AlertSeverity
from cpm.models.policies import Policy
from cpm.models.users import User

_TITLE_LENGTH = 200


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
