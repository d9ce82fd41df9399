"""KMS keys as other services meet them: which key is meant, whose it is, and who may use it."""

from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.kms import models
from moto.kms.models import Key, KmsBackend, kms_backends
from moto.kms.utils import KeySpec, generate_private_key

from cpm.simulator.calls import Handlers
from cpm.simulator.credentials import Identity
from cpm.simulator.patches import replace
from cpm.simulator.policies import Verdict, trust_verdict

_AWS_ALIAS = "alias/aws/"
_ONE_KEY = frozenset({KeySpec.SYMMETRIC_DEFAULT.value, *KeySpec.hmac_key_specs()})
_get_public_key = KmsBackend.get_public_key


def install(_handlers: Handlers) -> None:
    """Give a pair of keys only to a key that is one: moto makes all pairs, which takes long."""
    replace(models, "generate_private_key", _pair)
    replace(KmsBackend, "get_public_key", _public_key)


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


def _pair(key_spec: str) -> Any:
    return None if key_spec in _ONE_KEY else generate_private_key(key_spec)


def _public_key(kms: KmsBackend, key_id: str) -> tuple[Key, bytes]:
    key = kms.describe_key(key_id)
    if key.key_spec in _ONE_KEY:
        text = f"{key.arn} has no public key: its spec is {key.key_spec}"
        raise JsonRESTError("UnsupportedOperationException", text)
    return _get_public_key(kms, key_id)
