"""Settings of the server on the wire, and the logs of the work that goes by them: root's."""

from datetime import timedelta
from typing import Annotated, Any, Literal, TypeVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from msgspec import Meta, UnsetType

from cpm.api import answers, logs
from cpm.api.operations import Operation
from cpm.api.request import Request
from cpm.api.shapes import SINCE_1_2, Shown, encode, shown_to
from cpm.api.statements import Rows
from cpm.engine import settings as sections
from cpm.engine.settings import Section, SmtpSecurity
from cpm.kernel import clock
from cpm.models.events import Stream
from cpm.queries import events
from cpm.queries import settings as queries
from cpm.services import identity_provider, settings
from cpm.services.access import Action

SHOWN_LOGS = timedelta(days=30)

S = TypeVar("S", bound=Shown)

# A time that is kept as it is shown.
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class Identifier(Shown):
    """Who this server is. The uuid is in every tag that it gives in AWS."""

    cpm_name: str
    cpm_uuid: str
    time_zone: Annotated[str | UnsetType, SINCE_1_2]


class ProxySettings(Shown):
    """The proxy that all calls to AWS go through; its password is never shown."""

    enabled: bool
    address: str
    port: int | None
    username: str


class Smtp(Shown):
    """The server that e-mail to users goes through; its password is never shown."""

    enabled: bool
    address: str
    port: int
    security: SmtpSecurity
    username: str
    sender: str


class IdentityProvider(Shown):
    """Who vouches for people, by SAML 2.0, besides the server's own passwords."""

    enabled: bool
    entity_id: str
    login_url: str
    logout_url: str
    name_id_format: str
    x509_cert: str


class Licence(Shown):
    """Caps for the whole server; null is none."""

    max_accounts: int | None
    max_users: int | None
    cross_account: bool


class Cleanup(Shown):
    """How often is cleaned up, and how long what is kept."""

    cleanup_interval_hours: int
    keep_records_days: int
    rotate_single_amis_days: int
    keep_audit_days: int
    last_cleanup_time: Time | None


class TagScanning(Shown):
    """How often tags are scanned; `last_scan_time` is when all accounts were through last."""

    enabled: bool
    interval_hours: int
    last_scan_time: Time | None


class Started(Shown):
    """Work that was asked for: `P` in progress."""

    status: Literal["P"] = "P"


def show_identifier(request: Request) -> HttpResponse:
    """Retrieve who this server is."""
    return _answer(request, sections.Identifier, Identifier)


def update_identifier(request: Request) -> HttpResponse:
    """Update the server's name."""
    return _update(request, sections.Identifier, Identifier)


def show_proxy(request: Request) -> HttpResponse:
    """Retrieve the proxy."""
    return _answer(request, sections.ProxySettings, ProxySettings)


def update_proxy(request: Request) -> HttpResponse:
    """Update the proxy; a password that is left out stays."""
    settings.update_proxy(request.body(settings.PROXY_FIELDS), actor=request.person)
    return show_proxy(request)


def show_smtp(request: Request) -> HttpResponse:
    """Retrieve the SMTP server."""
    return _answer(request, sections.Smtp, Smtp)


def update_smtp(request: Request) -> HttpResponse:
    """Update the SMTP server; a password that is left out stays."""
    settings.update_smtp(request.body(settings.SMTP_FIELDS), actor=request.person)
    return show_smtp(request)


def show_identity_provider(request: Request) -> HttpResponse:
    """Retrieve the identity provider."""
    return _answer(request, sections.IdentityProvider, IdentityProvider)


def update_identity_provider(request: Request) -> HttpResponse:
    """Update the identity provider; enabled by an address, it sends people back to that one."""
    data = request.body(identity_provider.FIELDS)
    identity_provider.update(data, server_host=request.http.get_host(), actor=request.person)
    return show_identity_provider(request)


def show_licence(request: Request) -> HttpResponse:
    """Retrieve what the licence allows."""
    return _answer(request, sections.Licence, Licence)


