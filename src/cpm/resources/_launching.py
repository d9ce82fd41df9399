"""A launch while it is planned: what it starts from, what is asked of it, what to say of it."""

from dataclasses import dataclass, field

from cpm.aws.sessions import Aws
from cpm.resources._instance_options import RecoverOptions
from cpm.resources.contract import Json
from cpm.resources.copied import Source


@dataclass
class Launching:
    """One instance's way back. What it cannot have as the original had it becomes a note."""

    aws: Aws
    source: Source
    options: RecoverOptions
    notes: list[str] = field(default_factory=list)

    @property
    def facts(self) -> Json:
        """The original, as the backup found it."""
        return self.source.facts

    @property
    def root_device(self) -> str:
        """Where the original has its root volume."""
        device: str = self.source.facts["root_device"]
        return device

    @property
    def is_windows(self) -> bool:
        """Whether the original runs Windows, which AWS starts from AMIs made as such only."""
        return bool(self.source.facts["platform"] == "windows")

    def note(self, text: str) -> None:
        """Say where it cannot be as the original was: the end of "Not as the original: ...","""
        self.notes.append(text)
