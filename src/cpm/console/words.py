"""How values read on a page."""

from datetime import datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from cpm.kernel import times
from cpm.models.backups import BackupOutcome, CopyStatus
from cpm.queries.outcomes import IN_PROGRESS

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


@register.filter
def status(outcome: str) -> SafeString:
    """A status as a coloured word; an outcome is empty while there is none."""
    letter = outcome or IN_PROGRESS
    tone = _TONES.get(letter, "quiet")
    return format_html('<span class="status {}">{}</span>', tone, _WORDS[letter])


@register.filter
def moment(at: datetime | None) -> SafeString | str:
    """A time for people, with the exact one for programs; a dash where there is none."""
    if at is None:
        return "-"
    shown = f"{at:%Y-%m-%d %H:%M} UTC"
    return format_html('<time datetime="{}">{}</time>', times.to_wire(at), shown)
