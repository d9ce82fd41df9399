"""A call on its way to the function that answers it, and the table of those functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cpm.kernel import clock
from cpm.simulator.config import Config
from cpm.simulator.credentials import Identity, Keyring
from cpm.simulator.operations import Operation


@dataclass(frozen=True)
class Call:
    """One authenticated call with its parameters, by the names of the API reference."""

    operation: Operation
    caller: Identity
    params: Mapping[str, Any]
    config: Config
    keyring: Keyring
    unlisted_seconds: float = 0.0

    @property
    def account(self) -> str:
        """The account that pays for, and owns, what the call makes."""
        return self.caller.account

    @property
    def region(self) -> str:
        """The region that the call was signed for."""
        return self.operation.region

    def get(self, name: str, default: Any = None) -> Any:
        """The parameter, or `default` when the client left it out."""
        return self.params.get(name, default)

    def listed_at(self) -> datetime:
        """When what this call makes shows up in listings."""
        return clock.now() + timedelta(seconds=self.unlisted_seconds)


Handler = Callable[[Call], Mapping[str, Any]]


@dataclass
class Handlers:
    """The operations that this layer answers itself; moto answers all others."""

    _by_name: dict[str, Handler] = field(default_factory=dict)

    def add(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Let `handlers`, by operation name, answer for `service`; an operation has one answer."""
        for name, handler in handlers.items():
            key = f"{service}:{name}"
            if key in self._by_name:
                raise ValueError(f"{key} is answered twice")
            self._by_name[key] = handler

    def find(self, operation: Operation) -> Handler | None:
        """The function that answers `operation`, None when it is moto's."""
        return self._by_name.get(str(operation))
