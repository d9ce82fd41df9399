"""The key with which this server signs what it asks of the identity provider."""

from datetime import timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from django.conf import settings

from cpm.config.secrets import SealBroken
from cpm.engine.settings import IdentityProvider
from cpm.kernel import clock

# The provider knows the certificate from the metadata; nobody else relies on it.
_VALID = timedelta(days=30 * 365)


class KeyPair(NamedTuple):
    """A private key and its certificate, both in PEM."""

    key: str
    certificate: str


def key_pair() -> KeyPair:
    """The server's own pair, the same on all its machines; made when it is asked for first.

    It is made anew where the server's secret is no longer the one that it was sealed with.
    """
    section = IdentityProvider.current()
    if not section.certificate:
        IdentityProvider.keep_first(**_sealed(_make()))
        section = IdentityProvider.current()
    try:
        return KeyPair(settings.SEALER.open(section.sealed_key.encode()), section.certificate)
    except SealBroken:
        made = _make()
        IdentityProvider.change(**_sealed(made))
        return made


def _sealed(pair: KeyPair) -> dict[str, str]:
    sealed = settings.SEALER.seal(pair.key).decode()
    return {"sealed_key": sealed, "certificate": pair.certificate}


def _make() -> KeyPair:
    # RSA, because every provider knows it.
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cpm-server")])
    now = clock.now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _VALID)
        .sign(key, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return KeyPair(pem.decode(), certificate.public_bytes(Encoding.PEM).decode())
