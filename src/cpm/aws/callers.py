"""Whose keys sign a call: all accounts share the SDK's clients, which are dear to make."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from botocore.credentials import Credentials, ReadOnlyCredentials

from cpm.aws.credentials import Keys

_signing: ContextVar[Keys] = ContextVar("signing")


@contextmanager
def signed_by(keys: Keys) -> Iterator[None]:
    """Let these keys sign what the SDK sends meanwhile in this thread."""
    marker = _signing.set(keys)
    try:
        yield
    finally:
        _signing.reset(marker)


class Caller(Credentials):
    """The keys of whoever is calling, as a session of the SDK finds and uses its credentials."""

    def __init__(self) -> None:
        super().__init__("", "")

    def load_credentials(self) -> Credentials:
        return self

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        keys = _signing.get()
        return ReadOnlyCredentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
