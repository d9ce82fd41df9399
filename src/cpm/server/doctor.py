"""Checks that find what keeps a server from working, and say what to do."""

import shutil
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from cpm.config.environment import Environment
from cpm.kernel import clock
from cpm.server import certificate
from cpm.server.data import DataDirectory

# AWS refuses signatures that are older or newer than five minutes.
CLOCK_SKEW_ALLOWED = timedelta(minutes=2)
DISK_FREE_WANTED_BYTES = 2 * 1024**3
AWS_STS = "https://sts.us-east-1.amazonaws.com"
TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Finding:
    """The answer of one check; `advice` says what to do when it is not `ok`."""

    check: str
    ok: bool
    detail: str
    advice: str = ""


class CheckFailed(Exception):
    """A check that found something wrong."""

    def __init__(self, detail: str, advice: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.advice = advice


def machine_checks(environment: Environment) -> Iterator[Finding]:
    """What can be seen without the database."""
    yield _run("data directory", lambda: _data_directory(environment))
    yield _run("disk space", lambda: _disk_space(environment))
    yield _run("certificate", lambda: _certificate(environment))
    yield _run("AWS", lambda: _aws(environment))


def _run(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, ok=True, detail=check())
    except CheckFailed as failure:
        return Finding(name, ok=False, detail=failure.detail, advice=failure.advice)


def _data_directory(environment: Environment) -> str:
    path = environment.data
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".doctor"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise CheckFailed(
            f"{path}: {error.strerror}",
            "Give the server's user the directory, or name another with --data or CPM_DATA.",
        ) from error
    return f"{path} is writable"


def _disk_space(environment: Environment) -> str:
    free = shutil.disk_usage(environment.data).free
    text = f"{free / 1024**3:.1f} GiB free in {environment.data}"
    if free < DISK_FREE_WANTED_BYTES:
        raise CheckFailed(text, "Free some space: the database stops when the disk is full.")
    return text


def _certificate(environment: Environment) -> str:
    path = environment.tls_certificate or DataDirectory(environment.data).certificate
    if not path.exists():
        if environment.tls_certificate is None:
            return "none yet; the first start makes one"
        raise CheckFailed(f"{path} is missing", "Correct CPM_TLS_CERTIFICATE.")
    try:
        left = certificate.expires_in(path)
    except (OSError, ValueError) as error:
        raise CheckFailed(f"{path}: {error}", "Give a PEM file that this user can read.") from error
    if left < timedelta(days=7):
        raise CheckFailed(f"{path} expires in {left.days} days", "Renew the certificate.")
    return f"{path} is valid for {left.days} days"


def _aws(environment: Environment) -> str:
    """Reachability and clock in one request: any answer of AWS carries its time."""
    url = urlsplit(environment.aws_endpoint or AWS_STS)
    advice = "Check network, proxy and firewall: the server must reach AWS by HTTPS."
    try:
        skew = clock.now() - parsedate_to_datetime(_date_of(url.scheme, url.netloc))
    except (OSError, HTTPException, ValueError) as error:
        raise CheckFailed(f"{url.netloc} does not answer: {error}", advice) from error
    if abs(skew) > CLOCK_SKEW_ALLOWED:
        raise CheckFailed(
            f"the clock is off by {skew.total_seconds():.0f} s against {url.netloc}",
            "Set the clock by NTP; AWS refuses requests whose time is wrong.",
        )
    return f"{url.netloc} answers; the clock differs by {abs(skew.total_seconds()):.0f} s"


def _date_of(scheme: str, address: str) -> str:
    connection: HTTPConnection = (
        HTTPSConnection(address, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context())
        if scheme == "https"
        else HTTPConnection(address, timeout=TIMEOUT_SECONDS)
    )
    try:
        connection.request("GET", "/")
        return connection.getresponse().headers["Date"] or ""
    finally:
        connection.close()
