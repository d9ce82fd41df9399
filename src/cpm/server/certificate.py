"""The certificate that the server makes for itself when none is configured."""

import ipaddress
import os
import socket
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cpm.kernel import clock

# The longest that common clients accept.
LIFETIME = timedelta(days=825)
RENEW_BEFORE = timedelta(days=60)


def ensure(certificate: Path, private_key: Path, names: list[str]) -> bool:
    """Makes the pair when there is none, or when it soon expires; True when it did.

    `names` are the host names and addresses by which clients call the server, beside its own.
    """
    if certificate.exists() and private_key.exists() and not _expires_soon(certificate):
        return False
    certificate.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    _write(private_key, _encode_key(key), 0o600)
    _write(certificate, _sign(key, names).public_bytes(serialization.Encoding.PEM), 0o644)
    return True


def expires_in(certificate: Path) -> timedelta:
    """How long the certificate is still valid."""
    return expires_at(certificate) - clock.now()


def expires_at(certificate: Path) -> datetime:
    """When the certificate stops being valid."""
    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc


def _expires_soon(certificate: Path) -> bool:
    return expires_in(certificate) < RENEW_BEFORE


def _encode_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _sign(key: ec.EllipticCurvePrivateKey, names: list[str]) -> x509.Certificate:
    host = socket.gethostname()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    now = clock.now()
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(_alternatives([host, *names])), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def _alternatives(names: list[str]) -> list[x509.GeneralName]:
    wanted = dict.fromkeys(["localhost", "127.0.0.1", "::1", *names])
    return [_alternative(name) for name in wanted if name and "*" not in name]


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replaces the file whole, never readable by more than `mode` says."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
