"""What can be wrong with an archive; what can be wrong with AWS is `cpm.kernel.faults`."""


class ArchiveError(Exception):
    """Anything that keeps an archive from being read or written as it should be."""


class Damaged(ArchiveError):
    """Something stored is not what was written; `what` names it."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")
        self.what = what
        self.why = why


class NotFound(ArchiveError):
    """There is no object of this name."""


class NameTaken(ArchiveError):
    """There is an object of this name already."""


class Locked(ArchiveError):
    """The object may not be deleted yet (Object Lock)."""


class WrongKey(ArchiveError):
    """The repository's key cannot be unwrapped by what was given, or nothing was given."""


class NotAnArchive(ArchiveError):
    """No repository, or one that this version cannot read."""


class LineageBroken(ArchiveError):
    """AWS cannot tell two snapshots apart block by block: one is gone, or is of another volume."""
