"""The trail of who changed what: a row beside every change, in the change's own transaction."""

from cpm.kernel import clock
from cpm.models.audit import AuditEntry
from cpm.queries.people import Person


def record(actor: Person | None, event_type: str, subject: str = "", description: str = "") -> None:
    """Note what `actor` has just done to `subject`; None stands for the server itself.

    Never hand it a secret: the trail outlives everything it speaks of.
    """
    AuditEntry.objects.create(
        at=clock.now(),
        user_id=actor.owner_id if actor else None,
        user_name=actor.owner_name if actor else "",
        delegate_name=actor.name if actor and actor.is_delegate else "",
        event_type=event_type,
        object=subject[:300],
        description=description,
        source_address=actor.source_address if actor else "",
    )


def record_failure(
    event_type: str, *, source_address: str, name: str = "", description: str = ""
) -> None:
    """Note an attempt of somebody who did not prove who he is; `name` is the one he tried."""
    AuditEntry.objects.create(
        at=clock.now(),
        user_name=name[:150],
        event_type=event_type,
        description=description,
        source_address=source_address,
    )
