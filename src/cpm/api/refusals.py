"""Requests that are refused for their outer form, before it matters what they are about."""

from collections.abc import Mapping
from typing import ClassVar

from cpm.kernel.invalid import Problem


class Refusal(Exception):
    """A request that gets no further; what it says is what the client is told."""

    status: ClassVar[int]
    code: ClassVar[str]

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.problem = Problem(self.code, message)
        self.headers = headers or {}


class Unauthenticated(Refusal):
    """The caller has not shown who he is."""

    status = 401
    code = "not_authenticated"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, {"WWW-Authenticate": 'Bearer realm="api"'})
        self.problem = Problem(code, message)


class MethodNotAllowed(Refusal):
    """The path is there and has no such method."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f'Method "{method}" not allowed.', {"Allow": allowed})


class NotAcceptable(Refusal):
    """No answer of the operation is among what the client accepts."""

    status = 406
    code = "not_acceptable"

    def __init__(self) -> None:
        super().__init__("Could not satisfy the request Accept header.")


class TooLarge(Refusal):
    """The body is longer than the server takes."""

    status = 413
    code = "too_large"

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"The request body is larger than {most_bytes} bytes.")


class RequestUnderWay(Refusal):
    """A request with the same idempotency key is being done."""

    status = 409
    code = "in_progress"

    # Most are done sooner.
    RETRY_SECONDS = 1

    def __init__(self) -> None:
        message = "A request with this idempotency key is under way."
        super().__init__(message, {"Retry-After": str(self.RETRY_SECONDS)})


class KeyReused(Refusal):
    """The idempotency key belongs to another request."""

    status = 422
    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This idempotency key has been used for another request.")


class UnsupportedMediaType(Refusal):
    """The body is of a type that nobody reads here."""

    status = 415
    code = "unsupported_media_type"

    def __init__(self, content_type: str) -> None:
        super().__init__(f'Unsupported media type "{content_type}" in request.')


class Throttled(Refusal):
    """Too many bad attempts from one address."""

    status = 429
    code = "throttled"

    def __init__(self, retry_after_seconds: int) -> None:
        message = f"Request was throttled. Expected available in {retry_after_seconds} seconds."
        super().__init__(message, {"Retry-After": str(retry_after_seconds)})


class Unavailable(Refusal):
    """What it takes to answer is not there now, and soon will be."""

    status = 503
    code = "unavailable"

    # How long a client may wait before he asks again.
    RETRY_SECONDS = 5

    def __init__(self) -> None:
        message = "The service is temporarily unavailable, try again later."
        super().__init__(message, {"Retry-After": str(self.RETRY_SECONDS)})
