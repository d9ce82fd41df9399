"""Going through several things, of which one at which our own code fails spoils no other."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from cpm.engine.queue import DATABASE_TROUBLE, Overtaken

log = structlog.get_logger(__name__)


class Several:
    """Remembers the first failure for the end, when the others have had their turn."""

    def __init__(self) -> None:
        self._failure: Exception | None = None

    @property
    def has_failed(self) -> bool:
        """Whether our own code has failed at one of them."""
        return self._failure is not None

    @contextmanager
    def each(self) -> Iterator[None]:
        """Do one of them; what somebody else has done meanwhile is left to him."""
        try:
            yield
        except DATABASE_TROUBLE:
            raise
        except Overtaken as reason:
            log.debug("one.overtaken", reason=str(reason))
        except Exception as failure:
            log.exception("one.failed")
            self._failure = self._failure or failure

    def end(self) -> None:
        """Raise the first failure, if there was one, so that the job is tried again."""
        if self._failure is not None:
            raise self._failure
