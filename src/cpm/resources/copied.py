"""Copies as recoveries and further copies find them: plain values for drivers' plans."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from cpm.aws.sessions import Json


@dataclass(frozen=True, slots=True)
class Copied:
    """One snapshot as a recovery finds it."""

    snapshot_id: int
    aws_ref: str
    collection: str
    resource_id: str
    device: str | None
    size_gib: int | None
    facts: Json
    # It has yet to be made, of a copy outside of AWS: this is what AWS will say of it.
    is_to_come: bool = False
    is_encrypted: bool = False


class Use(StrEnum):
    """What a snapshot is for that is made of a copy outside of AWS."""

    RESULT = "result"  # it is what was asked for
    KEPT = "kept"  # something is made of it, and it stays beside that
    MEANS = "means"  # something is made of it, and then it goes


@dataclass(frozen=True, slots=True)
class Source:
    """What a recovery starts from: the resource as it was, and the copies of it."""

    resource_id: str
    resource_name: str | None
    facts: Json
    copies: Sequence[Copied]
    # The copies are in another region or account than the original: its network, keys and groups
    # mean nothing there.
    is_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class CopyWish:
    """One snapshot that is to have a copy in another region, another account, or both."""

    original: Copied
    source_account: str  # account numbers
    source_region: str
    target_account: str
    target_region: str
    # Under which key of the source what an AWS managed key encrypts is copied, to be shared.
    sharing_key: str

    @property
    def crosses_accounts(self) -> bool:
        """Whether the copy is another account's, so that the original has to be shared."""
        return self.source_account != self.target_account

    @property
    def crosses_regions(self) -> bool:
        """Whether the copy is in another region."""
        return self.source_region != self.target_region
