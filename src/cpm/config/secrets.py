"""The server's one secret key and what is derived from it.

It lives outside the database (`CPM_SECRET_KEY`, or a 0600 file in the data directory that the
first start makes), so a stolen database alone opens no AWS account. Each use has its own subkey.
"""

import base64
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FILE_NAME = "secret.key"


class SealBroken(Exception):
    """A sealed value that this server's key does not open."""


def load_or_create(data: Path) -> str:
    """The key kept in the data directory, made at the first start."""
    path = data / FILE_NAME
    data.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(48))
        file.flush()
        os.fsync(file.fileno())
    return path.read_text().strip()


def derive(secret: str, purpose: str) -> bytes:
    """32 bytes for one purpose; knowing one says nothing about the others."""
    return HKDF(SHA256(), 32, salt=b"cpm-server", info=purpose.encode()).derive(secret.encode())


class Sealer:
    """Encrypts small secrets for the database (AES-128-CBC with HMAC, as Fernet defines it)."""

    def __init__(self, secret: str) -> None:
        self._fernet = Fernet(base64.urlsafe_b64encode(derive(secret, "sealed-secrets")))

    def seal(self, text: str) -> bytes:
        """The encrypted form of `text`."""
        return self._fernet.encrypt(text.encode())

    def open(self, sealed: bytes) -> str:
        """The text; raises `SealBroken` when it was sealed with another key or changed."""
        try:
            return self._fernet.decrypt(bytes(sealed)).decode()
        except InvalidToken:
            raise SealBroken("sealed with another key, or changed since") from None
