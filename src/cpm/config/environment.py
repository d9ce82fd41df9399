"""Settings that come from the environment: read, typed and checked in one place.

Every variable may also be given as `NAME_FILE`, the path of a file that holds the value, so that
secrets need not stand in the environment.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

PREFIX = "CPM_"
# In the data directory.
OWN_CERTIFICATE = Path("tls") / "certificate.pem"
# Read where they are needed, by processes that know nothing of the rest; or for others to read.
READ_ELSEWHERE = {
    "CPM_PG_OS_USER": "The operating system's user that runs the embedded PostgreSQL for root.",
    "CPM_PG_STATE_DIR": "Where root keeps clusters that their own directory cannot hold.",
    "CPM_CLOCK_OFFSET_FILE": "A file with seconds to add to the clock, for rehearsals.",
    "CPM_USER": "Told to scripts: whose policy it is.",
    "CPM_POLICY": "Told to scripts: the policy's name.",
    "CPM_BACKUP_ID": "Told to scripts: the id of the backup's record.",
}


class BadEnvironment(Exception):
    """A variable that cannot be used; the message names it and says what it should be."""


def _setting(default: Any, meaning: str, *, name: str = "") -> Any:
    return field(default=default, metadata={"meaning": meaning, "name": name})


@dataclass(frozen=True)
class Environment:
    """The server's settings. Fields are variables: `data` is `CPM_DATA`, and so on."""

    data: Path = _setting(Path("/var/lib/cpm"), "The data directory.")
    database_url: str = _setting(
        "", "A PostgreSQL to use instead of the embedded one.", name="DATABASE_URL"
    )
    secret_key: str = _setting(
        "", "What secrets are sealed and tokens are signed with; else `secret.key` in the data."
    )
    root_password: str = _setting("", "Root's password at the very first start; else made up.")
    time_zone: str = _setting("UTC", "The zone in which schedules keep wall-clock time.")

    bind: str = _setting("0.0.0.0", "The address to listen on.")  # noqa: S104 - a server for others
    port: int = _setting(443, "The port to listen on.")
    hosts: tuple[str, ...] = _setting(("*",), "Host names by which clients may call the server.")
    server_url: str = _setting(
        "",
        "Where worker machines in AWS reach the server, as `https://cpm.example.com:8443`; without"
        " it none are launched.",
    )
    server_ca: Path | None = _setting(
        None,
        "What certificates (PEM) they trust when they call it; without it, the server's own alone.",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (),
        "Addresses or networks of proxies in front: the client's address is then what they say in"
        " `X-Forwarded-For`. They have to drop headers with `_` in their names, as most do.",
    )
    tls_certificate: Path | None = _setting(None, "A certificate (PEM) instead of our own.")
    tls_key: Path | None = _setting(None, "Its private key (PEM, PKCS 8).")
    web_workers: int = _setting(2, "Processes that answer requests.")
    web_threads: int = _setting(8, "Requests that each of them answers at once.")
    max_body_bytes: int = _setting(1024 * 1024, "The largest request body.")

    workers: int = _setting(2, "Worker processes of `cpm serve`.")
    worker_concurrency: int = _setting(10, "Jobs that each of them does at once.")
    worker_stalled_seconds: float = _setting(
        60.0, "A worker that is silent for so long is taken for dead; others do its jobs."
    )

    scripts: Path | None = _setting(
        None, "The folder of users' scripts; else `scripts` in the data."
    )
    script_concurrency: int = _setting(20, "Scripts that each worker process runs at once.")

    archive_concurrency: int = _setting(
        2, "Ranges of volumes that each worker process copies to S3, or back, at once."
    )
    archive_memory_mib: int = _setting(
        512, "What they take together for blocks on their way (MiB), in each process."
    )
    archive_connections: int = _setting(8, "Blocks that each of them reads at once.")
    archive_level: int = _setting(2, "How hard zstd tries on blocks, from 1 to 19.")
    archive_indexed_blocks: int = _setting(
        1_000_000,
        "Blocks of each repository that are found again, so that other volumes need not store them"
        " once more; some 160 bytes each in the database.",
    )

    access_token_minutes: int = _setting(60, "How long an access token lives.")
    refresh_token_hours: int = _setting(24, "How long a refresh token lives.")
    bad_tokens: int = _setting(10, "Bad keys and tokens that one address may send.")
    bad_tokens_seconds: int = _setting(60, "The time in which they are counted.")
    api_versions: tuple[str, ...] = _setting((), "Further version strings, as `1.7=1.2.0`.")

    aws_endpoint: str = _setting("", "An address to call instead of AWS: the simulator's.")
    aws_budget_share: float = _setting(1.0, "The share of AWS's request rates that is ours.")
    settle_seconds: float = _setting(30.0, "How long AWS's lists may lag behind.")
    poll_seconds: float = _setting(5.0, "The shortest time between two looks at work in AWS.")

    inventory_hours: int = _setting(
        24, "Hours between two comparisons of what AWS keeps with the records; 0 for none."
    )

    archive_collect_hours: int = _setting(
        24, "Hours between two collections of garbage in each S3 repository; 0 for none."
    )
    archive_verify_days: int = _setting(
        30,
        "Days within which everything in each S3 repository is read again and verified; 0 for"
        " never. Some storage classes charge for reading.",
    )

    webhook_networks: tuple[str, ...] = _setting(
        (),
        "Networks that are not public, as `10.0.0.0/8`, to which users' webhooks may go all the"
        " same, also without encryption (http).",
    )

    metrics_token: str = _setting(
        "", "Who sends it as a bearer token may read `/metrics`; without it, this machine alone."
    )
    log_format: str = _setting("json", "`json`, or `text` for people.")
    log_level: str = _setting("INFO", "`DEBUG`, `INFO`, `WARNING` or `ERROR`.")

    @property
    def certificate(self) -> Path:
        """The certificate in use on this machine, if it is there: the server's own, or another."""
        return self.tls_certificate or self.data / OWN_CERTIFICATE

    @property
    def scripts_folder(self) -> Path:
        """Where users' scripts lie, in a folder for each user."""
        return self.scripts or self.data / "scripts"


