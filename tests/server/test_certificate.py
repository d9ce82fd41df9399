"""The certificate that the server makes for itself."""

import ssl
import stat
from datetime import timedelta
from pathlib import Path

from cpm.kernel import clock
from cpm.server import certificate


def test_it_is_its_own_ca_file_and_its_key_is_private(tmp_path: Path) -> None:
    pem, key = tmp_path / "tls" / "certificate.pem", tmp_path / "tls" / "key.pem"
    assert certificate.ensure(pem, key, ["backup.example.com", "10.0.0.7", "*"])
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    client = ssl.create_default_context(cafile=str(pem))
    assert len(client.get_ca_certs()) == 1
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(pem, key)


def test_it_is_made_once_and_renewed_before_it_expires(tmp_path: Path) -> None:
    pem, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    assert certificate.ensure(pem, key, [])
    first = pem.read_bytes()
    assert not certificate.ensure(pem, key, [])
    clock.set_offset(certificate.LIFETIME - certificate.RENEW_BEFORE + timedelta(days=1))
    try:
        assert certificate.ensure(pem, key, [])
    finally:
        clock.set_offset(timedelta())
    assert pem.read_bytes() != first
