"""How values read on a page."""

import re
from datetime import datetime
from urllib.parse import urlsplit

from django import template
from django.urls import reverse
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from cpm.console import advice as known
from cpm.engine import events
from cpm.engine.s3_progress import Progress
from cpm.kernel import amounts, times
from cpm.models.alerts import AlertSeverity
from cpm.models.backups import BackupOutcome, CopyStatus
from cpm.models.events import Event, Severity
from cpm.models.notifications import Channel, ChannelType, Delivery, DeliveryOutcome
from cpm.models.s3_copies import S3Copy
from cpm.models.snapshots import SnapshotStatus
from cpm.queries.outcomes import IN_PROGRESS
from cpm.resources import registry

register = template.Library()

# What a reader's eye is to find first, by the letter of the status.
_TONES = {
    BackupOutcome.SUCCEEDED: "good",
    CopyStatus.SUCCEEDED: "good",
    BackupOutcome.PARTIAL: "warning",
    BackupOutcome.FAILED: "bad",
    IN_PROGRESS: "busy",
}
_WORDS = {
    **dict(CopyStatus.choices),
    **dict(BackupOutcome.choices),
    IN_PROGRESS: "In progress",
}
_ARRIVALS = {
    "": ("busy", "On its way"),
    DeliveryOutcome.DELIVERED: ("good", "Arrived"),
    DeliveryOutcome.GIVEN_UP: ("bad", "Given up"),
}
_SEVERITY_TONES = {AlertSeverity.ERROR: "bad", AlertSeverity.WARNING: "warning"}
_SEVERITIES = dict(Severity.choices)
_RECORD = re.compile(r"\b(backup|recovery) ([0-9]{1,18})\b", re.IGNORECASE)


@register.filter
def status(outcome: str) -> SafeString:
    """A status as a coloured word; an outcome is empty while there is none."""
    letter = outcome or IN_PROGRESS
    return coloured(_TONES.get(letter, "quiet"), _WORDS[letter])


@register.filter
def severity(letter_or_word: str) -> SafeString:
    """How much a line or an alert matters, as a coloured word."""
    word = _SEVERITIES.get(letter_or_word, letter_or_word)
    return coloured(_SEVERITY_TONES.get(AlertSeverity(word), "quiet"), word)


@register.filter
def arrival(delivery: Delivery) -> SafeString:
    """Whether a message has arrived, as a coloured word."""
    if delivery.attempts and not delivery.outcome:
        return coloured("warning", "Not arrived yet")
    return coloured(*_ARRIVALS[delivery.outcome])


@register.filter
def leads_to(channel: Channel) -> str:
    """Where a channel leads, in short: addresses of webhooks often hold what is not for all."""
    if channel.channel_type == ChannelType.WEBHOOK:
        return urlsplit(channel.url).hostname or ""
    return channel.email or channel.topic_arn.rpartition(":")[2] or "-"


@register.filter
def archived(copy: S3Copy) -> SafeString:
    """How a copy in S3 stands, as a coloured word."""
    if copy.snapshot.status == SnapshotStatus.DELETED:
        return coloured("quiet", SnapshotStatus.DELETED.label)
    # Whose turn has come has a time at which it is looked at.
    if not copy.outcome and copy.due_at is None:
        return coloured("quiet", "Waits for its turn")
    return status(copy.outcome)


@register.filter
def how_far(measured: object) -> Progress | None:
    """How far copies to S3 or restores from it are; None where none is under way."""
    return Progress.of(measured)


@register.filter
def data(size_bytes: int) -> str:
    """An amount of data."""
    return amounts.size(size_bytes)


@register.filter
def moment(at: datetime | None) -> SafeString | str:
    """A time for people, with the exact one for programs; a dash where there is none."""
    return _time(at, "%Y-%m-%d %H:%M UTC")


@register.filter
def second(at: datetime | None) -> SafeString | str:
    """The same, to the second."""
    return _time(at, "%Y-%m-%d %H:%M:%S UTC")


@register.filter
def text(line: Event) -> SafeString:
    """What a line of a log says."""
    return with_links(events.text(line.code, line.values))


@register.filter
def with_links(said: str) -> SafeString:
    """A text that leads to the records that it names."""

    def link(named: re.Match[str]) -> str:
        return f'<a href="{reverse(named[1].lower(), args=[named[2]])}">{named[0]}</a>'

    return mark_safe(_RECORD.sub(link, escape(said)))  # noqa: S308 - escaped, and links of our own


@register.filter
def advice(cause: str) -> str:
    """What to do about what causes an alert."""
    return known.about(cause)


@register.filter
def kind(of_resource: str) -> str:
    """What a resource type is called."""
    return registry.driver(of_resource).label


def coloured(tone: str, word: str) -> SafeString:
    """A word that says by its colour how things stand."""
    return format_html('<span class="status {}">{}</span>', tone, word)


def _time(at: datetime | None, form: str) -> SafeString | str:
    if at is None:
        return "-"
    return format_html('<time datetime="{}">{}</time>', times.to_wire(at), at.strftime(form))
