"""Takes what each process has counted to the database, where all processes count together."""

import threading
from collections.abc import Mapping

import structlog
from django.db import connection, transaction

from cpm.kernel import counters

log = structlog.get_logger(__name__)

# As often as Prometheus looks when it looks often.
FLUSH_SECONDS = 15.0

_ADD = """\
INSERT INTO cpm_metric AS old (series, value)
SELECT * FROM unnest(%s::text[], %s::float8[])
ON CONFLICT (series) DO UPDATE SET value = """
_SUM = f"{_ADD} old.value + excluded.value"
_MOST = f"{_ADD} greatest(old.value, excluded.value)"


def flush() -> None:
    """Keep what this process has counted; what cannot be kept now is kept the next time."""
    collected = counters.collect()
    try:
        with transaction.atomic():
            _write(_SUM, collected.counts)
            _write(_MOST, collected.marks)
    except Exception:
        counters.put_back(collected)
        raise


def keep_flushing() -> None:
    """Flush now and then, in a thread that ends with the process."""
    threading.Thread(target=_flush_for_ever, name="metrics", daemon=True).start()


def _flush_for_ever() -> None:
    never = threading.Event()
    while not never.wait(FLUSH_SECONDS):
        try:
            flush()
        except Exception as trouble:  # noqa: BLE001 - the database is away; counting goes on
            log.debug("metrics.not_kept", trouble=str(trouble))
        finally:
            connection.close()


def _write(statement: str, values: Mapping[str, float]) -> None:
    if not values:
        return
    # In one order everywhere, so that no two processes wait for each other.
    names = sorted(values)
    with connection.cursor() as cursor:
        cursor.execute(statement, [names, [values[name] for name in names]])
