"""Encryption of what is stored: one key for each object, one nonce for each place in it."""

import os
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from cpm.archive.errors import Damaged, WrongKey

CIPHER = "AES-256-GCM"
KEY_BYTES = 32
PACK = "cpm-archive pack 1"
MANIFEST = "cpm-archive manifest 1"

# A wrapping that takes 128 MiB and about a third of a second: once for each opening.
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**17, 8, 1
# What a repository may ask of its reader at most (1 GiB), so that a forged one cannot exhaust it.
_MOST_SCRYPT_N, _MOST_SCRYPT_R, _MOST_SCRYPT_P = 2**20, 8, 4


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


def wrap(secret: bytes, passphrase: str, repository: str) -> dict[str, Any]:
    """The key as an object of `keys/`, for whoever has the passphrase."""
    salt, nonce = os.urandom(16), os.urandom(12)
    cipher = AESGCM(_stretched(passphrase, salt, _SCRYPT_N, _SCRYPT_R, _SCRYPT_P))
    wrapped = cipher.encrypt(nonce, secret, repository.encode())
    return {
        "version": 1,
        "wrapping": "scrypt",
        "salt": b64encode(salt).decode(),
        "n": _SCRYPT_N,
        "r": _SCRYPT_R,
        "p": _SCRYPT_P,
        "nonce": b64encode(nonce).decode(),
        "wrapped": b64encode(wrapped).decode(),
    }


def unwrap(wrapped: dict[str, Any], passphrase: str, repository: str) -> bytes:
    """The key in an object of `keys/`; raises `WrongKey`, and `Damaged` for what is no such one."""
    try:
        n, r, p = int(wrapped["n"]), int(wrapped["r"]), int(wrapped["p"])
        salt, nonce, sealed = (b64decode(wrapped[name]) for name in ("salt", "nonce", "wrapped"))
        if n > _MOST_SCRYPT_N or r > _MOST_SCRYPT_R or p > _MOST_SCRYPT_P:
            raise Damaged("keys/", "unwrapping would take too much")
        cipher = AESGCM(_stretched(passphrase, salt, n, r, p))
    except (KeyError, ValueError, TypeError) as error:
        raise Damaged("keys/", f"no wrapped key ({error})") from None
    try:
        return cipher.decrypt(nonce, sealed, repository.encode())
    except InvalidTag:
        raise WrongKey("The passphrase does not open this repository.") from None


def _stretched(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=KEY_BYTES, n=n, r=r, p=p).derive(passphrase.encode())


def _nonce(offset: int) -> bytes:
    return offset.to_bytes(12, "big")
