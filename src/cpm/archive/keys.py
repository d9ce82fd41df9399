"""The objects of `keys/`: the repository's key, each time wrapped so that one secret opens it."""

import os
import uuid
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from cpm.archive.errors import Damaged, WrongKey
from cpm.archive.sealing import KEY_BYTES, Key
from cpm.archive.store import Store
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault

PREFIX = "keys/"
# IAM actions on the KMS key, always with this encryption context.
PERMISSIONS = ("kms:Decrypt", "kms:Encrypt")
CONTEXT = "cpm-repository"

# A wrapping that takes 128 MiB and about a third of a second: once for each process and secret.
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**17, 8, 1
# What a repository may ask of its reader at most (1 GiB), so that a forged one cannot exhaust it.
_MOST_SCRYPT_N, _MOST_SCRYPT_R, _MOST_SCRYPT_P = 2**20, 8, 4
_MOST_STRETCHED = 16

Wrapped = dict[str, Any]


class Means(Protocol):
    """What wraps the key of a repository, and opens what it has wrapped."""

    @property
    def wrapping(self) -> str:
        """The kind, as wrapped keys say it."""
        ...

    def wrap(self, secret: bytes, repository: str) -> Wrapped:
        """The key as an object of `keys/`; raises Fault."""
        ...

    def unwrap(self, wrapped: Wrapped, repository: str) -> bytes:
        """The key in such an object; raises `WrongKey`, `Damaged` and Fault."""
        ...


@dataclass(frozen=True)
class Passphrase:
    """Scrypt and AES-256-GCM, for whoever has the passphrase."""

    text: str = field(repr=False)
    wrapping: str = field(default="scrypt", init=False)

    def wrap(self, secret: bytes, repository: str) -> Wrapped:
        """As `Means` says."""
        salt, nonce = os.urandom(16), os.urandom(12)
        cipher = AESGCM(_stretched(self.text, salt, _SCRYPT_N, _SCRYPT_R, _SCRYPT_P))
        return {
            "version": 1,
            "wrapping": self.wrapping,
            "salt": b64encode(salt).decode(),
            "n": _SCRYPT_N,
            "r": _SCRYPT_R,
            "p": _SCRYPT_P,
            "nonce": b64encode(nonce).decode(),
            "wrapped": b64encode(cipher.encrypt(nonce, secret, repository.encode())).decode(),
        }

    def unwrap(self, wrapped: Wrapped, repository: str) -> bytes:
        """As `Means` says."""
        try:
            n, r, p = int(wrapped["n"]), int(wrapped["r"]), int(wrapped["p"])
            salt, nonce, sealed = (
                b64decode(wrapped[name]) for name in ("salt", "nonce", "wrapped")
            )
            if n > _MOST_SCRYPT_N or r > _MOST_SCRYPT_R or p > _MOST_SCRYPT_P:
                raise Damaged(PREFIX, "unwrapping would take too much")
            cipher = AESGCM(_stretched(self.text, salt, n, r, p))
        except (KeyError, ValueError, TypeError) as error:
            raise Damaged(PREFIX, f"no wrapped key ({error})") from None
        try:
            return cipher.decrypt(nonce, sealed, repository.encode())
        except InvalidTag:
            raise WrongKey("The passphrase does not open this repository.") from None


# Workers open a repository several times for each volume that they copy or restore.
@lru_cache(_MOST_STRETCHED)
def _stretched(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=KEY_BYTES, n=n, r=r, p=p).derive(passphrase.encode())


@dataclass(frozen=True)
class Kms:
    """A key of AWS KMS, for whom AWS lets use it.

    `key` is an ARN, or an id or alias in the region of `aws`. Without one, whichever key the
    repository names is asked: who may write to the bucket then chooses it.
    """

    aws: Aws
    key: str = ""
    wrapping: str = field(default="kms", init=False)

    def wrap(self, secret: bytes, repository: str) -> Wrapped:
        """As `Means` says."""
        answer = self._call("Encrypt", self.key, repository, Plaintext=secret)
        wrapped = b64encode(answer["CiphertextBlob"]).decode()
        return {"version": 1, "wrapping": self.wrapping, "key_id": answer["KeyId"]} | {
            "wrapped": wrapped
        }

    def unwrap(self, wrapped: Wrapped, repository: str) -> bytes:
        """As `Means` says."""
        try:
            key, sealed = self.key or str(wrapped["key_id"]), b64decode(wrapped["wrapped"])
        except (KeyError, ValueError, TypeError) as error:
            raise Damaged(PREFIX, f"no wrapped key ({error})") from None
        secret: bytes = self._call("Decrypt", key, repository, CiphertextBlob=sealed)["Plaintext"]
        return secret

    def full_name(self) -> str:
        """The key's ARN, as AWS knows it; raises Fault."""
        answer = _near(self.aws, self.key).call("kms", "DescribeKey", KeyId=self.key)
        return str(answer["KeyMetadata"]["Arn"])

    def _call(self, operation: str, key: str, repository: str, **more: Any) -> dict[str, Any]:
        context = {CONTEXT: repository}
        aws = _near(self.aws, key)
        return aws.call("kms", operation, KeyId=key, EncryptionContext=context, **more)


def _near(aws: Aws, key: str) -> Aws:
    """Where the key is, if it says so."""
    return aws.at(key.split(":")[3]) if key.startswith("arn:") else aws


def add(store: Store, key: Key, means: Means, repository: str) -> str:
    """Put the key into `keys/`, wrapped by these means too; the object's name. Raises Fault."""
    if key.secret is None:
        raise WrongKey("The repository is not encrypted: it has no key.")
    name = f"{PREFIX}{uuid.uuid4()}.json"
    wrapped = means.wrap(key.secret, repository)
    store.write(name, msgspec.json.encode(wrapped), only_new=True)
    return name


def open_(store: Store, means: Sequence[Means], repository: str) -> Key:
    """The key, by the first means that open it. Raises `WrongKey`; Fault where AWS may relent."""
    reasons: list[Exception] = []
    found = set()
    for wrapped in _stored(store):
        found.add(wrapped.get("wrapping"))
        for each in means:
            if each.wrapping != wrapped.get("wrapping"):
                continue
            try:
                return Key(each.unwrap(wrapped, repository))
            except (WrongKey, Damaged, Fault) as error:
                reasons.append(error)
    for reason in reasons:
        if isinstance(reason, Fault) and reason.worth_another_try:
            raise reason
    raise WrongKey(_why(reasons, sorted(map(str, found))))


def _stored(store: Store) -> Iterator[Wrapped]:
    for stored in store.list(PREFIX):
        try:
            yield msgspec.json.decode(store.read(stored.name), type=Wrapped)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue


def _why(reasons: Sequence[Exception], wrappings: Sequence[str]) -> str:
    if reasons:
        return " ".join(dict.fromkeys(map(str, reasons)))
    ways = {"scrypt": "a passphrase", "kms": "a KMS key"}
    asked = " or ".join(ways.get(each, each) for each in wrappings) or "a key that is gone"
    return f"The repository is encrypted, and opens with {asked}, which was not given."
