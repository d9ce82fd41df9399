"""STS: roles are assumed only as their trust policies allow, and sessions end."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from moto.iam.models import Role, iam_backends

from cpm.kernel import clock
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.credentials import Identity, Session
from cpm.simulator.errors import AwsError
from cpm.simulator.policies import Verdict, trust_verdict

_SHORTEST_SECONDS = 900
_LONGEST_SECONDS = 43_200
_CHAINED_SECONDS = 3600
_LONGEST_FEDERATED_SECONDS = 129_600
# Whoever is vouched for without a policy may do nothing.
_NOTHING = '{"Version": "2012-10-17", "Statement": []}'


def install(handlers: Handlers) -> None:
    """Take over the operations that give and show identities."""
    handlers.add(
        "sts",
        {
            "AssumeRole": assume_role,
            "GetFederationToken": get_federation_token,
            "GetCallerIdentity": get_caller_identity,
            "GetAccessKeyInfo": get_access_key_info,
        },
    )


def get_caller_identity(call: Call) -> Mapping[str, Any]:
    """Account, id and ARN of the caller."""
    caller = call.caller
    return {"UserId": caller.user_id, "Account": caller.account, "Arn": caller.arn}


def get_access_key_info(call: Call) -> Mapping[str, Any]:
    """The account of a key."""
    identity = call.keyring.identity_of(call.params["AccessKeyId"])
    if identity is None:
        raise _invalid("The access key id is not known")
    return {"Account": identity.account}


def assume_role(call: Call) -> Mapping[str, Any]:
    """Temporary credentials of a role that exists and trusts the caller."""
    seconds = int(call.get("DurationSeconds", 3600))
    _check_range(seconds)
    arn = call.params["RoleArn"]
    role = _trusting_role(call, arn)
    _check_duration(call, role, seconds)
    identity = _role_identity(role, arn, call.params["RoleSessionName"], call.get("Policy"))
    session = call.keyring.open_session(identity, clock.now() + timedelta(seconds=seconds))
    return {
        "Credentials": _credentials(session),
        "AssumedRoleUser": {"AssumedRoleId": identity.user_id, "Arn": identity.arn},
    }


def get_federation_token(call: Call) -> Mapping[str, Any]:
    """Temporary credentials for somebody whom a user vouches for: what both policies allow."""
    seconds = int(call.get("DurationSeconds", _LONGEST_SECONDS))
    _check_range(seconds, _LONGEST_FEDERATED_SECONDS)
    caller, name = call.caller, call.params["Name"]
    if caller.user_name is None:
        text = "Cannot call GetFederationToken with session credentials"
        raise AwsError("AccessDenied", text, 403)
    identity = Identity(
        account=caller.account,
        arn=f"arn:aws:sts::{caller.account}:federated-user/{name}",
        user_id=f"{caller.account}:{name}",
        user_name=caller.user_name,
        session_policy=call.get("Policy") or _NOTHING,
    )
    session = call.keyring.open_session(identity, clock.now() + timedelta(seconds=seconds))
    return {
        "Credentials": _credentials(session),
        "FederatedUser": {"FederatedUserId": identity.user_id, "Arn": identity.arn},
    }


def _trusting_role(call: Call, arn: str) -> Role:
    role = _find_role(arn)
    if role is None or not _is_trusted(call, role):
        raise AwsError(
            "AccessDenied",
            f"User: {call.caller.arn} is not authorized to perform: sts:AssumeRole "
            f"on resource: {arn}",
            403,
        )
    return role


def _find_role(arn: str) -> Role | None:
    account = _account_in(arn)
    if account not in iam_backends:
        return None
    roles = iam_backends[account]["aws"].roles.values()
    return next((role for role in roles if role.arn == arn), None)


def _account_in(arn: str) -> str:
    parts = arn.split(":")
    if len(parts) != 6 or parts[2] != "iam" or not parts[5].startswith("role/"):
        raise _invalid(f"{arn} is invalid")
    return parts[4]


def _is_trusted(call: Call, role: Role) -> bool:
    caller = call.caller
    context = {
        "aws:PrincipalArn": caller.role_arn or caller.arn,
        "aws:PrincipalAccount": caller.account,
    }
    if call.get("ExternalId"):
        context["sts:ExternalId"] = call.params["ExternalId"]
    document = role.assume_role_policy_document
    verdict = trust_verdict(document, caller.names, "sts:AssumeRole", context)
    return verdict is Verdict.ALLOWED


def _check_range(seconds: int, longest: int = _LONGEST_SECONDS) -> None:
    if seconds < _SHORTEST_SECONDS:
        bound = f"greater than or equal to {_SHORTEST_SECONDS}"
    elif seconds > longest:
        bound = f"less than or equal to {longest}"
    else:
        return
    raise _invalid(
        f"1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy "
        f"constraint: Member must have value {bound}"
    )


def _check_duration(call: Call, role: Role, seconds: int) -> None:
    if call.caller.is_session and seconds > _CHAINED_SECONDS:
        raise _invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed "
            "by role chaining."
        )
    if seconds > int(role.max_session_duration or _CHAINED_SECONDS):
        raise _invalid(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )


def _role_identity(role: Role, arn: str, session_name: str, policy: str | None) -> Identity:
    account = role.account_id
    return Identity(
        account=account,
        arn=f"arn:aws:sts::{account}:assumed-role/{role.name}/{session_name}",
        user_id=f"{role.id}:{session_name}",
        role_arn=arn,
        session_policy=policy,
    )


def _credentials(session: Session) -> Mapping[str, Any]:
    return {
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "SessionToken": session.session_token,
        "Expiration": session.expires_at,
    }


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)
