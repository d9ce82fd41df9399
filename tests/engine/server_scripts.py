"""The folder of a user's scripts on the server, and scripts that tell how they were called."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cpm.models.users import User


@dataclass
class Scripts:
    """The folder of the user's scripts, and what those tell that ran."""

    folder: Path
    diary: Path

    @classmethod
    def of(cls, user: User, directory: Path) -> Self:
        """A folder in the directory, as yet without scripts."""
        folder = directory / "scripts" / user.username
        folder.mkdir(parents=True)
        return cls(folder, directory / "diary")

    def write_all(self, policy_name: str) -> None:
        """One script for each hook."""
        for hook in ("before", "after", "complete"):
            self.write(f"{hook}_{policy_name}")

    def write(self, name: str, text: str = "", *, mode: int = 0o755) -> Path:
        """A script that notes in the diary how it was called, and does what else it is told."""
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "${{0##*/}}${{1:+ $1}}" >>{self.diary}\n{text}\n')
        path.chmod(mode)
        return path

    def told(self) -> list[str]:
        """How scripts were called, in order."""
        return self.diary.read_text().splitlines() if self.diary.exists() else []
