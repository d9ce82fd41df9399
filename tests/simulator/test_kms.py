"""KMS encrypts with keys that can be used, for whom policies let use them, within a context."""

import json
from collections.abc import Callable
from typing import Any

from cpm.simulator.process import Credentials
from tests.simulator.conftest import Clients
from tests.simulator.databases import make_key
from tests.simulator.expect import refused

CONTEXT = {"of": "this"}


def test_a_ciphertext_opens_in_its_context_and_with_its_key_alone(kms: Any) -> None:
    key, other = make_key(kms), make_key(kms)
    made = kms.encrypt(KeyId=key, Plaintext=b"secret", EncryptionContext=CONTEXT)
    assert made["KeyId"] == key
    blob = made["CiphertextBlob"]
    opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)
    assert (opened["Plaintext"], opened["KeyId"]) == (b"secret", key)
    with refused("InvalidCiphertextException"):
        kms.decrypt(CiphertextBlob=blob, KeyId=key)
    with refused("IncorrectKeyException"):
        kms.decrypt(CiphertextBlob=blob, KeyId=other, EncryptionContext=CONTEXT)
    with refused("InvalidCiphertextException"):
        kms.decrypt(CiphertextBlob=b"nothing", KeyId=key)
    with refused("NotFoundException"):
        kms.encrypt(KeyId="alias/none", Plaintext=b"secret")


def test_keys_that_are_disabled_or_going_open_nothing(kms: Any) -> None:
    key = make_key(kms)
    blob = kms.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
    kms.disable_key(KeyId=key.rpartition("/")[2])
    with refused("DisabledException"):
        kms.decrypt(CiphertextBlob=blob)
    kms.schedule_key_deletion(KeyId=key.rpartition("/")[2])
    with refused("KMSInvalidStateException"):
        kms.decrypt(CiphertextBlob=blob)


def test_another_account_needs_the_key_s_policy(
    kms: Any, client: Clients, new_account: Callable[[], Credentials]
) -> None:
    key, other = make_key(kms), new_account()
    blob = kms.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
    theirs = client("kms", other)
    with refused("AccessDeniedException"):
        theirs.decrypt(CiphertextBlob=blob, KeyId=key)
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{other.account}:root"},
        "Action": "kms:Decrypt",
        "Resource": "*",
    }
    kms.put_key_policy(
        KeyId=key.rpartition("/")[2],
        PolicyName="default",
        Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    assert theirs.decrypt(CiphertextBlob=blob, KeyId=key)["Plaintext"] == b"secret"
