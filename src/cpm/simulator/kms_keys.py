"""KMS keys as other services meet them: which key is meant, whose it is, and who may use it."""

from moto.kms.models import Key, KmsBackend, kms_backends

from cpm.simulator.credentials import Identity
from cpm.simulator.policies import Verdict, trust_verdict

_AWS_ALIAS = "alias/aws/"


def backend(account: str, region: str) -> KmsBackend:
    """The KMS of one account in one region."""
    return kms_backends[account][region]


def find(account: str, region: str, name: str) -> Key | None:
    """The key that `name` (id, alias or ARN) means to a caller there, None when there is none."""
    if name.startswith("arn:"):
        region, account = name.split(":")[3:5]
    kms = backend(account, region)
    short = name.rsplit(":", maxsplit=1)[-1].removeprefix("key/")
    if short.startswith("alias/"):
        return next((key for key in kms.keys.values() if short in key.aliases), None)
    return kms.keys.get(short)


def aws_managed(account: str, region: str, service: str) -> Key:
    """AWS's own key for `service`, made when it is first needed."""
    alias = f"{_AWS_ALIAS}{service}"
    found = find(account, region, alias)
    if found is not None:
        return found
    kms = backend(account, region)
    text = f"Default key that protects my {service} data when no other key is defined"
    key = kms.create_key("", "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", text, None)
    key.key_manager = "AWS"
    kms.create_alias(key.id, alias)
    return key


def is_aws_managed(key: Key) -> bool:
    """Whether the key is AWS's own, which no other account can ever use."""
    return any(alias.startswith(_AWS_ALIAS) for alias in key.aliases)


def may_use(caller: Identity, key: Key, operation: str) -> bool:
    """Whether `caller` may do `operation` (`Decrypt`) with an enabled key.

    A key of the caller's own account is open to it; another's by its policy or by a grant.
    """
    if not key.enabled:
        return False
    if key.account_id == caller.account:
        return True
    if is_aws_managed(key):
        return False
    return _policy_allows(caller, key, operation) or _grant_allows(caller, key, operation)


def _policy_allows(caller: Identity, key: Key, operation: str) -> bool:
    context = {"kms:CallerAccount": caller.account}
    verdict = trust_verdict(key.policy, caller.names, f"kms:{operation}", context)
    return verdict is Verdict.ALLOWED


def _grant_allows(caller: Identity, key: Key, operation: str) -> bool:
    return any(
        grant.grantee_principal in caller.names and operation in grant.operations
        for grant in key.grants.values()
    )
