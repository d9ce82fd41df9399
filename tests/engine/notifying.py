"""A user who is told of alerts, and the time that it takes."""

from datetime import timedelta
from typing import Any

from django.conf import settings

from cpm.engine import alerts, queue, sweep, worker
from cpm.kernel import clock
from cpm.models.alerts import AlertCategory, AlertSeverity
from cpm.models.notifications import Channel, ChannelType
from cpm.models.policies import Policy
from cpm.models.users import User, UserKind
from tests.receivers import Receiver

SECRET = "a secret of at least sixteen"
ERROR, WARNING, INFO = AlertSeverity.ERROR, AlertSeverity.WARNING, AlertSeverity.INFO

assert worker.LOOKS  # imported, so that this process can do every job


def make_user(name: str = "nora", kind: UserKind = UserKind.MANAGED) -> User:
    return User.objects.create(username=name, kind=kind, created_at=clock.now())


def webhook(user: User, receiver: Receiver, name: str = "pager", **columns: Any) -> Channel:
    """A channel to the receiver."""
    return Channel.objects.create(
        user=user,
        name=name,
        channel_type=ChannelType.WEBHOOK,
        url=receiver.url,
        sealed_secret=settings.SEALER.seal(SECRET),
        **columns,
    )


def raise_one(
    user: User | None,
    cause: str = "x",
    severity: AlertSeverity = ERROR,
    category: AlertCategory = AlertCategory.BACKUP,
    policy: Policy | None = None,
) -> None:
    """Something is wrong; the alert is called as its cause."""
    alerts.raise_alert(
        cause,
        user=user,
        category=category,
        severity=severity,
        title=cause,
        message=f"Why {cause}.",
        policy=policy,
    )


def work() -> None:
    """Do what is due now, and what becomes due by that."""
    for _ in range(2):
        sweep.sweep()
        while queue.run_next():
            pass


def after(**span: float) -> None:
    """Let time pass, and then do what is due."""
    clock.set_offset(clock._offset + timedelta(**span))
    work()
