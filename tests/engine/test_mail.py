"""E-mail goes by the SMTP server that root has named, over TLS that is checked."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings

from cpm.engine.settings import Smtp
from cpm.kernel import clock
from cpm.models.notifications import Channel, ChannelType, Delivery, DeliveryOutcome
from tests.engine.notifying import after, make_user, raise_one
from tests.receivers import MailServer, mail_server


@pytest.fixture
def server(db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    """An SMTP server that the server knows and trusts, and a user who gets e-mail."""
    Channel.objects.create(
        user=make_user(), name="mail", channel_type=ChannelType.EMAIL, email="nora@example.com"
    )
    with mail_server(tmp_path) as running:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        set_up(running)
        yield running
    clock.set_offset(timedelta())


def set_up(server: MailServer, **values: object) -> None:
    Smtp.change(
        **{
            "enabled": True,
            "address": "127.0.0.1",
            "port": server.port,
            "username": server.USER,
            "sender": "cpm@example.com",
            "sealed_password": settings.SEALER.seal(server.PASSWORD).decode(),
            **values,
        }
    )


def send() -> Delivery:
    raise_one(Channel.objects.get().user, "größer\r\nBcc: all@example.com")
    after(minutes=1)
    return Delivery.objects.get()


def test_a_letter_says_what_is_wrong_and_which_message_it_is(server: MailServer) -> None:
    delivery = send()
    assert (delivery.outcome, delivery.error) == (DeliveryOutcome.DELIVERED, "")
    (letter,) = server.letters
    assert letter["To"] == "nora@example.com"
    assert letter["From"] == "cpm@example.com"
    assert letter["Bcc"] is None
    assert letter["Subject"] == "[CPM] Error: größer Bcc: all@example.com"
    assert letter["Message-ID"].startswith(f"<{delivery.key}@")
    assert letter["Auto-Submitted"] == "auto-generated"
    assert "Error, Backup: größer" in letter.get_content()


def test_a_server_whose_certificate_is_not_trusted_gets_no_password(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "CERTIFICATE_VERIFY_FAILED" in send().error
    assert server.letters == []


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"enabled": False}, "no SMTP server"),
        ({"username": "stan"}, "535"),
        ({"sealed_password": "gAAAA"}, "enter it again"),
        ({"security": "tls"}, "WRONG_VERSION_NUMBER"),
        ({"port": 1}, "refused"),
    ],
)
def test_what_is_wrong_with_the_server_is_told(
    server: MailServer, values: dict[str, object], error: str
) -> None:
    set_up(server, **values)
    told = send().error
    assert error in told
    assert server.PASSWORD not in told


def test_an_address_that_the_server_refuses_is_tried_again(server: MailServer) -> None:
    server.refuses = "450 busy"
    assert "450" in send().error
    server.refuses = ""
    after(minutes=1)
    assert len(server.letters) == 1
