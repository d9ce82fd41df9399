"""What worker machines are launched with, and whether any can be."""

import base64
import hmac
from datetime import timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from django.conf import settings

from cpm.aws.sessions import Proxy
from cpm.models.machines import WorkerMachine
from cpm.models.workers import NetworkAccess, Worker
from cpm.resources.machine_script import Script
from cpm.resources.machines import MOST_USER_DATA_BYTES, Choice

# A machine ends itself after this, and what it was at goes on at another.
LIFETIME = timedelta(hours=24)
# Blocks that a machine reads at a time where nobody has said how many.
USUAL_CONNECTIONS = 16


class Unfit(Exception):
    """No machine can be launched as the server is set up; the text says why."""


def check() -> None:
    """Raise `Unfit` where a machine could not reach the server."""
    url = settings.ENVIRONMENT.server_url
    if not url:
        raise Unfit("CPM_SERVER_URL does not say where a machine reaches the server")
    host = urlsplit(url).hostname or ""
    if _is_here(host):
        raise Unfit(f"CPM_SERVER_URL names {host}, which is another machine to a machine in AWS")
    if settings.ENVIRONMENT.server_ca is None:
        _check_certificate(settings.ENVIRONMENT.certificate, host)


def choice(worker: Worker) -> Choice:
    """What the configuration asks for."""
    return Choice(
        instance_type=worker.instance_type or "",
        key_pair=worker.key_pair or "",
        vpc=worker.vpc or "",
        subnet=worker.subnet or "",
        security_group=worker.security_group or "",
    )


def script(machine: WorkerMachine) -> str:
    """The machine's user data; the same each time. Raises `Unfit`."""
    worker = machine.worker
    if worker is None:
        raise Unfit("the worker's settings were deleted")
    certificate = settings.ENVIRONMENT.server_ca or settings.ENVIRONMENT.certificate
    text = Script(
        server_url=settings.ENVIRONMENT.server_url,
        token=enrolment_token(machine),
        ca_cert=certificate.read_text() if certificate.exists() else "",
        minutes=int(LIFETIME.total_seconds() // 60),
        connections=worker.max_parallel_blocks or USUAL_CONNECTIONS,
        proxy=_proxy(worker),
    ).text()
    if len(text.encode()) > MOST_USER_DATA_BYTES:
        raise Unfit(f"the certificate {certificate} is too long for a machine's user data")
    return text


def enrolment_token(machine: WorkerMachine) -> str:
    """What the machine finds in its user data, and may use once.

    It follows from the row, so that nothing has to be kept to ask AWS for the same machine again.
    """
    code = hmac.digest(settings.MACHINE_KEY, machine.token.bytes, sha256)
    return base64.urlsafe_b64encode(code).decode().rstrip("=")


def _proxy(worker: Worker) -> Proxy | None:
    if worker.network_access != NetworkAccess.PROXY or worker.proxy_port is None:
        return None
    sealed = worker.sealed_proxy_password
    return Proxy(
        host=worker.proxy_address,
        port=worker.proxy_port,
        user=worker.proxy_user,
        password=settings.SEALER.open(bytes(sealed)) if sealed else "",
    )


def _is_here(host: str) -> bool:
    """Whether the name means whoever says it."""
    try:
        address = ip_address(host)
    except ValueError:
        return host in ("", "localhost") or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified or address.is_link_local


def _check_certificate(path: Path, host: str) -> None:
    """Raise `Unfit` where a machine would not take the server for the one that it looks for."""
    if not path.exists():
        return
    try:
        (certificate, *_) = x509.load_pem_x509_certificates(path.read_bytes())
        extensions = certificate.extensions
        named = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        raise Unfit(f"the server's certificate {path} cannot be read: {error}") from None
    names = set(named.get_values_for_type(x509.DNSName))
    names |= {str(each) for each in named.get_values_for_type(x509.IPAddress)}
    if not names & {host, f"*.{host.partition('.')[2]}"}:
        raise Unfit(
            f"the server's certificate {path} is not one of {host}: remove it, so that the next"
            " start makes another, or set CPM_TLS_CERTIFICATE"
        )
