"""How the product reaches its database: as the role that owns it, over the socket."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cpm.postgres.settings import PORT

ROLE = "cpm"
DATABASE = "cpm"


@dataclass(frozen=True)
class Address:
    """Where a server listens, and the password of the role."""

    socket_directory: Path
    password: str

    @property
    def uri(self) -> str:
        """A libpq URI, for everything that connects."""
        host = quote(str(self.socket_directory), safe="")
        password = quote(self.password, safe="")
        return f"postgresql://{ROLE}:{password}@/{DATABASE}?host={host}&port={PORT}"

    @property
    def variables(self) -> dict[str, str]:
        """The same for PostgreSQL's programs: everybody can read a command line, but not these."""
        return {
            "PGHOST": str(self.socket_directory),
            "PGPORT": str(PORT),
            "PGUSER": ROLE,
            "PGDATABASE": DATABASE,
            "PGPASSWORD": self.password,
            "PGCONNECT_TIMEOUT": "10",
        }
