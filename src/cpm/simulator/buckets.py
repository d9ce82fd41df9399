"""Token buckets: how many calls a second something takes, by whatever they are counted."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from cpm.kernel import clock


@dataclass
class _Bucket:
    tokens: float
    filled_at: float


@dataclass
class Buckets:
    """A bucket for each key. Not safe for threads: whoever owns it has a lock."""

    _by_key: dict[Hashable, _Bucket] = field(default_factory=dict)

    def take(self, key: Hashable, rate: float, burst: float) -> bool:
        """Whether `key` still had a token: `rate` come a second, never more than `burst`."""
        now = clock.monotonic()
        bucket = self._by_key.setdefault(key, _Bucket(burst, now))
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.filled_at) * rate)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
