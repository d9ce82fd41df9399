"""Things that AWS restores under a name that the caller chooses, and without any tags of his.

Whose a restored thing is cannot be seen until it is tagged. A second recovery that has come to the
same name may take it for its own meanwhile, if it dies while it asks: so the ref of a restored
thing holds the token with which it was asked for, nobody tags what another has tagged, and nobody
takes back what another has tagged.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count

from cpm.aws import tags
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources.contract import Ask, OptionRefused, Refs

# The step of a plan that restores, and the role of what it makes.
STEP = "restore"
_ROLE = "restored"


@dataclass(frozen=True, slots=True)
class Restored:
    """Something restored: its name, and the tokens that it may carry.

    The first token is that of whoever asked for it; a second is what it has from its copy.
    """

    name: str
    tokens: tuple[str, ...]

    @classmethod
    def of(cls, ref: str) -> "Restored":
        """What `ref` names."""
        name, *tokens = ref.split(" ")
        return cls(name, tuple(tokens))

    @classmethod
    def in_refs(cls, refs: Refs) -> "Restored":
        """What an effect that restores has made."""
        return cls.of(refs[_ROLE])

    @classmethod
    def before(cls, ask: Ask) -> "Restored":
        """What an earlier step of the chain has restored."""
        return cls.in_refs(ask.earlier[STEP])

    @property
    def refs(self) -> Refs:
        """The refs of the effect that restores it."""
        return {_ROLE: " ".join((self.name, *self.tokens))}

    def is_anothers(self, carried: Mapping[str, str]) -> bool:
        """Whether somebody else has tagged it."""
        return carried.get(tags.TOKEN, self.tokens[0]) not in self.tokens

    def marks(self, ask: Ask) -> dict[str, str]:
        """The marks that it gets: those of the recovery, with the token that asked for it."""
        return {**ask.marks, tags.TOKEN: self.tokens[0]}

    def refuse_anothers(self, carried: Mapping[str, str]) -> None:
        """Raise Fault where somebody else has tagged it."""
        if self.is_anothers(carried):
            raise Fault(FaultKind.INVALID, f"{self.name} was restored by another recovery")


@dataclass(frozen=True, slots=True)
class Naming:
    """What names a type of thing may have."""

    field: str  # the option that asks for one
    longest: int
    # What is wrong with a name; None when nothing is.
    problem: Callable[[str], str | None]

    def choose(self, wanted: str | None, original: str, is_taken: Callable[[str], bool]) -> str:
        """The name that was asked for, else the original's if it is free, else a fresh one.

        Raises OptionRefused: a name that was asked for is used or refused.
        """
        if wanted is None:
            return next(name for name in self._fresh(original) if not is_taken(name))
        problem = self.problem(wanted)
        if problem:
            raise OptionRefused(self.field, "invalid", problem)
        if is_taken(wanted):
            raise OptionRefused(self.field, "unique", f"{wanted} exists already")
        return wanted

    def _fresh(self, original: str) -> Iterator[str]:
        yield original
        for number in count(2):
            suffix = f"-{number}"
            yield original[: self.longest - len(suffix)].rstrip("-") + suffix
