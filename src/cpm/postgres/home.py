"""Where a cluster's files are.

The home of a cluster is the directory it was asked for, unless root asks and the OS user of
postgres cannot get there (below /root, below a private temporary directory). Then the home is a
new directory of its own below `/var/lib/cpm-postgres` (`CPM_PG_STATE_DIR` names another place),
and the file `location` in the directory that was asked for says which. Nobody's permissions are
changed to get around that.

    location          only there when the home is elsewhere: its path
    lock              flock: who runs the cluster
    state.json        what the supervisor is doing
    password          of the role `cpm`; 0600
    postgresql.conf   written at each start
    pg_hba.conf       written at each start
    override.conf     settings of the operator, never touched
    log/              postgres.log, postgres.log.1, ...
    run/              the socket; 0700
    data/             what PostgreSQL calls the data directory; 0700
"""

import hashlib
import os
import stat
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from cpm.postgres.errors import DirectoryUnusable
from cpm.postgres.os_user import OsUser
from cpm.postgres.settings import PORT

_LOCATION = "location"
_LONGEST_SOCKET_PATH = 100  # bytes; Linux takes 107, others less


@dataclass(frozen=True)
class Home:
    """The paths of one cluster; `directory` is what the product calls it."""

    directory: Path
    path: Path

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.path / "data"

    @property
    def lock(self) -> Path:
        """The file whose flock says who runs the cluster."""
        return self.path / "lock"

    @property
    def state(self) -> Path:
        """What the supervisor is doing."""
        return self.path / "state.json"

    @property
    def password(self) -> Path:
        """The password of the role `cpm`."""
        return self.path / "password"

    @property
    def configuration(self) -> Path:
        """The server's configuration file."""
        return self.path / "postgresql.conf"

    @property
    def access(self) -> Path:
        """The server's rules of who may connect."""
        return self.path / "pg_hba.conf"

    @property
    def override(self) -> Path:
        """The operator's own settings."""
        return self.path / "override.conf"

    @property
    def log(self) -> Path:
        """What postgres, its programs and the supervisor had to say."""
        return self.path / "log" / "postgres.log"

    @property
    def socket_directory(self) -> Path:
        """The private directory of the socket: in the home unless that path is too long."""
        inside = self.path / "run"
        if _socket_path_fits(inside):
            return inside
        name = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return _runtime_directory() / f"cpm-postgres-{name}"


def find(directory: Path) -> Home:
    """The home of a cluster that exists, or would exist, for `directory`.

    Raises DirectoryUnusable when it is recorded to be in a place that is gone.
    """
    directory = directory.absolute()
    try:
        recorded = Path((directory / _LOCATION).read_text().strip())
    except (FileNotFoundError, NotADirectoryError):
        return Home(directory, directory)
    except PermissionError as error:
        raise DirectoryUnusable(_permission_text(directory)) from error
    if not recorded.is_dir():
        raise DirectoryUnusable(
            f"{directory / _LOCATION} says that the database is in {recorded}, which is gone."
            f" Bring it back, or delete {directory / _LOCATION} to begin with an empty database."
        )
    return Home(directory, recorded)


def prepare(directory: Path, user: OsUser) -> Home:
    """Make the home for `directory` and choose its place, at the first start.

    Raises DirectoryUnusable when the directory cannot be made or written.
    """
    try:
        directory.mkdir(mode=0o700 if user.is_us else 0o710, parents=True, exist_ok=True)
        home = find(directory)
        if home.path == home.directory and not user.is_us and not home.data.exists():
            home = _place(home, user)
        _make_private(home.log.parent)
    except OSError as error:
        raise DirectoryUnusable(
            f"cannot keep a database in {directory}: {error.strerror} ({error.filename})."
            " Choose another data directory, or let this user write there."
        ) from error
    return home


def prepare_socket_directory(home: Home, user: OsUser) -> Path:
    """Make the socket's directory, and clear it of what a killed server left.

    Only for the holder of the lock. Raises DirectoryUnusable when somebody else owns it.
    """
    directory = home.socket_directory
    _make_private(directory)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {os.geteuid(), user.uid}:
        raise DirectoryUnusable(
            f"{directory} should be the private directory of the database's socket, and belongs"
            " to another user. Delete it, or choose a data directory with a shorter path."
        )
    directory.chmod(0o700)
    user.give(directory)
    for leftover in directory.glob(".s.PGSQL.*"):
        leftover.unlink()
    return directory


def state_directory() -> Path:
    """Where root keeps clusters that cannot be where they were asked for, and copied programs."""
    return Path(os.environ.get("CPM_PG_STATE_DIR", "/var/lib/cpm-postgres"))


def _place(home: Home, user: OsUser) -> Home:
    own_directory = home.directory
    if not any(own_directory.iterdir()):
        os.chown(own_directory, -1, user.gid)
    if user.reaches(own_directory):
        return home
    elsewhere = state_directory() / "clusters" / uuid.uuid4().hex
    elsewhere.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    elsewhere.mkdir(mode=0o710)
    os.chown(elsewhere, -1, user.gid)
    if not user.reaches(elsewhere):
        elsewhere.rmdir()
        raise DirectoryUnusable(
            f"the OS user {user.name}, who runs postgres, can reach neither {own_directory} nor"
            f" {elsewhere.parent}. Choose a data directory that every user may pass through,"
            " or name such a place in CPM_PG_STATE_DIR."
        )
    return _record(home.directory, elsewhere)


def _record(directory: Path, elsewhere: Path) -> Home:
    """Write `location`; when another process was faster, its choice stands."""
    draft = directory / f".{_LOCATION}.{elsewhere.name}"
    draft.write_text(f"{elsewhere}\n")
    try:
        os.link(draft, directory / _LOCATION)
    except FileExistsError:
        elsewhere.rmdir()
    finally:
        draft.unlink()
    return find(directory)


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)


def _socket_path_fits(directory: Path) -> bool:
    return len(os.fsencode(directory / f".s.PGSQL.{PORT}")) <= _LONGEST_SOCKET_PATH


def _runtime_directory() -> Path:
    """The first place for runtime files that exists and that we may write."""
    wanted = [Path("/run")] if os.geteuid() == 0 else []
    if os.environ.get("XDG_RUNTIME_DIR") and os.geteuid() != 0:
        wanted = [Path(os.environ["XDG_RUNTIME_DIR"])]
    for candidate in (*wanted, Path(tempfile.gettempdir())):
        longest_name = candidate / ("x" * len("cpm-postgres-0123456789abcdef"))
        if os.access(candidate, os.W_OK | os.X_OK) and _socket_path_fits(longest_name):
            return candidate
    return Path("/tmp")  # noqa: S108 - short and everywhere; our directory in it is private


def _permission_text(directory: Path) -> str:
    return (
        f"the database in {directory} belongs to another OS user."
        " Run this command as the user that runs the server."
    )
