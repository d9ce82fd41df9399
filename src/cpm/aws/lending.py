"""Temporary keys for somebody else, which open less than one's own and end by themselves."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cpm.aws.credentials import AssumedRole, InstanceRole, Keys, LentKeys, StaticKeys, role_arn
from cpm.aws.sessions import Aws, keys_in
from cpm.kernel.faults import Fault, FaultKind

# The longest that AWS grants where one role assumes another.
SECONDS = 3600
# The IAM actions of what is done here, besides assuming the role that is known anyway.
PERMISSIONS = ("sts:GetFederationToken",)


def lend(aws: Aws, name: str, policy: Mapping[str, Any]) -> Keys:
    """Keys for an hour, with which `name` may do what both `policy` and `aws` may.

    A machine's own role has to trust itself for this. Raises Fault.
    """
    narrowed: dict[str, Any] = {
        "Policy": json.dumps(policy, separators=(",", ":")),
        "DurationSeconds": SECONDS,
    }
    match aws.credentials:
        case StaticKeys():
            answer = _sts(aws).call("sts", "GetFederationToken", Name=name, **narrowed)
        case AssumedRole() as role:
            more = {"ExternalId": role.external_id} if role.external_id else {}
            base = replace(_sts(aws), credentials=role.base)
            answer = _assume(base, role.role_arn, name, {**narrowed, **more})
        case InstanceRole():
            answer = _assume(_sts(aws), _own_role(_sts(aws)), name, narrowed)
        case LentKeys():
            raise Fault(FaultKind.INVALID, "what is lent cannot be lent on", code="LentKeys")
    return keys_in(answer)


def _sts(aws: Aws) -> Aws:
    return aws.at(aws.cloud.sts_region(aws.region))


def _assume(base: Aws, role: str, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return base.call("sts", "AssumeRole", RoleArn=role, RoleSessionName=name, **parameters)


def _own_role(aws: Aws) -> str:
    """The role behind a session `arn:aws:sts::123456789012:assumed-role/cpm/i-0123`."""
    caller = aws.call("sts", "GetCallerIdentity")
    kind, _, rest = str(caller["Arn"]).rpartition(":")[2].partition("/")
    if kind != "assumed-role":
        text = "temporary keys can be lent by IAM users and by roles only"
        raise Fault(FaultKind.INVALID, text, code="NoRole")
    return role_arn(aws.partition, str(caller["Account"]), rest.partition("/")[0])
