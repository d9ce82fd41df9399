"""A call on its way to the function that answers it, and the table of those functions."""

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cpm.kernel import clock
from cpm.simulator.config import Config
from cpm.simulator.credentials import Identity, Keyring
from cpm.simulator.operations import Operation
from cpm.simulator.web import Answer, Request


@dataclass(frozen=True)
class Call:
    """One authenticated call with its parameters, by the names of the API reference."""

    operation: Operation
    caller: Identity
    params: Mapping[str, Any]
    config: Config
    keyring: Keyring
    unlisted_seconds: float = 0.0
    request: Request | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def account(self) -> str:
        """The account that pays for, and owns, what the call makes."""
        return self.caller.account

    @property
    def region(self) -> str:
        """The region that the call was signed for."""
        return self.operation.region

    @property
    def body(self) -> bytes:
        """The body as it came."""
        return self.request.body if self.request else b""

    def body_digest(self) -> bytes:
        """The SHA-256 of the body."""
        return self.request.body_digest if self.request else hashlib.sha256(b"").digest()

    def get(self, name: str, default: Any = None) -> Any:
        """The parameter, or `default` when the client left it out."""
        return self.params.get(name, default)

    def listed_at(self) -> datetime:
        """When what this call makes shows up in listings."""
        return clock.now() + timedelta(seconds=self.unlisted_seconds)


Handler = Callable[[Call], Mapping[str, Any]]


@dataclass(frozen=True)
class Direct:
    """An operation that reads its request and writes its answer itself.

    It takes the lock of the call for as long as it looks at the state, and never while it moves
    data.
    """

    read: Callable[[Request], Mapping[str, Any]]
    answer: Callable[[Call], Answer]


@dataclass
class Handlers:
    """The operations that this layer answers itself; moto answers all others."""

    _by_name: dict[str, Handler] = field(default_factory=dict)
    _direct: dict[str, Direct] = field(default_factory=dict)

    def add(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Let `handlers`, by operation name, answer for `service`; an operation has one answer."""
        for name, handler in handlers.items():
            key = f"{service}:{name}"
            if key in self._by_name:
                raise ValueError(f"{key} is answered twice")
            self._by_name[key] = handler

    def add_direct(self, service: str, operations: Mapping[str, Direct]) -> None:
        """Let these operations of `service` answer for themselves."""
        self._direct.update({f"{service}:{name}": one for name, one in operations.items()})

    def find_direct(self, operation: Operation) -> Direct | None:
        """The operation, when it answers for itself."""
        return self._direct.get(str(operation))

    def find(self, operation: Operation) -> Handler | None:
        """The function that answers `operation`, None when it is moto's."""
        return self._by_name.get(str(operation))
