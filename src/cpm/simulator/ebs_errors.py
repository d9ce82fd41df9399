"""What the EBS direct APIs say when they refuse: a code, a message, and a reason by AWS's list."""

from cpm.simulator.errors import AwsError


def invalid(reason: str, message: str) -> AwsError:
    """A ValidationException; `reason` is one of AWS's, such as INVALID_BLOCK_TOKEN."""
    return _error("ValidationException", 400, message, reason)


def not_found(snapshot_id: str) -> AwsError:
    """There is no such snapshot."""
    text = f"The snapshot '{snapshot_id}' does not exist."
    return _error("ResourceNotFoundException", 404, text, "SNAPSHOT_NOT_FOUND")


def key_not_found(arn: str) -> AwsError:
    """There is no such key."""
    text = f"The KMS key {arn} does not exist."
    return _error("ResourceNotFoundException", 404, text, "DEPENDENCY_RESOURCE_NOT_FOUND")


def denied(message: str, reason: str = "UNAUTHORIZED_ACCOUNT", code: str | None = None) -> AwsError:
    """The caller may not."""
    return _error(code or "AccessDeniedException", 403, message, reason)


def throttled(reason: str = "ACCOUNT_THROTTLED", code: str | None = None) -> AwsError:
    """Too many calls a second, of the account or on the snapshot."""
    return _error(code or "RequestThrottledException", 400, "Rate exceeded", reason)


def too_many_pending(limit: float) -> AwsError:
    """The account has as many snapshots in the making as it may."""
    text = f"You have reached the maximum of {limit:g} pending snapshots."
    return AwsError("ConcurrentLimitExceededException", text, details={"Message": text})


def too_many_snapshots(limit: float) -> AwsError:
    """The account has as many snapshots in the region as it may."""
    text = f"You have reached the maximum of {limit:g} snapshots."
    reason = "DEPENDENCY_SERVICE_QUOTA_EXCEEDED"
    return _error("ServiceQuotaExceededException", 402, text, reason)


def conflict(token: str) -> AwsError:
    """A client token came with other parameters before."""
    text = f"The client token '{token}' was used before with other parameters."
    return AwsError("ConflictException", text, 409, {"Message": text})


def internal(code: str | None = None) -> AwsError:
    """The service's own fault."""
    text = "An internal error has occurred"
    return AwsError(code or "InternalServerException", text, 500, {"Message": text})


def _error(code: str, status: int, message: str, reason: str) -> AwsError:
    return AwsError(code, message, status, {"Message": message, "Reason": reason})
