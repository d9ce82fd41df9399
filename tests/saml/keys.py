"""Keys and certificates of identity providers in tests; made once, since RSA keys are slow."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class KeyPair(NamedTuple):
    """A private key and its self-signed certificate, both in PEM."""

    key: str
    certificate: str

    @property
    def bare(self) -> str:
        """The certificate in one line of base64."""
        return "".join(self.certificate.splitlines()[1:-1])

    def write(self, folder: Path) -> tuple[str, str]:
        """Put both into files, and tell their paths."""
        paths = folder / "key.pem", folder / "certificate.pem"
        for path, text in zip(paths, self, strict=True):
            path.write_text(text)
        return str(paths[0]), str(paths[1])


@cache
def key_pair(name: str) -> KeyPair:
    """The key pair of a provider, by any name."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return KeyPair(pem.decode(), certificate.public_bytes(Encoding.PEM).decode())
