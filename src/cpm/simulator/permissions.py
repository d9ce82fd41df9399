"""IAM enforcement, off until `enforce_iam` is set: does the caller's own policy allow the call?"""

from collections.abc import Iterator
from typing import Any

from moto.iam.models import IAMBackend, iam_backends

from cpm.simulator.credentials import Identity
from cpm.simulator.errors import AwsError, Family, family_of
from cpm.simulator.operations import Operation
from cpm.simulator.policies import Statement, Verdict, identity_verdict, statements

# AWS answers these to everyone who is someone.
_ALWAYS = {"sts:GetCallerIdentity"}


def check(caller: Identity, operation: Operation, resource: str | None) -> None:
    """Raise the error of `operation`'s service unless the caller's policies allow it."""
    if str(operation) in _ALWAYS:
        return
    context = {"aws:RequestedRegion": operation.region}
    verdict = identity_verdict(_policies(caller), str(operation), resource, context)
    if verdict is not Verdict.ALLOWED:
        raise denied(caller, operation)


def denied(caller: Identity | None, operation: Operation, code: str | None = None) -> AwsError:
    """What the service says to a caller who may not; `code` replaces the service's own."""
    if operation.service == "ec2":
        text = "You are not authorized to perform this operation."
        return AwsError(code or "UnauthorizedOperation", text, 403)
    who = caller.arn if caller else "anonymous"
    text = f"User: {who} is not authorized to perform: {operation}"
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
