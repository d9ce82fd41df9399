"""PostgreSQL's own programs behind a `postgres` that delays its start, as a long recovery does."""

from pathlib import Path

from cpm.postgres import binaries

_SCRIPT = """\
#!/bin/sh
case "$*" in
    *--version*|*--single*) ;;
    *) {before} ;;
esac
exec {real} "$@"
"""
_PROGRESS = "for i in $(seq {steps}); do sleep 0.2; echo 'redo in progress' >&2; done"


class SlowPostgres:
    """A directory for `PG_BIN`."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory
        self._real = binaries.for_ourselves()
        directory.mkdir()
        for program in self._real.iterdir():
            if program.name != "postgres":
                (directory / program.name).symlink_to(program)
        self._write("true")

    def delay(self, *, seconds: float) -> None:
        """From now on the server starts after a time, and tells of its progress."""
        self._write(_PROGRESS.format(steps=int(seconds / 0.2)))

    def hang(self) -> None:
        """From now on the server does nothing, and says nothing."""
        self._write("exec sleep 1000")

    def _write(self, before: str) -> None:
        script = self.bin / "postgres"
        script.write_text(_SCRIPT.format(before=before, real=self._real / "postgres"))
        script.chmod(0o755)
