"""Where a cluster's files are.

The home of a cluster is the directory it was asked for, unless root asks and the OS user of
postgres cannot get there (below /root, below a private temporary directory). Then the home is a
new directory of its own below `/var/lib/cpm-postgres` (`CPM_PG_STATE_DIR` names another place),
and the file `location` in the directory that was asked for says which. Nobody's permissions are
changed to get around that.

    location          only there when the home is elsewhere: its path
    owner             only there when the home is elsewhere: the directory that was asked for
    scratch           only there when the home is elsewhere and holds nothing durable
    lock              flock: who runs the cluster
    state.json        what the supervisor is doing
    password          of the role `cpm`; 0600
    postgresql.conf   written at each start
    pg_hba.conf       written at each start
    override.conf     settings of the operator, never touched
    log/              postgres.log, postgres.log.1, ...
    run/              the socket; 0700
    data/             what PostgreSQL calls the data directory; 0700

Root writes only where root owns the directory, never into `data` or `run`: a link put there by
a broken-into postgres must not lead root astray.
"""

import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from cpm.postgres import lock
from cpm.postgres.errors import AlreadyRunning, DirectoryUnusable
from cpm.postgres.files import make_directory, write_private
from cpm.postgres.os_user import OsUser

_LOCATION = "location"
_OWNER = "owner"
_SCRATCH = "scratch"


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
    def is_elsewhere(self) -> bool:
        """Whether the files are not in the directory that was asked for."""
        return self.path != self.directory


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
        raise belongs_to_another(directory) from error
    if not recorded.is_dir():
        raise DirectoryUnusable(
            f"{directory / _LOCATION} says that the database is in {recorded}, which is gone."
            f" Bring it back, or delete {directory / _LOCATION} to begin with an empty database."
        )
    return Home(directory, recorded)


def prepare(directory: Path, user: OsUser) -> Home:
    """Make the home for `directory`, and choose its place at the first start.

    Raises DirectoryUnusable when the directory cannot be made or written.
    """
    try:
        return _prepare(directory.absolute(), user)
    except OSError as error:
        raise DirectoryUnusable(
            f"cannot keep a database in {directory}: {error.strerror} ({error.filename})."
            " Choose another data directory, or let this user write there."
        ) from error


def mark_durability(home: Home, *, durable: bool) -> None:
    """Note whether the home may be thrown away once nobody refers to it; see `sweep`."""
    if not home.is_elsewhere:
        return
    write_private(home.path / _OWNER, f"{home.directory}\n")
    if durable:
        (home.path / _SCRATCH).unlink(missing_ok=True)
    elif not home.data.exists():
        write_private(home.path / _SCRATCH, "")


def discard(directory: Path) -> None:
    """Delete the cluster of `directory`, wherever it is, and nothing else.

    For whoever is about to delete the directory. Raises AlreadyRunning when it is in use.
    """
    home = find(directory)
    if lock.is_held(home.lock):
        raise AlreadyRunning(home.directory, lock.last_holder(home.lock))
    if home.is_elsewhere:
        shutil.rmtree(home.path)
        (home.directory / _LOCATION).unlink()
        return
    for path in (home.data, home.log.parent):
        shutil.rmtree(path, ignore_errors=True)
    for path in (home.password, home.configuration, home.access, home.state, home.lock):
        path.unlink(missing_ok=True)


def state_directory() -> Path:
    """Where root keeps clusters that cannot be where they were asked for, and copied programs."""
    return Path(os.environ.get("CPM_PG_STATE_DIR", "/var/lib/cpm-postgres"))


def binaries_directory() -> Path:
    """Where root keeps copies of PostgreSQL's programs, a directory per version."""
    return state_directory() / "binaries"


def belongs_to_another(directory: Path) -> DirectoryUnusable:
    """The refusal for a user who may not look into the directory."""
    return DirectoryUnusable(
        f"the database in {directory} belongs to another OS user."
        " Run this command as the user that runs the server."
    )


def _prepare(directory: Path, user: OsUser) -> Home:
    directory.parent.mkdir(parents=True, exist_ok=True)
    _make_own_directory(directory, user)
    home = find(directory)
    if not home.is_elsewhere and not home.data.exists() and user.blocked_at(directory):
        home = _place_elsewhere(directory, user)
    make_directory(home.log.parent, 0o700)
    return home


def _make_own_directory(directory: Path, user: OsUser) -> None:
    """Make a directory that `user` can pass and nobody else can look into."""
    if make_directory(directory, 0o700 if user.is_us else 0o710) and not user.is_us:
        os.chown(directory, -1, user.gid)


def _place_elsewhere(directory: Path, user: OsUser) -> Home:
    clusters = state_directory() / "clusters"
    for parent in (clusters.parent, clusters):
        make_directory(parent, 0o755)
    _sweep(clusters)
    path = clusters / uuid.uuid4().hex
    _make_own_directory(path, user)
    blocked_at = user.blocked_at(path)
    if blocked_at is not None:
        path.rmdir()
        raise DirectoryUnusable(
            f"the OS user {user.name}, who runs postgres, can reach neither {directory} nor"
            f" {clusters}: {blocked_at} does not let that user through. Choose a data directory"
            " that every user may pass through, or name such a place in CPM_PG_STATE_DIR."
        )
    return _record(directory, path)


def _record(directory: Path, path: Path) -> Home:
    """Write `location`; when another process was faster, its choice stands."""
    draft = directory / f".{_LOCATION}.{path.name}"
    write_private(draft, f"{path}\n")
    try:
        os.link(draft, directory / _LOCATION)
    except FileExistsError:
        path.rmdir()
    finally:
        draft.unlink()
    return find(directory)


def _sweep(clusters: Path) -> None:
    """Delete what tests left: scratch clusters that the directory they were made for is done with.

    A durable cluster stays for ever, since that directory may be a disk not mounted today.
    """
    for path in clusters.iterdir():
        if (path / _SCRATCH).exists() and not _is_wanted(path) and not lock.is_held(path / "lock"):
            shutil.rmtree(path, ignore_errors=True)


def _is_wanted(path: Path) -> bool:
    try:
        owner = Path((path / _OWNER).read_text().strip())
        return (owner / _LOCATION).read_text().strip() == str(path)
    except OSError:
        return False
