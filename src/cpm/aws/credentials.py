"""Who the server is to AWS: long-lived keys, the machine's own role, or a role assumed from these.

`Wallet` turns any of them into keys that sign a call. Keys of assumed roles, and what a worker
machine is lent, are temporary: they are kept, and replaced shortly before they end.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cpm.aws.bounded import Bounded
from cpm.kernel import clock

# Long enough for a call that is just being signed, its waits and its retries.
_EARLY = timedelta(minutes=5)
_MOST_SESSIONS = 2000


@dataclass(frozen=True, slots=True)
class StaticKeys:
    """The access key of an IAM user."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class InstanceRole:
    """Whatever the machine or container that the server runs on may do, by the SDK's own search."""


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """A role of another account, assumed with the credentials `base`."""

    base: "Credentials"
    role_arn: str
    external_id: str | None = None
    session_name: str = "cpm"


def role_arn(partition: str, account_number: str, role_name: str) -> str:
    """The ARN of an account's role; `role_name` may carry a path."""
    return f"arn:{partition}:iam::{account_number}:role/{role_name.lstrip('/')}"


@dataclass(frozen=True, slots=True)
class Keys:
    """What signs a call. `expires_at` is None for keys that last."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None

    def are_fresh(self) -> bool:
        """Whether they last for another few minutes."""
        return self.expires_at is None or self.expires_at - clock.now() > _EARLY


@dataclass(frozen=True, slots=True, eq=False)
class LentKeys:
    """Temporary keys that somebody else has, and gives anew; `lend` raises Fault."""

    lend: Callable[[], Keys]


Credentials = StaticKeys | InstanceRole | AssumedRole | LentKeys


@dataclass(slots=True)
class _Session:
    lock: threading.Lock = field(default_factory=threading.Lock)
    keys: Keys | None = None


class Wallet:
    """The keys of every credentials in use. Thread-safe; one slow STS delays its own role only."""

    def __init__(self, assume: Callable[[AssumedRole, str], Keys], own: Callable[[], Keys]) -> None:
        self._assume = assume
        self._own = own
        self._sessions: Bounded[AssumedRole | LentKeys, _Session] = Bounded(_MOST_SESSIONS)

    def keys(self, credentials: Credentials, region: str) -> Keys:
        """Keys for `credentials`, asking the STS of `region` when there are none yet."""
        match credentials:
            case StaticKeys():
                return Keys(credentials.access_key_id, credentials.secret_access_key)
            case InstanceRole():
                return self._own()
            case AssumedRole() | LentKeys():
                return self._session_keys(credentials, region)

    def forget(self, credentials: Credentials, keys: Keys) -> bool:
        """Drop `keys`, which AWS refused; False when others could not be had anyway."""
        if not isinstance(credentials, AssumedRole | LentKeys):
            return False
        session = self._session(credentials)
        with session.lock:
            if session.keys == keys:
                session.keys = None
        return True

    def _session_keys(self, temporary: AssumedRole | LentKeys, region: str) -> Keys:
        session = self._session(temporary)
        with session.lock:
            if session.keys is None or not session.keys.are_fresh():
                session.keys = self._new_keys(temporary, region)
            return session.keys

    def _new_keys(self, temporary: AssumedRole | LentKeys, region: str) -> Keys:
        if isinstance(temporary, LentKeys):
            return temporary.lend()
        return self._assume(temporary, region)

    def _session(self, temporary: AssumedRole | LentKeys) -> _Session:
        return self._sessions.get(temporary, _Session)
