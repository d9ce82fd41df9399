"""One PostgreSQL cluster on disk: made once, then configured and started as often as needed."""

import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from cpm.postgres import binaries, home, leftovers, os_user, programs, settings, sockets
from cpm.postgres.address import DATABASE, ROLE, Address
from cpm.postgres.errors import DirectoryUnusable, PostgresError
from cpm.postgres.files import write_private
from cpm.postgres.log import Log
from cpm.postgres.os_user import OsUser

_OLDEST_MAJOR = 17  # the first with the builtin locale

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

    Making this object makes the directory and decides where the files go (see `home`); all other
    writing is for the holder of the lock. Raises DirectoryUnusable or PostgresError.

    There is a superuser, `postgres`, with no password and no way to connect. Whoever needs it
    stops the server and runs, as the owner of the data directory, `postgres --single -D DATA`.
    """

    def __init__(self, directory: Path) -> None:
        self.user = _user_for(home.find(directory).data)
        self.home = home.prepare(directory, self.user)
        self.log = Log(self.home.log)
        self.bin = binaries.directory_for(self.user, home.binaries_directory())
        self.socket_directory = sockets.directory_for(self.home.path)

    @property
    def address(self) -> Address:
        """How to connect to it."""
        return Address(self.socket_directory, self.home.password.read_text().strip())

    @property
    def uri(self) -> str:
        """How the product connects to it: a libpq URI."""
        return self.address.uri

    def initialise(self, *, durable: bool = True) -> None:
        """Make what is missing: the data directory, the role, its database and its password."""
        self._refuse_unfit_programs()
        home.mark_durability(self.home, durable=durable)
        if not (self.home.data / "PG_VERSION").exists():
            self._refuse_to_replace_lost_data()
            self._create(durable)
        self._refuse_unreachable_data()
        self._refuse_foreign_version()
        if not self.home.password.exists():
            self._set_password()

    def configure(self, *, durable: bool = True) -> None:
        """Write the configuration and make the socket's directory, before each start."""
        sockets.prepare(self.socket_directory, self.user)
        text = settings.configuration(
            data=self.home.data,
            access=self.home.access,
            socket_directory=self.socket_directory,
            override=self.home.override if self.home.override.exists() else None,
            durable=durable,
        )
        self._write_for_postgres(self.home.configuration, text)
        self._write_for_postgres(self.home.access, settings.ACCESS)

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server; orphaned, it stops as cleanly as when asked to."""
        command: list[str | Path] = [self.bin / "postgres", "-D", self.home.data]
        command += ["-c", f"config_file={self.home.configuration}"]
        return programs.spawn(command, user=self.user, log=self.log, when_orphaned=signal.SIGINT)

    def clear_leftovers(self) -> None:
        """Make way for a new server: see `leftovers`."""
        leftovers.clear(self.home.data, self.log)

    def _create(self, durable: bool) -> None:
        """Build the data directory beside its place, so that it is never there by half."""
        draft = self.home.path / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self.user.give(draft)
        self.log.write(f"making a new database in {self.home.data}")
        self._initdb(draft, durable)
        self._count_as_ours(draft)
        self._run_alone(draft, "postgres", _CREATE_DATABASE)
        self._run_alone(draft, DATABASE, _CREATE_EXTENSION)
        draft.rename(self.home.data)  # an empty directory in its place is no hindrance

    def _initdb(self, data: Path, durable: bool) -> None:
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        options = ["--username=postgres", "--auth=reject", "--data-checksums", "--no-instructions"]
        if not durable:
            options.append("--no-sync")
        command: list[str | Path] = [self.bin / "initdb", "-D", data, "--encoding=UTF8"]
        programs.run([*command, *locale, *options], user=self.user, log=self.log)

    def _count_as_ours(self, data: Path) -> None:
        """Leave the numbers of system objects behind.

        Until a first start with connections, new objects get such numbers, and pg_dump would
        leave out the extension that has one.
        """
        command: list[str | Path] = [self.bin / "pg_resetwal", "-D", data]
        programs.run([*command, "--next-oid", "16384"], user=self.user, log=self.log)

    def _run_alone(self, data: Path, database: str, statements: str) -> None:
        """Run statements, one per line, as the superuser of a server that is down.

        Statements hold a password: a failing one must not end up in the log.
        """
        options = ["-c", "exit_on_error=on", "-c", "log_min_error_statement=panic"]
        command: list[str | Path] = [self.bin / "postgres", "--single", "-D", data]
        programs.run(
            [*command, *options, database],
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

    def _refuse_to_replace_lost_data(self) -> None:
        data, password = self.home.data, self.home.password
        if password.exists():
            raise DirectoryUnusable(
                f"the database in {data} is gone, but {password} shows that there was one."
                f" Bring it back (is a disk not mounted?), or delete {password}"
                " to begin with an empty database."
            )

    def _refuse_unreachable_data(self) -> None:
        blocked_at = self.user.blocked_at(self.home.path)
        if blocked_at is not None:
            raise DirectoryUnusable(
                f"the OS user {self.user.name}, who runs postgres, cannot pass {blocked_at} to"
                f" get to {self.home.data}. Let every user pass (chmod o+x {blocked_at}),"
                " or move the database back to where it was."
            )

    def _refuse_unfit_programs(self) -> None:
        ours = binaries.version(self.bin)
        if int(binaries.major(ours)) < _OLDEST_MAJOR:
            raise PostgresError(
                f"the programs in {self.bin} are PostgreSQL {ours}; cpm needs {_OLDEST_MAJOR} or"
                " later. Set PG_BIN to a later one, or unset it to use the one that cpm brings."
            )

    def _refuse_foreign_version(self) -> None:
        made_by = (self.home.data / "PG_VERSION").read_text().strip()
        ours = binaries.version(self.bin)
        if made_by == binaries.major(ours):
            return
        others = binaries.of_major(made_by, home.binaries_directory())
        first = "" if others else f"apt-get install postgresql-{made_by} && "
        others = others or Path("/usr/lib/postgresql", made_by, "bin")
        raise DirectoryUnusable(
            f"the database in {self.home.data} was made by PostgreSQL {made_by}, and the programs"
            f" in {self.bin} are {ours}. To run it as it is: {first}PG_BIN={others} cpm serve"
        )

    def _write_for_postgres(self, path: Path, text: str) -> None:
        """For files beside the data directory: postgres may read them, and only root write."""
        write_private(path, text)
        if not self.user.is_us:
            os.chown(path, -1, self.user.gid)
            path.chmod(0o640)


def _user_for(data: Path) -> OsUser:
    return os_user.for_existing_cluster(data) if _holds_cluster(data) else os_user.for_new_cluster()


def _holds_cluster(data: Path) -> bool:
    try:
        return (data / "PG_VERSION").exists()
    except PermissionError:
        return True  # somebody's
