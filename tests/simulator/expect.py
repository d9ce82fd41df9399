"""What tests say about AWS's errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError


@contextmanager
def refused(code: str, status: int | None = None) -> Iterator[SimpleNamespace]:
    """The block must fail with this code; afterwards `.message` is what AWS said."""
    seen = SimpleNamespace(message="")
    with pytest.raises(ClientError) as caught:
        yield seen
    error = caught.value.response["Error"]
    assert error["Code"] == code, f"{error['Code']}: {error['Message']}"
    seen.message = error["Message"]
    if status is not None:
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
