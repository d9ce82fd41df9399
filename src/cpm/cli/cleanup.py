"""`cpm cleanup`: has everything cleaned up now."""

from cpm.cli import asking
from cpm.cli.asking import reasons
from cpm.cli.connection import connect
from cpm.cli.following import WaitOption, refuse_without_workers, watch
from cpm.cli.terminal import DataOption, JsonOption, print_json, say, show_one


def cleanup(
    data: DataOption = None, *, wait: WaitOption = True, as_json: JsonOption = False
) -> None:
    """Apply retention, ask for refused deletions again, and forget what is old, now."""
    connect(data)
    from cpm.engine.settings import Cleanup
    from cpm.models.events import Stream
    from cpm.queries import events
    from cpm.queries import settings as queries
    from cpm.services import settings

    actor = asking.person(None)
    refuse_without_workers()
    log = events.newer_than_now(actor, Stream.CLEANUP)
    with reasons():
        settings.clean_up(actor=actor)
    if not wait:
        say("Started the cleanup.")
        return

    def progress() -> int | None:
        return None if queries.current(actor, Cleanup).is_wanted else 100

    watch("cleanup", log, progress)
    finished = log.filter(code="cleanup_finished").order_by("pk").last()
    done = finished.values if finished else {}
    if as_json:
        print_json(done)
    else:
        show_one(done)
