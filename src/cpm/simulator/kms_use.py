"""Encryption with KMS keys: with those that are enabled, by whom their policies allow it."""

from collections.abc import Mapping
from typing import Any

from moto.kms.models import Key
from moto.kms.utils import HEADER_LEN, KEY_ID_LEN, decrypt, encrypt

from cpm.simulator import kms_keys
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.errors import AwsError


def install(handlers: Handlers) -> None:
    """Answer what moto does with any key, for anybody."""
    handlers.add("kms", {"Decrypt": decrypt_blob, "Encrypt": encrypt_blob})


def encrypt_blob(call: Call) -> Mapping[str, Any]:
    """Encrypt."""
    key = _usable(call, call.params["KeyId"], "Encrypt")
    blob = encrypt({key.id: key}, key.id, call.params["Plaintext"], _context(call))
    return {"CiphertextBlob": blob, "KeyId": key.arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}


def decrypt_blob(call: Call) -> Mapping[str, Any]:
    """Decrypt: the key is in the ciphertext; one that is named has to be the same."""
    blob: bytes = call.params["CiphertextBlob"]
    if len(blob) <= HEADER_LEN:
        raise AwsError("InvalidCiphertextException", "")
    used = blob[:KEY_ID_LEN].decode(errors="replace")
    key = _usable(call, call.get("KeyId") or used, "Decrypt")
    if used != key.id:
        text = "The key ID in the request does not identify a CMK that can perform this operation."
        raise AwsError("IncorrectKeyException", text)
    plaintext, _ = decrypt({key.id: key}, blob, _context(call))
    return {"Plaintext": plaintext, "KeyId": key.arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}


def _usable(call: Call, name: str, operation: str) -> Key:
    key = kms_keys.find(call.account, call.region, name)
    if key is None or key.region != call.region:
        text = f"Key '{name}' does not exist"
        raise AwsError("NotFoundException", text)
    if key.key_state == "PendingDeletion":
        raise AwsError("KMSInvalidStateException", f"{key.arn} is pending deletion.")
    if not key.enabled:
        raise AwsError("DisabledException", f"{key.arn} is disabled.")
    if not kms_keys.may_use(call.caller, key, operation):
        text = f"User: {call.caller.arn} is not authorized to perform: kms:{operation}"
        raise AwsError("AccessDeniedException", f"{text} on resource: {key.arn}")
    return key


def _context(call: Call) -> dict[str, str]:
    return dict(call.get("EncryptionContext", {}))
