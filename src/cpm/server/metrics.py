"""`/metrics`: the server's numbers in Prometheus's text format."""

import hmac
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse

from cpm.engine import metrics
from cpm.queries import metrics as queries
from cpm.queries.metrics import Sample
from cpm.server import certificate
from cpm.server.data import DataDirectory

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PLAIN = "text/plain"
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via")

# What there is, by name: its type and what it says.
FAMILIES = {
    "cpm_http_requests_total": ("counter", "Requests under /api/, by operation and status."),
    "cpm_http_request_duration_seconds": ("histogram", "Time to the first byte of the answer."),
    "cpm_aws_calls_total": ("counter", "Calls of AWS; the outcome is ok, or the kind of fault."),
    "cpm_aws_throttles_total": ("counter", "Calls that AWS refused as too fast, repeated or not."),
    "cpm_last_sweep_timestamp_seconds": ("gauge", "When a worker last looked for what is due."),
    "cpm_backups": ("gauge", "Records of backups by status; those that are over of a minute ago."),
    "cpm_alerts": ("gauge", "Alerts whose cause is not gone."),
    "cpm_deliveries": ("gauge", "Messages about alerts by state; those that are over as above."),
    "cpm_queue_jobs": ("gauge", "Jobs that could be done now and wait for a worker."),
    "cpm_queue_oldest_job_seconds": ("gauge", "How long the first of them has waited."),
    "cpm_workers": ("gauge", "Workers that have given a sign of life."),
    "cpm_database_bytes": ("gauge", "Size of the database."),
    "cpm_certificate_expiry_timestamp_seconds": ("gauge", "When this machine's certificate ends."),
}


def show(http: HttpRequest) -> HttpResponse:
    """The numbers, to those who may see them."""
    if not _may_see(http):
        message = "metrics are for this machine, or for whoever has CPM_METRICS_TOKEN\n"
        return HttpResponse(message, status=403, content_type=_PLAIN)
    try:
        metrics.flush()
        samples = [*queries.counted(), *queries.measured(), *_of_certificate()]
    except DatabaseError:
        return HttpResponse("the database does not answer\n", status=503, content_type=_PLAIN)
    return HttpResponse("".join(_lines(samples)), content_type=_CONTENT_TYPE)


def _may_see(http: HttpRequest) -> bool:
    """Whoever has the token, where there is one; else this machine itself, not for others."""
    token = settings.ENVIRONMENT.metrics_token
    if token:
        sent = http.headers.get("Authorization", "").encode()
        return hmac.compare_digest(sent, f"Bearer {token}".encode())
    try:
        is_here = ip_address(http.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
    return is_here and not any(name in http.headers for name in _FORWARDED)


def _of_certificate() -> Iterator[Sample]:
    data = DataDirectory(settings.ENVIRONMENT.data)
    path = settings.ENVIRONMENT.tls_certificate or data.certificate
    if path.exists():
        until = certificate.expires_at(path).timestamp()
        yield "cpm_certificate_expiry_timestamp_seconds", until


def _lines(samples: Iterable[Sample]) -> Iterator[str]:
    """The samples, each family under its heading; what no heading is known for is left out."""
    by_family: dict[str, list[Sample]] = {name: [] for name in FAMILIES}
    for series, value in samples:
        by_family.get(_family(series), []).append((series, value))
    for name, (kind, meaning) in FAMILIES.items():
        yield f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n"
        yield from (f"{series} {value:.17g}\n" for series, value in by_family[name])


def _family(series: str) -> str:
    """The name of the family that a series belongs to."""
    name = series.partition("{")[0]
    for suffix in ("_bucket", "_sum", "_count"):
        if name.removesuffix(suffix) in FAMILIES:
            return name.removesuffix(suffix)
    return name
