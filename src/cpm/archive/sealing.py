"""Encryption of what is stored: one key for each object, one nonce for each place in it."""

import os
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cpm.archive.errors import Damaged

CIPHER = "AES-256-GCM"
KEY_BYTES = 32
PACK = "cpm-archive pack 1"
MANIFEST = "cpm-archive manifest 1"


class Seal(Protocol):
    """How the content of one object is encrypted, or that it is not."""

    def close(self, content: bytes, offset: int) -> bytes:
        """The content as it is stored at this offset of the object."""
        ...

    def open(self, stored: bytes, offset: int) -> bytes:
        """The content that was stored at this offset; raises `Damaged`."""
        ...


class Unsealed:
    """Of repositories without encryption."""

    def close(self, content: bytes, offset: int) -> bytes:  # noqa: ARG002
        """The same."""
        return content

    def open(self, stored: bytes, offset: int) -> bytes:  # noqa: ARG002
        """The same."""
        return stored


class Sealed:
    """Of one object of a repository with encryption."""

    def __init__(self, repository_key: bytes, salt: bytes, purpose: str) -> None:
        derived = HKDF(SHA256(), KEY_BYTES, salt=salt, info=purpose.encode()).derive(repository_key)
        self._cipher = AESGCM(derived)

    def close(self, content: bytes, offset: int) -> bytes:
        """The ciphertext, its tag behind it."""
        return self._cipher.encrypt(_nonce(offset), content, None)

    def open(self, stored: bytes, offset: int) -> bytes:
        """The plaintext; raises `Damaged` if it was changed, moved, or sealed by another key."""
        try:
            return self._cipher.decrypt(_nonce(offset), stored, None)
        except InvalidTag:
            raise Damaged(f"offset {offset}", "it does not open with the key") from None


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a repository; `secret` is None where nothing is encrypted."""

    secret: bytes | None = None

    @classmethod
    def new(cls) -> "Key":
        """One that nobody has had before."""
        return cls(os.urandom(KEY_BYTES))

    def __repr__(self) -> str:
        return "Key(...)"

    def seal(self, salt: bytes, purpose: str) -> Seal:
        """The seal of one object."""
        return Unsealed() if self.secret is None else Sealed(self.secret, salt, purpose)


def _nonce(offset: int) -> bytes:
    return offset.to_bytes(12, "big")