def variable(spec: "Field[Any]") -> str:
    """The name of a field's variable."""
    return str(spec.metadata["name"] or PREFIX + spec.name.upper())


def read(environ: Mapping[str, str] = os.environ) -> Environment:
    """Reads and checks the environment; raises `BadEnvironment` on the first fault."""
    _refuse_unknown(environ)
    values: dict[str, Any] = {}
    for spec in fields(Environment):
        text = _text(variable(spec), environ)
        if text is not None:
            values[spec.name] = _convert(variable(spec), text, spec.default)
    environment = Environment(**values)
    _check(environment)
    return environment


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    """A misspelt variable would otherwise be a setting that silently is not made."""
    known = set(_known())
    for name in environ:
        if name.startswith(PREFIX) and name not in known:
            raise BadEnvironment(f"{name} is no setting of this server; see docs/settings.md")


def _known() -> Iterator[str]:
    yield from READ_ELSEWHERE
    for spec in fields(Environment):
        yield variable(spec)
        yield f"{variable(spec)}_FILE"


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
    except (KeyError, ValueError, OSError) as error:
        raise BadEnvironment(
            f"CPM_TIME_ZONE must be an IANA zone such as Europe/Berlin: {error}"
        ) from error
    _check_networks("CPM_TRUSTED_PROXIES", environment.trusted_proxies)
    _check_networks("CPM_WEBHOOK_NETWORKS", environment.webhook_networks)
    if not 0 < environment.aws_budget_share <= 1:
        raise BadEnvironment("CPM_AWS_BUDGET_SHARE must be above 0 and at most 1")
    if environment.worker_stalled_seconds < 1:
        raise BadEnvironment("CPM_WORKER_STALLED_SECONDS must be at least 1")
    if environment.archive_concurrency < 1 or environment.archive_connections < 1:
        raise BadEnvironment("CPM_ARCHIVE_CONCURRENCY and .._CONNECTIONS must be at least 1")
    if not 1 <= environment.archive_level <= 19:
        raise BadEnvironment("CPM_ARCHIVE_LEVEL must be between 1 and 19")
    if not 0 <= environment.port < 65536:
        raise BadEnvironment("CPM_PORT must be between 0 and 65535")
    if environment.server_url and not environment.server_url.startswith("https://"):
        raise BadEnvironment("CPM_SERVER_URL must begin with https://")
    if bool(environment.tls_certificate) != bool(environment.tls_key):
        raise BadEnvironment("CPM_TLS_CERTIFICATE and CPM_TLS_KEY belong together")


def _check_networks(name: str, networks: Iterable[str]) -> None:
    for network in networks:
        try:
            ip_network(network)
        except ValueError as error:
            raise BadEnvironment(f"{name} must list addresses and networks: {error}") from error
