"""Settings that root changes at run time, section by section: the one place that reads the rows.

A section is a frozen dataclass. Its `option` fields are root's to change; the others are notes of
the server's own, beside them in the same row.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import connection

from cpm.resources.options import make, option

# The sweep asks for some of them each second, which the ORM takes five times as long to say.
_GET = "SELECT value FROM cpm_setting WHERE section = %s"
_PUT = """\
INSERT INTO cpm_setting (section, value) VALUES (%s, %s::jsonb)
ON CONFLICT (section) DO UPDATE SET value = """
_NEW_WINS = "cpm_setting.value || EXCLUDED.value"
_OLD_WINS = "EXCLUDED.value || cpm_setting.value"


@dataclass(frozen=True)
class Section:
    """One section as it is now; whatever nobody has set has its default."""

    name: ClassVar[str]

    @classmethod
    def current(cls) -> Self:
        """The section in force."""
        return cls._read(_GET)

    @classmethod
    def locked(cls) -> Self:
        """The same, kept from changes by others until the transaction ends, if it is a row yet."""
        return cls._read(f"{_GET} FOR UPDATE")

    @classmethod
    def change(cls, **values: Any) -> None:
        """Set these values and leave all others as they are, whoever changes them just now."""
        cls._put(_NEW_WINS, values)

    @classmethod
    def keep_first(cls, **values: Any) -> None:
        """Set these values where nobody has set them yet: whoever comes first decides."""
        cls._put(_OLD_WINS, values)

    @classmethod
    def _read(cls, statement: str) -> Self:
        with connection.cursor() as cursor:
            cursor.execute(statement, [cls.name])
            row = cursor.fetchone()
        return make(cls, json.loads(row[0]) if row else {})

    @classmethod
    def _put(cls, merged: str, values: dict[str, Any]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_PUT + merged, [cls.name, json.dumps(values)])


@dataclass(frozen=True)
class Identifier(Section):
    """Who this server is."""

    name: ClassVar[str] = "identifier"

    cpm_name: str = option("CPM", label="Name of this server", max_length=100)
    # Made up when it is asked for the first time, and never changed.
    cpm_uuid: str = ""

    @classmethod
    def current(cls) -> Self:
        """See `Section`."""
        found = super().current()
        if not found.cpm_uuid:
            cls.keep_first(cpm_uuid=str(uuid.uuid4()))
            found = super().current()
        return found

    @property
    def time_zone(self) -> str:
        """The zone in which schedules keep wall-clock time."""
        return str(settings.ENVIRONMENT.time_zone)


@dataclass(frozen=True)
class ProxySettings(Section):
    """The proxy that all calls to AWS go through."""

    name: ClassVar[str] = "proxy"

    enabled: bool = option(False, label="Use a proxy")
    address: str = option("", label="Address", max_length=255)
    port: int | None = option(None, label="Port", minimum=1, maximum=65535)
    username: str = option("", label="User name", max_length=255)
    sealed_password: str = ""


class SmtpSecurity(StrEnum):
    """How the connection to the SMTP server is kept from others."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


@dataclass(frozen=True)
class Smtp(Section):
    """The server that e-mail to users goes through."""

    name: ClassVar[str] = "smtp"

    enabled: bool = option(False, label="Send e-mail")
    address: str = option("", label="Address", max_length=255)
    port: int = option(587, label="Port", minimum=1, maximum=65535)
    security: str = option(SmtpSecurity.STARTTLS.value, label="Security")
    username: str = option("", label="User name", max_length=255)
    sender: str = option("", label="Sender", max_length=254)
    sealed_password: str = ""


@dataclass(frozen=True)
class IdentityProvider(Section):
    """Who vouches for people, by SAML 2.0, besides our own passwords."""

    name: ClassVar[str] = "identity_provider"

    enabled: bool = option(False, label="Use an identity provider")
    entity_id: str = option("", label="Entity ID")
    login_url: str = option("", label="Log-in address")
    logout_url: str = option("", label="Log-out address")
    name_id_format: str = option("unspecified", label="Format of names")
    x509_cert: str = option("", label="Certificate")
    # Where the server was when root last enabled it: host and port as browsers name them.
    server_host: str = ""
    # With what the server signs what it says to the provider; made when it is needed first.
    sealed_key: str = ""
    certificate: str = ""


@dataclass(frozen=True)
class Licence(Section):
    """Caps for the whole server, and whether accounts may work across each other."""

    name: ClassVar[str] = "license"

    max_accounts: int | None = option(None, label="Accounts, of both kinds")
    max_users: int | None = option(None, label="Users beside root")
    cross_account: bool = option(True, label="Functions across accounts")


@dataclass(frozen=True)
class Cleanup(Section):
    """How often is cleaned up, and how long what is kept. Times are as on the wire."""

    name: ClassVar[str] = "cleanup"

    cleanup_interval_hours: int = option(6, label="Interval (hours)", minimum=1, maximum=168)
    keep_records_days: int = option(
        90, label="Keep records without snapshots (days)", minimum=1, maximum=36500
    )
    rotate_single_amis_days: int = option(
        30, label="Replace initial AMIs after (days)", minimum=1, maximum=36500
    )
    keep_audit_days: int = option(
        365, label="Keep the audit trail (days)", minimum=1, maximum=36500
    )
    last_cleanup_time: str | None = None
    is_wanted: bool = False


@dataclass(frozen=True)
class TagScanning(Section):
    """How often tags are scanned. Times are as on the wire."""

    name: ClassVar[str] = "tagscan"

    enabled: bool = option(True, label="Scan tags")
    interval_hours: int = option(6, label="Interval (hours)", minimum=1, maximum=168)
    # When the last round was over, and when it or a newer one began.
    last_scan_time: str | None = None
    started_time: str | None = None
    is_under_way: bool = False


@dataclass(frozen=True)
class AgentLooks(Section):
    """When AWS was asked about agents; nothing of it is root's to change."""

    name: ClassVar[str] = "agents"

    last_look_time: str | None = None


@dataclass(frozen=True)
class Inventory(Section):
    """When what AWS keeps was compared with the rows; nothing of it is root's to change."""

    name: ClassVar[str] = "inventory"

    last_inventory_time: str | None = None
    # What the server has ever made, and where: kinds by region by account, also when all records of
    # it are gone. About others it does not ask, to which it may have no right.
    places: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)
