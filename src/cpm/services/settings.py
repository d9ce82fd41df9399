"""Writes of the server's settings, and the work that they ask for at once."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.db import transaction

from cpm.engine import cleanup, tagscan
from cpm.engine.settings import ProxySettings, Section, Smtp, SmtpSecurity, TagScanning
from cpm.kernel import names
from cpm.kernel.invalid import Invalid, Problem
from cpm.queries import accounts
from cpm.queries.errors import one
from cpm.queries.people import Person
from cpm.services import access, audit, options
from cpm.services.access import Action
from cpm.services.fields import Field, Fields
from cpm.services.given import Given
from cpm.services.kinds import boolean, choice, email, integer, text

PROXY_FIELDS = Fields(
    (
        Field("enabled", boolean()),
        Field("address", text(names.host, blank=True)),
        Field("port", integer(1, 65535), nullable=True),
        Field("username", text(blank=True, max_length=255)),
        Field("password", text(blank=True, max_length=255)),
    )
)


SMTP_FIELDS = Fields(
    (
        Field("enabled", boolean()),
        Field("address", text(names.host, blank=True)),
        Field("port", integer(1, 65535)),
        Field("security", choice(*SmtpSecurity)),
        Field("username", text(blank=True, max_length=255)),
        Field("password", text(blank=True, max_length=255)),
        Field("sender", email()),
    )
)


def fields_of(section: type[Section]) -> Fields:
    """What a body about a section may hold; what it leaves out stays as it is."""
    return Fields(options.fields(section))


TAG_SCANNING = Fields(
    (
        *fields_of(TagScanning),
        Field("run", boolean(), description="Scan now, whether or not that is due or enabled."),
    )
)


@transaction.atomic
def update(section: type[Section], data: Mapping[str, object], *, actor: Person) -> None:
    """Change what `data` holds. Raises `Forbidden` and `Invalid`."""
    access.require(actor, Action.CHANGE_SERVER)
    given = fields_of(section).read(data, partial=True)
    given.check()
    change(section, given, actor=actor)


def change(section: type[Section], values: Mapping[str, Any], *, actor: Person) -> None:
    """Store values that have been checked."""
    if values:
        section.change(**values)
        audit.record(actor, "update settings", section.name, ", ".join(values))


@transaction.atomic
def update_proxy(data: Mapping[str, object], *, actor: Person) -> None:
    """Change the proxy; a password that is left out stays. Raises `Forbidden` and `Invalid`."""
    access.require(actor, Action.CHANGE_SERVER)
    given = PROXY_FIELDS.read(data, partial=True)
    kept = ProxySettings.locked()
    _refuse_incomplete(given, kept, ("address", "port"), "A proxy")
    given.check()
    _change_with_password(ProxySettings, given, actor=actor)


@transaction.atomic
def update_smtp(data: Mapping[str, object], *, actor: Person) -> None:
    """Change the SMTP server; a password that is left out stays. Raises `Forbidden`, `Invalid`."""
    access.require(actor, Action.CHANGE_SERVER)
    given = SMTP_FIELDS.read(data, partial=True)
    kept = Smtp.locked()
    _refuse_incomplete(given, kept, ("address", "sender"), "An SMTP server")
    security = given.get("security", kept.security)
    if security == SmtpSecurity.NONE and given.get("username", kept.username):
        given.refuse("security", "invalid", "No password goes without TLS: leave out the user.")
    given.check()
    _change_with_password(Smtp, given, actor=actor)


@transaction.atomic
def clean_up(*, actor: Person) -> None:
    """Have a cleanup begin at once, unless one is under way. Raises `Forbidden`."""
    access.require(actor, Action.CHANGE_SERVER)
    cleanup.ask()
    audit.record(actor, "run cleanup")


@transaction.atomic
def update_tag_scanning(data: Mapping[str, object], *, actor: Person) -> None:
    """Change what `data` holds, and scan all tags at once if it says so.

    Raises `Forbidden` and `Invalid`.
    """
    access.require(actor, Action.CHANGE_SERVER)
    given = TAG_SCANNING.read(data, partial=True)
    given.check()
    runs = given.pop("run", False)
    change(TagScanning, given, actor=actor)
    if runs:
        scan(actor=actor)


@transaction.atomic
def scan(account_id: int | None = None, *, actor: Person) -> list[int]:
    """Have the tags of all accounts, or of one, scanned at once; the ids of the scans.

    Raises `Forbidden`, `NotFound`, and `Invalid` for an account that does not scan.
    """
    access.require(actor, Action.CHANGE_SERVER)
    if account_id is None:
        places = tagscan.start()
    else:
        rows = accounts.backup_accounts(actor)
        account = one(rows, account_id)
        places = tagscan.ask(rows.filter(pk=account_id))
        if not places:
            message = f"Account {account.name} does not scan its tagged resources."
            raise Invalid(Problem("invalid", message, "account"))
    audit.record(actor, "run tag scan")
    return [place.pk for place in places]


def _change_with_password(section: type[Section], given: Given, *, actor: Person) -> None:
    password = given.pop("password", None)
    if password is not None:
        given["sealed_password"] = _sealed(password)
    change(section, given, actor=actor)


def _refuse_incomplete(
    given: Given, kept: ProxySettings | Smtp, needed: Iterable[str], what: str
) -> None:
    """Note what has to be there of something that is enabled."""
    if not given.get("enabled", kept.enabled):
        return
    for name in needed:
        if not given.get(name, getattr(kept, name)):
            given.refuse(name, "required", f"{what} that is enabled needs this.")


def _sealed(password: str) -> str:
    return settings.SEALER.seal(password).decode() if password else ""
