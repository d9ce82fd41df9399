"""The state file: everything that exists, kept over restarts.

A line that names the format, a line with the digest of the rest, and then moto's backends as a
pickle; the data of blocks is in a file of its own beside it. It is read only from where the user
said, and holds secrets: mode 0600.
"""

import hashlib
import io
import logging
import os
import pickle
import threading
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import moto
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from moto.backends import get_backend
from moto.core.base_backend import BackendDict

from cpm.kernel import clock
from cpm.simulator.credentials import Identity, Session
from cpm.simulator.ebs_store import STORE
from cpm.simulator.ec2_encryption import Encryption
from cpm.simulator.ec2_images import Device, Image
from cpm.simulator.ec2_snapshots import Snapshot, Upload
from cpm.simulator.ec2_volume_types import Performance
from cpm.simulator.ec2_volumes import Attachment, Volume
from cpm.simulator.lives import Life
from cpm.simulator.making import Making
from cpm.simulator.simulation import Simulation
from cpm.simulator.ssm_agents import Agent
from cpm.simulator.ssm_commands import Invocation, Outcome

_log = logging.getLogger(__name__)
_KINDS: tuple[Any, ...] = (
    Agent,
    Attachment,
    Device,
    Encryption,
    Identity,
    Image,
    Invocation,
    Life,
    Making,
    Outcome,
    Performance,
    Session,
    Snapshot,
    Upload,
    Volume,
)
_QUIET_SECONDS = 1.0
_SHARE_OF_TIME = 10.0
_UNPICKLABLE = (pickle.PicklingError, TypeError, AttributeError)


class StateRefused(Exception):
    """The state file cannot be used; the text says why and what to do."""


def load(simulation: Simulation, path: Path) -> None:
    """Take over the state in `path`, when there is one; raises StateRefused."""
    STORE.open(path.with_name(path.name + ".blocks"))
    if not path.exists():
        return
    try:
        kept = pickle.loads(_payload(path))  # noqa: S301 - the user's own file, digest checked
        for service, accounts in kept["backends"].items():
            _restore(get_backend(service), accounts)
        simulation.keyring.sessions.update(kept["sessions"])
        simulation.config.update(kept["config"])
        STORE.close_gaps()
    except (
        pickle.UnpicklingError,
        AttributeError,
        ImportError,
        LookupError,
        ValueError,
    ) as failure:
        raise StateRefused(_advice(path, f"does not fit this version: {failure}")) from failure


def save(simulation: Simulation, path: Path) -> None:
    """Write the state to `path`, whole or not at all."""
    with simulation.lock, simulation.object_lock:
        simulation.changed.clear()
        unused = STORE.released()
        payload = _snapshot(simulation)
    STORE.flush()
    digest = hashlib.sha256(payload).hexdigest()
    draft = path.with_name(path.name + ".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(f"{_format()}\n{digest}\n".encode())
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    STORE.free(unused)


class Keeper(threading.Thread):
    """Saves soon after changes, once for many, and spends at most a tenth of the time on it."""

    def __init__(self, simulation: Simulation, path: Path) -> None:
        super().__init__(name="state", daemon=True)
        self._simulation = simulation
        self._path = path
        self._stopped = threading.Event()

    def run(self) -> None:
        """Save after each change until the end."""
        while not self._stopped.is_set():
            self._simulation.changed.wait()
            self._stopped.wait(_QUIET_SECONDS)
            begun = clock.monotonic()
            self._save()
            self._stopped.wait((clock.monotonic() - begun) * _SHARE_OF_TIME)

    def finish(self) -> None:
        """Save for the last time."""
        self._stopped.set()
        self._simulation.changed.set()
        self.join()
        self._save()

    def _save(self) -> None:
        try:
            save(self._simulation, self._path)
        except Exception:  # noqa: BLE001 - whatever it was, the next change is saved again
            _log.exception("the state could not be written to %s", self._path)


def _format() -> str:
    # A state fits only the fields that it was written with.
    shape = repr([(kind.__name__, [item.name for item in fields(kind)]) for kind in _KINDS])
    digest = hashlib.sha256(shape.encode()).hexdigest()[:12]
    return f"cpm-simulator {digest}, moto {moto.__version__}"


def _payload(path: Path) -> bytes:
    head, _, rest = path.read_bytes().partition(b"\n")
    digest, _, payload = rest.partition(b"\n")
    if head != _format().encode():
        found = head[:60].decode("utf-8", "replace")
        raise StateRefused(_advice(path, f"begins with {found!r} instead of {_format()!r}"))
    if hashlib.sha256(payload).hexdigest().encode() != digest:
        raise StateRefused(_advice(path, "is damaged"))
    return payload


def _advice(path: Path, trouble: str) -> str:
    return (
        f"The state file {path} {trouble}. Put a good copy in its place, or remove it to begin "
        "with nothing."
    )


def _restore(backends: Any, accounts: Mapping[str, Mapping[str, Any]]) -> None:
    for account, regions in accounts.items():
        for region, backend in regions.items():
            backends[account][region] = backend


def _snapshot(simulation: Simulation) -> bytes:
    # One pickle for all services keeps the references from one to the other.
    known: list[BackendDict[Any]] = getattr(BackendDict, "_instances")  # noqa: B009 - not generic
    backends = {
        one.service_name: {account: dict(regions) for account, regions in one.items()}
        for one in known
    }
    kept = {
        "backends": backends,
        "sessions": dict(simulation.keyring.sessions),
        "config": simulation.config.public(),
    }
    try:
        return _pickled(kept)
    except _UNPICKLABLE:
        kept["backends"] = {
            name: accounts for name, accounts in backends.items() if _can_be_kept(name, accounts)
        }
        return _pickled(kept)


def _can_be_kept(service: str, accounts: Any) -> bool:
    try:
        _pickled(accounts)
    except _UNPICKLABLE as failure:
        _log.warning("the state of %s cannot be kept: %s", service, failure)
        return False
    return True


def _pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=5).dump(value)
    return buffer.getvalue()


class _Pickler(pickle.Pickler):
    """A pickler that can write down private keys, which KMS's keys hold."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, RSAPrivateKey | EllipticCurvePrivateKey):
            written = value.private_bytes(
                Encoding.DER, PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            return _private_key, (written,)
        return NotImplemented


def _private_key(written: bytes) -> Any:
    return serialization.load_der_private_key(written, None)
