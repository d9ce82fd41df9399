"""IAM enforcement, off until `enforce_iam` is set: does the caller's own policy allow the call?"""

from collections.abc import Iterator, Mapping
from typing import Any

from moto.iam.models import IAMBackend, iam_backends

from cpm.simulator import ebs_errors
from cpm.simulator.credentials import Identity
from cpm.simulator.errors import AwsError, Family, family_of
from cpm.simulator.operations import Operation
from cpm.simulator.policies import Statement, Verdict, identity_verdict, statements

# AWS answers these to everyone who is someone.
_ALWAYS = {"sts:GetCallerIdentity"}
# Where IAM has another name for a service.
_PREFIXES = {"resourcegroupstaggingapi": "tag"}
# Where an action of S3 has another name than its operation.
_S3_ACTIONS = {
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjectsV2": "ListBucket",
}
_OF_VERSIONS = {"DeleteObject": "DeleteObjectVersion", "GetObject": "GetObjectVersion"}
# What to be allowed to give tags is called, where they come with a call that makes something.
_TAGGING = {
    "ebs": "ec2:CreateTags",
    "rds": "rds:AddTagsToResource",
    "redshift": "redshift:CreateTags",
}
# Parameters that hand a role on, and to which service.
_PASSED_ROLES = {
    "IamInstanceProfile": "{}.amazonaws.com",
    "IamRoles": "{}.amazonaws.com",
    "RoleArn": "{}.amazonaws.com",
    "DomainIAMRoleName": "{}.amazonaws.com",
    "MonitoringRoleArn": "monitoring.{}.amazonaws.com",
}
# What services do with a key in their caller's name.
_USES_OF_KEYS = ("CreateGrant", "Decrypt", "GenerateDataKeyWithoutPlaintext")


def check(caller: Identity, operation: Operation, params: Mapping[str, Any]) -> None:
    """Raise the error of `operation`'s service unless the caller's policies allow it.

    With it they have to allow what `params` make of it: tags, roles and keys are rights of their
    own.
    """
    if str(operation) in _ALWAYS:
        return
    known, narrowed = list(_policies(caller)), caller.session_policy
    here = {"aws:RequestedRegion": operation.region, **_context(operation, params)}
    asked = [(_action(operation, params), _resource(operation, params), here)]
    asked += [(action, None, here | more) for action, more in _also(operation, params)]
    for action, on, context in asked:
        if identity_verdict(known, action, on, context) is not Verdict.ALLOWED:
            raise denied(caller, operation)
        if narrowed is not None:
            session = list(statements(narrowed))
            if identity_verdict(session, action, on, context) is not Verdict.ALLOWED:
                raise denied(caller, operation)


def _context(operation: Operation, params: Mapping[str, Any]) -> dict[str, str]:
    given = params.get("EncryptionContext", {}) if operation.service == "kms" else {}
    return {f"kms:EncryptionContext:{name}": value for name, value in given.items()}


def _action(operation: Operation, params: Mapping[str, Any]) -> str:
    prefix = _PREFIXES.get(operation.service, operation.service)
    name = operation.name
    if operation.service == "s3":
        name = (
            _OF_VERSIONS.get(name, name) if "versionId" in params else _S3_ACTIONS.get(name, name)
        )
    return f"{prefix}:{name}"


def _resource(operation: Operation, params: Mapping[str, Any]) -> str | None:
    if operation.service == "ebs" and "SnapshotId" in params:
        return f"arn:aws:ec2:{operation.region}::snapshot/{params['SnapshotId']}"
    if operation.service == "s3" and params.get("Bucket"):
        key = f"/{params['Key']}" if params.get("Key") else ""
        return f"arn:aws:s3:::{params['Bucket']}{key}"
    arn: str | None = params.get("RoleArn")
    return arn


def _also(operation: Operation, params: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    service, region = operation.service, operation.region
    if params.get("TagSpecifications"):
        yield "ec2:CreateTags", {}
    if params.get("Tags") and service in _TAGGING and not operation.name.endswith("Tags"):
        yield _TAGGING[service], {}
    for name, whose in _PASSED_ROLES.items():
        if params.get(name) and service != "sts":
            yield "iam:PassRole", {"iam:PassedToService": whose.format(service)}
    if _names_a_key(params):
        for action in _USES_OF_KEYS:
            yield f"kms:{action}", {"kms:ViaService": f"{service}.{region}.amazonaws.com"}


def _names_a_key(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "KmsKeyId" in value or any(map(_names_a_key, value.values()))
    return isinstance(value, list) and any(map(_names_a_key, value))


def denied(caller: Identity | None, operation: Operation, code: str | None = None) -> AwsError:
    """What the service says to a caller who may not; `code` replaces the service's own."""
    if operation.service == "ec2":
        text = "You are not authorized to perform this operation."
        return AwsError(code or "UnauthorizedOperation", text, 403)
    who = caller.arn if caller else "anonymous"
    text = f"User: {who} is not authorized to perform: {operation}"
    if operation.service == "ebs":
        return ebs_errors.denied(text, code=code)
    if family_of(operation.service) is Family.JSON:
        return AwsError(code or "AccessDeniedException", text)
    return AwsError(code or "AccessDenied", text, 403)


def _policies(caller: Identity) -> Iterator[Statement]:
    backend = iam_backends[caller.account]["aws"]
    for document in _documents(backend, caller):
        yield from statements(document)


def _documents(backend: IAMBackend, caller: Identity) -> Iterator[Any]:
    if caller.role_arn:
        role = next((r for r in backend.roles.values() if r.arn == caller.role_arn), None)
        if role is not None:
            yield from role.policies.values()
            yield from _managed(role)
    elif caller.user_name in backend.users:
        user = backend.users[caller.user_name]
        yield from user.policies.values()
        yield from _managed(user)
        for group in backend.get_groups_for_user(caller.user_name):
            yield from group.policies.values()
            yield from _managed(group)


def _managed(holder: Any) -> Iterator[Any]:
    for policy in holder.managed_policies.values():
        yield from (version.document for version in policy.versions if version.is_default)
