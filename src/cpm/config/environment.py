"""Settings that come from the environment: read, typed and checked in one place.

Every variable may also be given as `NAME_FILE`, the path of a file that holds the value, so that
secrets need not stand in the environment.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

PREFIX = "CPM_"


class BadEnvironment(Exception):
    """A variable that cannot be used; the message names it and says what it should be."""


@dataclass(frozen=True)
class Environment:
    """The server's settings. Fields are variables: `data` is `CPM_DATA`, and so on."""

    data: Path = Path("/var/lib/cpm")
    time_zone: str = "UTC"
    bind: str = "0.0.0.0"  # noqa: S104 - a server for others, as the manual says
    port: int = 443
    hosts: tuple[str, ...] = ("*",)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    web_workers: int = 2
    web_threads: int = 8
    workers: int = 2
    worker_concurrency: int = 10
    log_format: str = "json"
    log_level: str = "INFO"

    access_token_minutes: int = 60
    refresh_token_hours: int = 24
    bad_tokens_per_minute: int = 10
    max_body_bytes: int = 1024 * 1024
    api_versions: tuple[str, ...] = ()

    aws_endpoint: str = ""
    aws_budget_share: float = 1.0
    settle_seconds: float = 30.0
    poll_seconds: float = 5.0
    clock_offset_file: str = ""
    pg_os_user: str = ""
    scripts: Path | None = None

    database_url: str = field(default="", metadata={"name": "DATABASE_URL"})
    secret_key: str = ""
    root_password: str = ""


def read(environ: Mapping[str, str] = os.environ) -> Environment:
    """Reads and checks the environment; raises `BadEnvironment` on the first fault."""
    values: dict[str, Any] = {}
    for spec in fields(Environment):
        name = spec.metadata.get("name", PREFIX + spec.name.upper())
        text = _text(name, environ)
        if text is not None:
            values[spec.name] = _convert(name, text, spec.default)
    environment = Environment(**values)
    _check(environment)
    return environment


def _text(name: str, environ: Mapping[str, str]) -> str | None:
    if name in environ:
        return environ[name]
    path = environ.get(f"{name}_FILE")
    if path is None:
        return None
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise BadEnvironment(f"{name}_FILE: cannot read {path}: {error.strerror}") from error


def _convert(name: str, text: str, default: object) -> object:
    try:
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float):
            return float(text)
    except ValueError:
        raise BadEnvironment(f"{name} must be a number, not {text!r}") from None
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if isinstance(default, Path) or default is None:
        return Path(text)
    return text


def _check(environment: Environment) -> None:
    try:
        ZoneInfo(environment.time_zone)
    except (ValueError, OSError) as error:
        raise BadEnvironment(
            f"CPM_TIME_ZONE must be an IANA zone such as Europe/Berlin: {error}"
        ) from error
    if not 0 < environment.aws_budget_share <= 1:
        raise BadEnvironment("CPM_AWS_BUDGET_SHARE must be above 0 and at most 1")
    if not 0 < environment.port < 65536:
        raise BadEnvironment("CPM_PORT must be between 1 and 65535")
