"""Directories for clusters, and one cluster made once to copy: making one takes seconds."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cpm.postgres import EmbeddedPostgres, programs
from cpm.postgres.cluster import Cluster
from cpm.postgres.files import write_private
from tests.postgres.slow_postgres import SlowPostgres


@pytest.fixture(scope="session", autouse=True)
def state_directory() -> Iterator[Path]:
    """Where root keeps programs and misplaced clusters, for these tests only."""
    with pytest.MonkeyPatch.context() as patch:
        directory = _passable_directory()
        patch.setenv("CPM_PG_STATE_DIR", str(directory))
        yield directory
        shutil.rmtree(directory)


@pytest.fixture
def base() -> Iterator[Path]:
    """An empty directory that every user may pass through, unlike pytest's own."""
    directory = _passable_directory()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def _template() -> Iterator[Path]:
    parent = _passable_directory()
    cluster = Cluster(parent / "db")
    cluster.initialise(durable=False)
    # Small WAL files make it a third smaller to copy.
    command = [str(cluster.bin / "pg_resetwal"), "--wal-segsize=1", str(cluster.home.data)]
    programs.run(command, user=cluster.user, log=cluster.log)
    yield parent / "db"
    shutil.rmtree(parent)


@pytest.fixture(scope="session")
def furnish(_template: Path) -> Callable[[Path], Path]:
    """Puts a cluster that has never run into a directory, wherever its files have to be."""

    def copy(directory: Path) -> Path:
        cluster = Cluster(directory)
        for name in ("data", "password"):
            subprocess.run(["cp", "-a", _template / name, cluster.home.path], check=True)
        owner = f"{cluster.user.uid}:{cluster.user.gid}"
        subprocess.run(["chown", "-R", owner, cluster.home.data], check=True)
        return directory

    return copy


@pytest.fixture(scope="module")
def directory(furnish: Callable[[Path], Path]) -> Iterator[Path]:
    """A directory with a cluster; the tests of a file share it, and each leaves it stopped."""
    parent = _passable_directory()
    yield furnish(parent / "db")
    shutil.rmtree(parent)


@pytest.fixture
def hollow(base: Path) -> Path:
    """A directory that looks like a cluster's, for starts that never get to its data."""
    cluster = Cluster(base / "db")
    cluster.home.data.mkdir(mode=0o700)
    (cluster.home.data / "PG_VERSION").write_text("18\n")
    for path in (cluster.home.data, cluster.home.data / "PG_VERSION"):
        cluster.user.give(path)
    write_private(cluster.home.password, "secret")
    return base / "db"


@pytest.fixture(scope="module")
def server(furnish: Callable[[Path], Path]) -> Iterator[EmbeddedPostgres]:
    """A running server for the tests of a file that leave it as they found it."""
    parent = _passable_directory()
    with EmbeddedPostgres(furnish(parent / "db"), durable=False) as running:
        yield running
    shutil.rmtree(parent)


@pytest.fixture
def slow_postgres(base: Path, monkeypatch: pytest.MonkeyPatch) -> SlowPostgres:
    """PostgreSQL's programs, with a server that can be told to take its time."""
    slow = SlowPostgres(base / "bin")
    monkeypatch.setenv("PG_BIN", str(slow.bin))
    return slow


def _passable_directory() -> Path:
    # Below /tmp, whatever TMPDIR says: that may be long, or private.
    directory = Path(tempfile.mkdtemp(prefix="cpm-", dir="/tmp"))
    directory.chmod(0o711)
    return directory
