"""Which PostgreSQL the server uses: `DATABASE_URL`, or the embedded one of the data directory."""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cpm.config.environment import Environment

# Where nothing has been set (linters, schema generation) Django still needs a well-formed entry.
_NOWHERE = "postgresql://cpm@localhost/cpm"
# libpq would wait for minutes for a host that is switched off, and as good as for ever for the
# answer of one that has vanished. DATABASE_URL may say otherwise, in its query.
_PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}


def connection_settings(environment: Environment) -> dict[str, Any]:
    """The Django `DATABASES` entry for this environment."""
    url = urlsplit(environment.database_url or _NOWHERE)
    options: dict[str, Any] = dict(parse_qsl(url.query))
    host = options.pop("host", url.hostname or "")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(url.path.lstrip("/")) or "cpm",
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": unquote(host),
        "PORT": str(url.port or ""),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {**_PATIENCE, **options},
    }
