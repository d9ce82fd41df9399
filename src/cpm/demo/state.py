"""What the demo remembers between starts, and the ready file for scripts."""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self


@dataclass
class DemoAccount:
    """One emulated AWS account and the keys into it."""

    name: str
    account_number: str
    access_key_id: str
    secret_access_key: str


@dataclass
class DemoState:
    """Credentials that stay the same for as long as the data directory is kept."""

    username: str = "root"
    password: str = ""
    api_key: str = ""
    accounts: list[DemoAccount] = field(default_factory=list)

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """What the file holds, or a new state with a fresh password and fresh keys."""
        if path.exists():
            content = json.loads(path.read_text())
            accounts = [DemoAccount(**account) for account in content.pop("accounts")]
            return cls(**content, accounts=accounts)
        state = cls(
            password=secrets.token_urlsafe(12),
            accounts=[_account("production", "111122223333"), _account("staging", "444455556666")],
        )
        state.save(path)
        return state

    def save(self, path: Path) -> None:
        """Writes the state, for its owner alone."""
        write_private(path, json.dumps(asdict(self), indent=2))


def _account(name: str, number: str) -> DemoAccount:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    key_id = "AKIA" + "".join(secrets.choice(letters) for _ in range(16))
    return DemoAccount(name, number, key_id, secrets.token_urlsafe(30))


def write_ready_file(path: Path, content: dict[str, Any]) -> None:
    """The ready file: written whole or not at all, mode 0600."""
    write_private(path, json.dumps(content, indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replaces the file whole; only its owner may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)
