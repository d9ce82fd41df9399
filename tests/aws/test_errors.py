"""What AWS's refusals and the network's failures mean: the kind decides what happens next."""

import pytest
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from cpm.aws.errors import classify, fault_of
from cpm.kernel.faults import FaultKind

K = FaultKind

CODES = [
    ("RequestLimitExceeded", 503, K.THROTTLED),
    ("Throttling", 400, K.THROTTLED),
    ("ThrottlingException", 400, K.THROTTLED),
    ("RequestThrottledException", 400, K.THROTTLED),
    ("EC2ThrottledException", 400, K.THROTTLED),
    ("SlowDown", 503, K.THROTTLED),
    ("TooManyRequestsException", 429, K.THROTTLED),
    ("UnauthorizedOperation", 403, K.DENIED),
    ("AccessDenied", 403, K.DENIED),
    ("AccessDeniedException", 400, K.DENIED),
    ("AuthFailure", 401, K.DENIED),
    ("InvalidClientTokenId", 403, K.DENIED),
    ("SignatureDoesNotMatch", 403, K.DENIED),
    ("UnrecognizedClientException", 400, K.DENIED),
    ("OptInRequired", 401, K.DENIED),
    ("Blocked", 401, K.DENIED),
    ("ExpiredToken", 403, K.DENIED),
    ("InvalidVolume.NotFound", 400, K.MISSING),
    ("InvalidInstanceID.NotFound", 400, K.MISSING),
    ("DBSnapshotNotFound", 404, K.MISSING),
    ("ClusterSnapshotNotFoundFault", 404, K.MISSING),
    ("ResourceNotFoundException", 400, K.MISSING),
    ("NoSuchEntity", 404, K.MISSING),
    ("ResourceLimitExceeded", 400, K.QUOTA),
    ("SnapshotLimitExceeded", 400, K.QUOTA),
    ("PendingSnapshotLimitExceeded", 400, K.QUOTA),
    ("ConcurrentSnapshotLimitExceeded", 400, K.QUOTA),
    ("SnapshotQuotaExceeded", 400, K.QUOTA),
    ("SnapshotCreationPerVolumeRateExceeded", 400, K.QUOTA),
    ("InsufficientInstanceCapacity", 500, K.QUOTA),
    ("IncorrectState", 400, K.LOCKED),
    ("IncorrectInstanceState", 400, K.LOCKED),
    ("InvalidSnapshot.InUse", 400, K.LOCKED),
    ("VolumeInUse", 400, K.LOCKED),
    ("InvalidDBInstanceState", 400, K.LOCKED),
    ("InvalidDBSnapshotStateFault", 400, K.LOCKED),
    ("InvalidClusterState", 400, K.LOCKED),
    ("InvalidClusterSnapshotState", 400, K.LOCKED),
    ("TableInUseException", 400, K.LOCKED),
    ("BackupInUseException", 400, K.LOCKED),
    ("ContinuousBackupsUnavailableException", 400, K.LOCKED),
    ("ClusterSnapshotQuotaExceeded", 400, K.QUOTA),
    ("LimitExceededException", 400, K.QUOTA),
    ("AccessToSnapshotDenied", 400, K.DENIED),
    ("BackupNotFoundException", 400, K.MISSING),
    ("ClusterParameterGroupNotFound", 404, K.MISSING),
    ("DependentServiceUnavailableFault", 400, K.TRANSIENT),
    ("RequestTimeout", 400, K.TRANSIENT),
    ("TagLimitExceededFault", 400, K.INVALID),
    ("NumberOfNodesPerClusterLimitExceeded", 400, K.INVALID),
    ("TableAlreadyExistsException", 400, K.INVALID),
    ("InvalidParameterValue", 400, K.INVALID),
    ("InvalidVolume.ZoneMismatch", 400, K.INVALID),
    ("TagLimitExceeded", 400, K.INVALID),
    ("FilterLimitExceeded", 400, K.INVALID),
    ("SomethingNew", 400, K.INVALID),
    ("SomethingNew", 403, K.DENIED),
    ("NotImplemented", 501, K.INVALID),
]


@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize(("code", "status", "kind"), CODES)
def test_a_refusal_says_whether_to_try_again(
    code: str, status: int, kind: FaultKind, is_read: bool
) -> None:
    assert classify(code, status, is_read=is_read) is kind


@pytest.mark.parametrize(
    "code", ["InternalError", "Unavailable", "InternalFailure", "SomethingNew"]
)
def test_a_server_error_leaves_open_whether_a_write_was_done(code: str) -> None:
    assert classify(code, 500, is_read=False) is K.UNKNOWN
    assert classify(code, 503, is_read=True) is K.TRANSIENT


LOST = [
    sdk.ReadTimeoutError(endpoint_url="https://ec2"),
    sdk.ConnectionClosedError(endpoint_url="https://ec2"),
    sdk.SSLError(endpoint_url="https://ec2", error=OSError("bad record")),
    ResponseParserError("<html>"),
    ConnectionResetError("reset"),
]
REFUSED = [
    sdk.ConnectTimeoutError(endpoint_url="https://ec2"),
    sdk.EndpointConnectionError(endpoint_url="https://ec2"),
    sdk.ProxyConnectionError(proxy_url="http://proxy"),
]


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_a_write_without_an_answer_may_have_been_done(error: Exception) -> None:
    fault = fault_of(error, "ec2:CreateSnapshot", is_read=False)
    assert fault.kind is K.UNKNOWN
    assert fault.operation == "ec2:CreateSnapshot"
    assert fault_of(error, "ec2:DescribeSnapshots", is_read=True).kind is K.TRANSIENT


@pytest.mark.parametrize("error", REFUSED, ids=lambda error: type(error).__name__)
def test_a_connection_that_never_came_about_did_nothing(error: Exception) -> None:
    assert fault_of(error, "ec2:CreateSnapshot", is_read=False).kind is K.TRANSIENT


def test_a_request_that_the_sdk_itself_refuses_is_invalid() -> None:
    error = sdk.ParamValidationError(report="Unknown parameter")
    assert fault_of(error, "ec2:CreateSnapshot", is_read=False).kind is K.INVALID


def test_a_machine_without_credentials_is_denied() -> None:
    assert fault_of(sdk.NoCredentialsError(), "ec2:X", is_read=False).kind is K.DENIED
