"""S3's buckets, as far as moto has them otherwise: their default encryption, locks, and time."""

from datetime import datetime
from typing import Any

from moto.s3 import models
from moto.s3.exceptions import AccessDeniedByLock
from moto.s3.models import S3Backend

from cpm.kernel import clock
from cpm.simulator.calls import Handlers
from cpm.simulator.patches import replace

_LOCKED = "Access Denied because object protected by object lock."
# What every bucket has since 2023 that nobody has given another.
_DEFAULT_ENCRYPTION = {
    "Rule": {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
        "BucketKeyEnabled": "false",
    }
}

_get_encryption = S3Backend.get_bucket_encryption
_delete_object = S3Backend.delete_object


class _ProtectedByLock(AccessDeniedByLock):
    """A version that Object Lock keeps; what else is denied says nothing of locks."""

    def __init__(self) -> None:
        super().__init__()
        self.message = _LOCKED


def install(_: Handlers) -> None:
    """Correct moto's backend."""
    replace(S3Backend, "get_bucket_encryption", _encryption)
    replace(S3Backend, "delete_object", _delete)
    replace(models, "utcnow", _now)


def _encryption(self: S3Backend, bucket_name: str) -> dict[str, Any]:
    return _get_encryption(self, bucket_name) or _DEFAULT_ENCRYPTION


def _delete(self: S3Backend, bucket_name: str, *rest: Any, **more: Any) -> Any:
    self.get_bucket(bucket_name)
    try:
        return _delete_object(self, bucket_name, *rest, **more)
    except AccessDeniedByLock:
        raise _ProtectedByLock from None


def _now() -> datetime:
    # moto's times are naive.
    return clock.now().replace(tzinfo=None)
