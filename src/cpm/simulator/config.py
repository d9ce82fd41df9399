"""What a rehearsal may set while the simulator runs: times, failures, quotas, revoked keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

# Volumes and instances change state much faster than snapshots: this share of `pending`.
_QUICK_SHARE = 0.1


class BadConfig(ValueError):
    """A setting that does not exist or has the wrong type; the text says which."""


@dataclass
class Limits:
    """AWS's quotas on snapshots; None switches one off. Without a service's name they are EBS's.

    `direct_*` are of the EBS direct APIs: snapshots pending at a time, and calls a second.
    """

    copies: int | None = 20
    pending_per_volume: int | None = 5
    pending_per_account: int | None = None
    volume_interval_seconds: float | None = None
    rds_snapshots: int | None = 100
    rds_copies: int | None = 20
    redshift_snapshots: int | None = 20
    dynamodb_restores: int | None = 50
    snapshots_per_region: int | None = 100_000
    direct_pending: int | None = 100
    direct_gets: float | None = 1000
    direct_gets_per_snapshot: float | None = 1000
    direct_puts: float | None = 1000
    direct_puts_per_snapshot: float | None = 1000
    direct_lists: float | None = 50
    direct_starts: float | None = 10
    direct_completes: float | None = 10


@dataclass
class Config:
    """The settings in force; `POST /_ctl/config` changes those that it names."""

    pending: float = 0.0
    fail: frozenset[str] = frozenset()
    revoked: frozenset[str] = frozenset()
    enforce_iam: bool = False
    block_token_seconds: float = 7 * 86400.0
    page_token_seconds: float = 3600.0
    limits: Limits = field(default_factory=Limits)

    @property
    def quick_seconds(self) -> float:
        """How long a volume is `creating` and an instance `pending` or `stopping`."""
        return self.pending * _QUICK_SHARE

    def reset(self) -> None:
        """Go back to the first settings."""
        for name, value in vars(Config()).items():
            setattr(self, name, value)

    def update(self, changes: Mapping[str, Any]) -> None:
        """Take over `changes`; raises BadConfig and changes nothing when one is not right."""
        checked = {name: self._checked(name, value) for name, value in changes.items()}
        for name, value in checked.items():
            setattr(self, name, value)

    def _checked(self, name: str, value: Any) -> Any:
        match name:
            case "pending" | "block_token_seconds" | "page_token_seconds":
                return _seconds(name, value)
            case "fail" | "revoked":
                return _texts(name, value)
            case "enforce_iam":
                if isinstance(value, bool):
                    return value
                raise BadConfig("enforce_iam is true or false")
            case "limits":
                return _limits(self.limits, value)
        raise BadConfig(f"there is no setting {name}")

    def public(self) -> dict[str, Any]:
        """The settings as JSON shows them."""
        return {
            "pending": self.pending,
            "fail": sorted(self.fail),
            "revoked": sorted(self.revoked),
            "enforce_iam": self.enforce_iam,
            "block_token_seconds": self.block_token_seconds,
            "page_token_seconds": self.page_token_seconds,
            "limits": vars(self.limits),
        }


def _limits(current: Limits, changes: Any) -> Limits:
    if not isinstance(changes, dict):
        raise BadConfig("limits is an object")
    merged = dict(vars(current))
    known = {item.name for item in fields(Limits)}
    for name, value in changes.items():
        if name not in known:
            raise BadConfig(f"there is no limit {name}")
        merged[name] = None if value is None else _seconds(f"limits.{name}", value)
    return Limits(**merged)


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise BadConfig(f"{name} is a number, 0 or more")
    return value


def _texts(name: str, value: Any) -> frozenset[str]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return frozenset(value)
    raise BadConfig(f"{name} is a list of strings")
