"""The key of an encrypted archive: wrapped by a passphrase, by KMS, or by both."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cpm.archive import keys, repository
from cpm.archive.errors import WrongKey
from cpm.archive.keys import Kms, Passphrase
from cpm.archive.s3 import S3Store
from cpm.archive.store import MemoryStore
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault
from cpm.simulator.process import Simulator
from tests.archive.conftest import BUCKET, REGION
from tests.archive.test_vectors import TOOL
from tests.archive.volumes import Copier, came_back, noise

PASSPHRASE = "correct horse"
BLOCKS = {3: noise(3)}


def new_key(aws: Aws, region: str = REGION) -> Kms:
    made = aws.at(region).call("kms", "CreateKey")
    return Kms(aws, made["KeyMetadata"]["Arn"])


@pytest.fixture(scope="module")
def kms(aws: Aws) -> Kms:
    """A key of the bucket's owner."""
    return new_key(aws)


def test_what_kms_wraps_opens_with_the_same_key_of_kms_alone(aws: Aws, kms: Kms) -> None:
    store = MemoryStore()
    made = Copier(repository.create(store, kms=kms)).copy(BLOCKS)
    assert came_back(repository.open_(store, kms=kms), made) == BLOCKS
    # Whoever has nothing but the bucket asks the key that it names, wherever that is.
    assert came_back(repository.open_(store, kms=Kms(aws.at("us-east-1"))), made) == BLOCKS
    with pytest.raises(WrongKey, match="IncorrectKeyException"):
        repository.open_(store, kms=new_key(aws))
    with pytest.raises(WrongKey, match="opens with a KMS key"):
        repository.open_(store, passphrase=PASSPHRASE)


def test_a_wrapped_key_serves_its_own_repository_alone(kms: Kms) -> None:
    one, other = MemoryStore(), MemoryStore()
    repository.create(one, kms=kms)
    repository.create(other, kms=kms)
    for stored in one.list(keys.PREFIX):
        other.delete(next(other.list(keys.PREFIX)).name)
        other.write(stored.name, one.read(stored.name))
    with pytest.raises(WrongKey, match="InvalidCiphertext"):
        repository.open_(other, kms=kms)


@pytest.mark.parametrize("operation", ["DisableKey", "ScheduleKeyDeletion"])
def test_an_archive_survives_the_loss_of_the_kms_key_by_its_passphrase(
    aws: Aws, operation: str
) -> None:
    store, kms = MemoryStore(), new_key(aws)
    archive = repository.create(store, kms=kms)
    made = Copier(archive).copy(BLOCKS)
    keys.add(store, archive.key, Passphrase(PASSPHRASE), archive.id)
    aws.call("kms", operation, KeyId=kms.key.rpartition("/")[2])
    with pytest.raises(WrongKey, match=r"is disabled|is pending deletion"):
        repository.open_(store, kms=kms)
    opened = repository.open_(store, kms=kms, passphrase=PASSPHRASE)
    assert came_back(opened, made) == BLOCKS


def test_trouble_of_kms_is_no_wrong_key(simulator: Simulator, kms: Kms) -> None:
    store = MemoryStore()
    repository.create(store, kms=kms)
    simulator.faults([{"op": "kms:Decrypt", "kind": "throttle"}])
    try:
        with pytest.raises(Fault):
            repository.open_(store, kms=kms)
    finally:
        simulator.faults([])
    assert repository.open_(store, kms=kms).key.secret


def test_what_is_not_encrypted_gets_no_keys() -> None:
    archive = repository.create(MemoryStore())
    with pytest.raises(WrongKey):
        keys.add(archive.store, archive.key, Passphrase(PASSPHRASE), archive.id)


def test_the_tool_asks_kms_itself(
    simulator: Simulator, aws: Aws, s3: S3Store, tmp_path: Path
) -> None:
    """The region of the key is in its name, whichever is the caller's."""
    archive = repository.create(s3, kms=new_key(aws, "us-west-2"))
    made = Copier(archive).copy(BLOCKS)
    image, signing = tmp_path / "disk.img", signs(aws)
    address = f"s3://{BUCKET}/{s3.prefix}"
    done = subprocess.run(
        [sys.executable, str(TOOL), address, made.name, "--to", str(image)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **signing, "AWS_ENDPOINT_URL": simulator.endpoint},
    )
    assert (done.returncode, done.stderr) == (0, "")
    with image.open("rb") as file:
        file.seek(3 * len(BLOCKS[3]))
        assert file.read(len(BLOCKS[3])) == BLOCKS[3]


def signs(aws: Aws) -> dict[str, Any]:
    found = aws.cloud.keys(aws.credentials, aws.region)
    return {
        "AWS_ACCESS_KEY_ID": found.access_key_id,
        "AWS_SECRET_ACCESS_KEY": found.secret_access_key,
        "AWS_DEFAULT_REGION": REGION,
    }
