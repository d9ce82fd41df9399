"""AWS's error codes and the SDK's exceptions, in the eight kinds of `cpm.kernel.faults`.

A code that nobody listed is decided by its HTTP status. What a cut connection or a 5xx means
depends on the call: a read has done nothing, a write may have been carried out.
"""

from fnmatch import fnmatchcase
from typing import Any

from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from cpm.kernel.faults import Fault, FaultKind

# The first match decides; exact names before the patterns that would also cover them.
_BY_CODE: tuple[tuple[FaultKind, tuple[str, ...]], ...] = (
    (
        FaultKind.INVALID,
        (
            "TagLimitExceeded*",
            "FilterLimitExceeded",
            "NumberOfNodesPerClusterLimitExceeded*",
            "NotImplemented",
            "IdempotentParameterMismatch",
        ),
    ),
    (
        FaultKind.THROTTLED,
        (
            "RequestLimitExceeded",
            "*Throttl*",
            "SlowDown",
            "TooManyRequests*",
            "BandwidthLimitExceeded",
            "PriorRequestNotComplete",
            "ProvisionedThroughputExceeded*",
        ),
    ),
    # S3's `RequestTimeout` is about a body that has not come to its end.
    (FaultKind.TRANSIENT, ("DependentServiceUnavailable*", "RequestTimeout")),
    (
        FaultKind.DENIED,
        (
            "UnauthorizedOperation",
            "UnauthorizedAccess*",
            "*AccessDenied*",
            "AccessTo*Denied",
            "*NotAuthorized*",
            "AuthFailure",
            "AllAccessDisabled",
            "ExpiredToken*",
            "RequestExpired",
            "RequestTimeTooSkewed",
            "InvalidClientTokenId",
            "InvalidAccessKeyId",
            "InvalidSecurityToken",
            "InvalidToken",
            "InvalidSignature*",
            "SignatureDoesNotMatch",
            "IncompleteSignature*",
            "MissingAuthenticationToken*",
            "UnrecognizedClient*",
            "OptInRequired",
            "RegionDisabled*",
            "NotSignedUp",
            "SubscriptionRequired*",
            "PendingVerification",
            "Blocked",
        ),
    ),
    (
        FaultKind.MISSING,
        ("*.NotFound", "*NotFound", "*NotFoundFault", "*NotFoundException", "NoSuch*"),
    ),
    (
        FaultKind.QUOTA,
        (
            "*LimitExceeded*",
            "*QuotaExceeded*",
            "SnapshotCreationPerVolumeRateExceeded",
            "Insufficient*Capacity*",
            "InsufficientFreeAddresses*",
        ),
    ),
    (
        FaultKind.LOCKED,
        (
            "IncorrectState*",
            "IncorrectInstanceState",
            "*Invalid*State*",
            "InvalidAMIID.Unavailable",
            "*.InUse",
            "*InUse",
            "*InUseException",
            "*Conflict*",
            "*Locked*",
            "ContinuousBackupsUnavailable*",
            "DependencyViolation",
            "OperationNotPermitted",
        ),
    ),
)

_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")

# The connection did not come about, so nothing was asked.
_NOT_SENT = (sdk.ConnectTimeoutError, sdk.EndpointConnectionError, sdk.ProxyConnectionError)
_NO_CREDENTIALS = (sdk.NoCredentialsError, sdk.PartialCredentialsError)
# The machine's own role could not be asked for keys just now.
_CREDENTIALS_AWAY = (sdk.CredentialRetrievalError, sdk.MetadataRetrievalError)
# The answer was cut, late, or not AWS's.
_NO_ANSWER = (
    sdk.HTTPClientError,
    sdk.ConnectionError,
    sdk.IncompleteReadError,
    ResponseParserError,
    OSError,
)


def classify(code: str, status: int, *, is_read: bool) -> FaultKind:
    """What AWS's error `code`, answered with HTTP `status`, means for the caller."""
    for kind, patterns in _BY_CODE:
        if any(fnmatchcase(code, pattern) for pattern in patterns):
            return kind
    if status == 429:
        return FaultKind.THROTTLED
    if status == 403:
        return FaultKind.DENIED
    if status >= 500 and status != 501:
        return _without_answer(is_read=is_read)
    return FaultKind.INVALID


def fault_of(error: Exception, operation: str, *, is_read: bool) -> Fault:
    """The fault behind an exception of the SDK, raised while `operation` was called."""
    if isinstance(error, sdk.ClientError):
        return _answered(error.response, operation, is_read=is_read)
    kind = _kind_unanswered(error, is_read=is_read)
    return Fault(kind, str(error), operation=operation, code=type(error).__name__)


def is_expired(fault: Fault) -> bool:
    """Whether AWS refused because the temporary keys, or the signature, were too old."""
    return fault.code in _EXPIRED


def _answered(response: Any, operation: str, *, is_read: bool) -> Fault:
    error, metadata = response.get("Error", {}), response.get("ResponseMetadata", {})
    code = str(error.get("Code", ""))
    return Fault(
        classify(code, int(metadata.get("HTTPStatusCode", 400)), is_read=is_read),
        error.get("Message") or "AWS gave no reason",
        operation=operation,
        code=code,
        retry_after_seconds=_retry_after(metadata.get("HTTPHeaders", {})),
    )


def _kind_unanswered(error: Exception, *, is_read: bool) -> FaultKind:
    if isinstance(error, _NOT_SENT + _CREDENTIALS_AWAY):
        return FaultKind.TRANSIENT
    if isinstance(error, _NO_CREDENTIALS):
        return FaultKind.DENIED
    if isinstance(error, _NO_ANSWER):
        return _without_answer(is_read=is_read)
    return FaultKind.INVALID


def _without_answer(*, is_read: bool) -> FaultKind:
    return FaultKind.TRANSIENT if is_read else FaultKind.UNKNOWN


def _retry_after(headers: Any) -> float | None:
    try:
        return float(headers["retry-after"])
    except (KeyError, ValueError):
        return None
