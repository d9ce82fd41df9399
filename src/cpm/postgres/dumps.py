"""Dumps of the embedded database: made beside the running server, kept for some days."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cpm.kernel import clock
from cpm.postgres import binaries, lock, programs
from cpm.postgres.address import Address
from cpm.postgres.errors import DumpFailed
from cpm.postgres.files import make_directory
from cpm.postgres.process import connect_address

_SUFFIX = ".dump"
_UNFINISHED = ".part"


def dump(directory: Path, destination: Path, keep: int = 7) -> Path:
    """Dump the database of `directory` into a new file in `destination`, and return its path.

    The file appears under its name only when it is whole and on the disk. Older dumps beyond the
    newest `keep` are deleted then, and not before. Raises DumpFailed, and NotRunning when no
    server runs.

    A dump is restored into an empty database of a running server; the URI is that of the running
    server (`connect_uri`), and `cpm` the role that owns everything:

        psql URI -c 'CREATE DATABASE restored'
        pg_restore --exit-on-error --no-owner --dbname URI-WITH-restored DUMP

    then, with the product stopped but the database running (`python -m cpm.postgres DIR`), rename
    both: `ALTER DATABASE cpm RENAME TO damaged`, `ALTER DATABASE restored RENAME TO cpm`, from
    the database `postgres`. On a machine with nothing but dumps, start once to get an empty `cpm`.
    """
    if keep < 1:
        raise ValueError("keep at least one dump")
    address = connect_address(directory)
    try:
        make_directory(destination, 0o700)
        with _alone_in(destination):
            path = _dump_into(destination, address)
            _prune(destination, keep)
    except OSError as error:
        raise DumpFailed(f"cannot write a dump into {destination}: {error.strerror}.") from error
    return path


def dumps_in(destination: Path) -> list[Path]:
    """The whole dumps in `destination`, newest first."""
    return sorted(destination.glob(f"cpm-*{_SUFFIX}"), reverse=True)


@contextmanager
def _alone_in(destination: Path) -> Iterator[None]:
    try:
        with lock.hold(destination / ".lock"):
            yield
    except lock.Held as held:
        raise DumpFailed(f"process {held.pid} is writing a dump into {destination}.") from held


def _dump_into(destination: Path, address: Address) -> Path:
    for leftover in destination.glob(f"cpm-*{_UNFINISHED}"):
        leftover.unlink()
    name = f"cpm-{clock.now():%Y%m%dT%H%M%SZ}"
    unfinished = destination / (name + _UNFINISHED)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _run("pg_dump", "--format=custom", address=address, stdout=descriptor)
        os.fsync(descriptor)
        _run("pg_restore", "--list", str(unfinished), address=address)
        return unfinished.rename(destination / (name + _SUFFIX))
    finally:
        os.close(descriptor)
        unfinished.unlink(missing_ok=True)


def _run(program: str, *arguments: str, address: Address, stdout: int = subprocess.DEVNULL) -> None:
    command = [str(binaries.for_ourselves() / program), *arguments]
    ended = programs.run_client(command, variables=address.variables, stdout=stdout)
    if ended.returncode != 0:
        raise DumpFailed(f"{program} failed: {ended.stderr.strip()}")


def _prune(destination: Path, keep: int) -> None:
    for old in dumps_in(destination)[keep:]:
        old.unlink()
