"""E-mail: messages handed to the SMTP server that root has named. Raises Fault."""

import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from django.conf import settings

from cpm.config.secrets import SealBroken
from cpm.engine.messages import Message
from cpm.engine.settings import Smtp, SmtpSecurity
from cpm.kernel import clock
from cpm.kernel.faults import Fault, FaultKind
from cpm.models.notifications import Channel

# For each answer of the SMTP server.
TIMEOUT_SECONDS = 20


def send(channel: Channel, message: Message) -> None:
    """Hand a message to the SMTP server; raises Fault unless he takes it."""
    section = Smtp.current()
    if not section.enabled:
        raise Fault(FaultKind.INVALID, "this server has no SMTP server to send e-mail by")
    try:
        with _session(section) as session:
            session.send_message(_letter(section, channel, message))
    except (OSError, UnicodeError, ValueError) as error:
        raise Fault(FaultKind.TRANSIENT, f"{type(error).__name__}: {error}") from error


@contextmanager
def _session(section: Smtp) -> Iterator[smtplib.SMTP]:
    port, name = section.port, socket.gethostname()
    context = ssl.create_default_context()
    if section.security == SmtpSecurity.TLS:
        session: smtplib.SMTP = smtplib.SMTP_SSL(
            section.address, port, name, timeout=TIMEOUT_SECONDS, context=context
        )
    else:
        session = smtplib.SMTP(section.address, port, name, timeout=TIMEOUT_SECONDS)
    with session:
        if section.security == SmtpSecurity.STARTTLS:
            session.starttls(context=context)
        if section.username:
            session.login(section.username, _password(section))
        yield session


def _letter(section: Smtp, channel: Channel, message: Message) -> EmailMessage:
    letter = EmailMessage(policy=SMTP)
    letter["From"] = section.sender
    letter["To"] = channel.email
    letter["Subject"] = message.subject
    letter["Date"] = format_datetime(clock.now())
    letter["Message-ID"] = f"<{message.key}@{message.server_id[:8]}.cpm.invalid>"
    # RFC 3834: nobody's holiday is to answer.
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(message.text)
    return letter


def _password(section: Smtp) -> str:
    sealed = section.sealed_password
    try:
        return settings.SEALER.open(sealed.encode()) if sealed else ""
    except SealBroken:
        message = "the password was sealed with another server's key; enter it again"
        raise Fault(FaultKind.INVALID, message) from None