def update_licence(request: Request) -> HttpResponse:
    """Update what the licence allows; a cap below what there is removes nothing."""
    return _update(request, sections.Licence, Licence)


def show_cleanup(request: Request) -> HttpResponse:
    """Retrieve the settings of cleanup."""
    return _answer(request, sections.Cleanup, Cleanup)


def update_cleanup(request: Request) -> HttpResponse:
    """Update the settings of cleanup; what is left out stays as it is."""
    return _update(request, sections.Cleanup, Cleanup)


def clean_up(request: Request) -> HttpResponse:
    """Clean up now, unless it is being done."""
    settings.clean_up(actor=request.person)
    return answers.value(Started(), status=201)


def cleanup_logs(request: Request) -> HttpResponseBase:
    """List what cleanup has done in the last 30 days."""
    return _logs(request, Stream.CLEANUP, "cleanup_logs.csv")


def show_tag_scanning(request: Request) -> HttpResponse:
    """Retrieve how often tags are scanned."""
    return _answer(request, sections.TagScanning, TagScanning)


def update_tag_scanning(request: Request) -> HttpResponse:
    """Update how often tags are scanned, and scan now if `run` says so."""
    data = request.body(settings.TAG_SCANNING)
    settings.update_tag_scanning(data, actor=request.person)
    return _answer(request, sections.TagScanning, TagScanning)


def tag_scan_logs(request: Request) -> HttpResponseBase:
    """List what scans of tags have done in the last 30 days."""
    return _logs(request, Stream.TAG_SCAN, "tagscan_logs.csv")


def _update(request: Request, section: type[Section], shown: type[S]) -> HttpResponse:
    data = request.body(settings.fields_of(section))
    settings.update(section, data, actor=request.person)
    return _answer(request, section, shown)


def _answer(request: Request, section: type[Section], shown: type[S]) -> HttpResponse:
    current = queries.current(request.person, section)
    values: dict[str, Any] = {name: getattr(current, name) for name in shown.__struct_fields__}
    return answers.tagged(request, encode(shown_to(request.version, shown(**values))))


def _logs(request: Request, stream: Stream, filename: str) -> HttpResponseBase:
    since = clock.now() - SHOWN_LOGS
    # Nobody will ask the same again: it is later then.
    lines = Rows(events.of_stream, (request.person, stream, since), is_kept=False)
    return logs.answer(request, lines, filename)


_READ, _WRITE = Action.READ_SERVER, Action.CHANGE_SERVER


def _section(path: str, views: tuple[Any, Any], shown: type[Shown], body: Any) -> list[Operation]:
    show, update = views
    return [
        Operation("GET", path, show, _READ, answer=shown),
        Operation("POST", path, update, _WRITE, body=body, answer=shown),
    ]


OPERATIONS = (
    *_section(
        "/settings/identifier/",
        (show_identifier, update_identifier),
        Identifier,
        settings.fields_of(sections.Identifier),
    ),
    *_section("/settings/proxy/", (show_proxy, update_proxy), ProxySettings, settings.PROXY_FIELDS),
    *_section("/settings/smtp/", (show_smtp, update_smtp), Smtp, settings.SMTP_FIELDS),
    *_section(
        "/settings/identity_provider/",
        (show_identity_provider, update_identity_provider),
        IdentityProvider,
        identity_provider.FIELDS,
    ),
    *_section(
        "/settings/license/",
        (show_licence, update_licence),
        Licence,
        settings.fields_of(sections.Licence),
    ),
    *_section(
        "/settings/cleanup/",
        (show_cleanup, update_cleanup),
        Cleanup,
        settings.fields_of(sections.Cleanup),
    ),
    Operation("POST", "/settings/cleanup/run/", clean_up, _WRITE, answer=Started, status=201),
    logs.operation("/settings/cleanup/logs/", cleanup_logs, _READ),
    *_section(
        "/settings/tagscan/",
        (show_tag_scanning, update_tag_scanning),
        TagScanning,
        settings.TAG_SCANNING,
    ),
    logs.operation("/settings/tagscan/logs/", tag_scan_logs, _READ),
)
