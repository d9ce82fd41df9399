"""Who may do what: the contract's matrix, line by line.

Which line an operation stands in is written in `endpoints.tsv`. Nothing here is taken from the
product: what it says of itself is what the matrix is held against.
"""

from collections.abc import Collection
from dataclasses import dataclass

ACCOUNT, BACKUP, RECOVERY, SETTINGS = SWITCHES = (
    *("allow_account_changes", "allow_backup_changes"),
    *("allow_recovery", "allow_settings_changes"),
)


@dataclass(frozen=True)
class Line:
    """The kinds of users who may, and the switches that their delegates need at least."""

    kinds: str
    switches: frozenset[str] = frozenset()

    def admits(self, kind: str, switches: Collection[str] | None) -> bool:
        """Whether a user of this kind may, or, with `switches`, a delegate of such a user."""
        return kind in self.kinds and (switches is None or self.switches <= set(switches))


_EVERYBODY, _ROOT = "RIM", "R"

# By what the table of operations calls them.
MATRIX = {
    "read": Line(_EVERYBODY),
    "own login": Line(_EVERYBODY),
    "accounts": Line(_EVERYBODY, frozenset({ACCOUNT, BACKUP})),
    "delete accounts": Line(_EVERYBODY, frozenset({ACCOUNT, BACKUP})),
    "backups": Line(_EVERYBODY, frozenset({BACKUP})),
    "recovery": Line(_EVERYBODY, frozenset({RECOVERY})),
    "delegates": Line(_EVERYBODY, frozenset({SETTINGS})),
    "notifications": Line(_EVERYBODY, frozenset({SETTINGS})),
    "users": Line(_ROOT, frozenset({SETTINGS})),
    "read server": Line(_ROOT),
    "support logs": Line(_ROOT, frozenset({SETTINGS})),
    "server": Line(_ROOT, frozenset({SETTINGS})),
}
