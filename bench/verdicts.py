"""What the product promises of its speed, and whether a run has kept it."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

# Wide enough for every table, also where the output is a file.
_COLUMNS = 118


@dataclass(frozen=True)
class Target:
    """One promise: `measured` is to be at most, or `at_least`, `bound`."""

    promise: str
    measured: float
    bound: float
    unit: str = ""
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the run has kept it."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    @property
    def wanted(self) -> str:
        """The bound in words."""
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g}{self.unit}"


def console() -> Console:
    """Where results are printed."""
    return Console(width=_COLUMNS, highlight=False)


def table(title: str, first: str, *columns: str) -> Table:
    """An empty table: a column of names, and columns of numbers."""
    made = Table(first, title=title, title_justify="left", title_style="bold")
    for column in columns:
        made.add_column(column, justify="right")
    return made


def show_targets(out: Console, targets: Iterable[Target]) -> bool:
    """Print what was promised beside what was measured; whether all of it was kept."""
    targets = list(targets)
    shown = table("Targets", "promise", "wanted", "measured", "")
    for target in targets:
        verdict = "[green]ok[/]" if target.is_met else "[red]MISSED[/]"
        shown.add_row(target.promise, target.wanted, f"{target.measured:.3g}{target.unit}", verdict)
    out.print(shown)
    return all(target.is_met for target in targets)
