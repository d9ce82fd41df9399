"""Which OS user runs postgres, which refuses to run as root.

Started by an ordinary user, postgres runs as that user. Started by root it runs as the user named
by `CPM_PG_OS_USER`, else as the system user `cpm` (made when missing), else as `nobody`.
"""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cpm.postgres.errors import DirectoryUnusable, PostgresError

_SYSTEM_USER = "cpm"
_FALLBACK_USER = "nobody"


@dataclass(frozen=True)
class OsUser:
    """An account of this machine."""

    name: str
    uid: int
    gid: int

    @classmethod
    def of(cls, entry: pwd.struct_passwd) -> Self:
        """The account of a line of the user database."""
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)

    @property
    def is_us(self) -> bool:
        """Whether this process runs as this user already."""
        return self.uid == os.geteuid()

    def blocked_at(self, directory: Path) -> Path | None:
        """The first directory on the way into `directory` that does not let this user through."""
        if self.is_us:
            return None  # the system will say; it also knows our other groups
        resolved = directory.resolve()
        steps = (*reversed(resolved.parents), resolved)
        return next((step for step in steps if not self._may_enter(step)), None)

    def give(self, path: Path) -> None:
        """Make this user the owner of `path`; only root can, and only root needs to."""
        if not self.is_us:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def _may_enter(self, directory: Path) -> bool:
        status = directory.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def for_new_cluster() -> OsUser:
    """The user that a new cluster will belong to. Raises PostgresError for an unfit choice."""
    if os.geteuid() != 0:
        return _ourselves()
    wanted = os.environ.get("CPM_PG_OS_USER")
    if wanted:
        return _named_by_operator(wanted)
    return _find(_SYSTEM_USER) or _made(_SYSTEM_USER) or _fallback()


def for_existing_cluster(data: Path) -> OsUser:
    """The user that owns the cluster in `data`, who must go on running it.

    Raises DirectoryUnusable when this process cannot run it as that user.
    """
    owner_uid = data.stat().st_uid
    if os.geteuid() != 0:
        if owner_uid != os.geteuid():
            raise DirectoryUnusable(
                f"{data} belongs to user {_name_of(owner_uid)} and we run as"
                f" {_name_of(os.geteuid())}. Run cpm as {_name_of(owner_uid)}."
            )
        return _ourselves()
    wanted = for_new_cluster() if os.environ.get("CPM_PG_OS_USER") or owner_uid == 0 else None
    if wanted and wanted.uid != owner_uid:
        raise DirectoryUnusable(
            f"{data} belongs to user {_name_of(owner_uid)}, and postgres is to run as"
            f" {wanted.name}. Change the owner: chown -R {wanted.name}: {data}"
        )
    return _find_uid(owner_uid)


def _ourselves() -> OsUser:
    return OsUser(_name_of(os.geteuid()), os.geteuid(), os.getegid())


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _find(name: str) -> OsUser | None:
    try:
        return OsUser.of(pwd.getpwnam(name))
    except KeyError:
        return None


def _find_uid(uid: int) -> OsUser:
    try:
        return OsUser.of(pwd.getpwuid(uid))
    except KeyError:
        return OsUser(str(uid), uid, uid)


def _named_by_operator(name: str) -> OsUser:
    user = _find(name)
    if user is None:
        raise PostgresError(
            f"CPM_PG_OS_USER names the OS user {name!r}, which does not exist."
            f" Make it with `useradd --system {name}`, or unset CPM_PG_OS_USER."
        )
    if user.uid == 0:
        raise PostgresError("CPM_PG_OS_USER must not be root: PostgreSQL refuses to run as root.")
    return user


def _made(name: str) -> OsUser | None:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        return None
    arguments = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    subprocess.run([useradd, *arguments, name], check=False, capture_output=True)  # noqa: S603
    return _find(name)


def _fallback() -> OsUser:
    user = _find(_FALLBACK_USER)
    if user is None:
        raise PostgresError(
            "PostgreSQL needs an OS user other than root."
            " Make one (`useradd --system cpm`) or name one in CPM_PG_OS_USER."
        )
    return user
