"""What messages to users say: the same facts as JSON for programs and as text for people."""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cpm.engine.settings import Identifier
from cpm.kernel import clock, times
from cpm.models.alerts import Alert, AlertSeverity
from cpm.models.notifications import Channel, Delivery, DeliveryKind

Json = dict[str, Any]

RAISED, RESOLVED = "raised", "resolved"
# Messages of all alerts together have to fit into what SNS takes, 256 KiB.
_LONGEST_MESSAGE = 500
_LONGEST_SUBJECT = 100
_SEVERITIES = (AlertSeverity.ERROR, AlertSeverity.WARNING, AlertSeverity.INFO)


@dataclass(frozen=True)
class Message:
    """One message, ready to be sent in whatever way."""

    # By which a receiver knows that he has had it already.
    key: str
    kind: str
    # The worst of what it is about, or nothing.
    severity: str
    subject: str
    text: str
    # The JSON that programs read.
    body: str
    server_id: str


def write(channel: Channel, kind: DeliveryKind, facts: Mapping[str, Any]) -> Delivery:
    """Store a message to a channel, to be sent at once."""
    key, now, server = uuid.uuid4(), clock.now(), Identifier.current()
    content = {
        "delivery_id": str(key),
        "kind": kind.value,
        "created_time": times.to_wire(now),
        "server": {"name": server.cpm_name, "id": server.cpm_uuid},
        "user": channel.user.username,
        "channel": channel.name,
        **facts,
    }
    body = json.dumps(content, ensure_ascii=False)
    return Delivery.objects.create(
        channel=channel, kind=kind, key=key, body=body, created_at=now, due_at=now
    )


def about(alert: Alert) -> Json:
    """An alert as messages tell of it."""
    resolved_at = alert.resolved_at
    return {
        "event": RAISED if resolved_at is None else RESOLVED,
        "id": alert.pk,
        "category": alert.category,
        "severity": alert.severity,
        "title": alert.title,
        "message": alert.message[:_LONGEST_MESSAGE],
        "occurrences": alert.count,
        "alert_time": times.to_wire(alert.raised_at),
        "resolved_time": None if resolved_at is None else times.to_wire(resolved_at),
        "policy": alert.policy.name if alert.policy else None,
    }


def of(delivery: Delivery) -> Message:
    """The message that a row holds."""
    content = json.loads(delivery.body)
    server = content["server"]
    subject = " ".join(f"[{server['name']}] {_subject(content)}".split())
    return Message(
        key=content["delivery_id"],
        kind=content["kind"],
        severity=_worst(content),
        subject=subject[:_LONGEST_SUBJECT],
        text="\n".join([*_lines(content), "", f"Sent by {server['name']} ({server['id']})."]),
        body=delivery.body,
        server_id=server["id"],
    )


def _subject(content: Json) -> str:
    if content["kind"] == DeliveryKind.TEST:
        return "Test message"
    if content["kind"] == DeliveryKind.SUMMARY:
        return f"Daily summary: {_number(content['open_alerts'], 'open alert')}"
    alerts = content["alerts"]
    if len(alerts) == 1:
        return f"{_heading(alerts[0])}: {alerts[0]['title']}"
    raised = sum(alert["event"] == RAISED for alert in alerts)
    return f"{_number(raised, 'alert')} raised, {len(alerts) - raised} resolved"


def _worst(content: Json) -> str:
    found = {each["severity"] for each in content.get("alerts", ()) if each["event"] == RAISED}
    return next((severity.value for severity in _SEVERITIES if severity in found), "")


def _lines(content: Json) -> Iterator[str]:
    if content["kind"] == DeliveryKind.TEST:
        yield f"This is a test of channel {content['channel']}. It works."
    if content["kind"] == DeliveryKind.SUMMARY:
        yield from _summary(content)
    for alert in content.get("alerts", ()):
        yield ""
        yield f"{_heading(alert)}, {alert['category']}: {alert['title']}"
        yield f"  {alert['message']}"
        yield f"  {_when(alert)}"


def _summary(content: Json) -> Iterator[str]:
    yield f"From {content['from_time']} to {content['to_time']}:"
    for what, counts in content["counts"].items():
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "none"
        yield f"  {what}: {told}"
    yield "  Open alerts:" if content["open_alerts"] else "  No open alerts."
    if content["open_alerts"] > len(content["alerts"]):
        yield f"  (the newest {len(content['alerts'])} of {content['open_alerts']})"


def _heading(alert: Json) -> str:
    return "Resolved" if alert["event"] == RESOLVED else str(alert["severity"])


def _when(alert: Json) -> str:
    until = f", resolved {alert['resolved_time']}" if alert["resolved_time"] else ""
    return f"Since {alert['alert_time']}, {_number(alert['occurrences'], 'time')}{until}."


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
