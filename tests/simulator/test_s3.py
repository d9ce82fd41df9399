"""S3's buckets: what AWS gives each of them, and what Object Lock keeps."""

import socket
from collections.abc import Callable
from http.client import HTTPConnection, RemoteDisconnected
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore import credentials
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest

from cpm.simulator.process import Credentials
from tests.simulator.conftest import Clients
from tests.simulator.expect import refused

RETENTION: Any = {
    "ObjectLockEnabled": "Enabled",
    "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 2}},
}


@pytest.fixture
def s3(client: Clients, account: Credentials) -> Any:
    """S3 in the test's own account."""
    return client("s3", account)


@pytest.fixture
def bucket(s3: Any, account: Credentials) -> str:
    """A bucket that locks what is put into it for two days."""
    name = f"locking-{account.account}"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    s3.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=RETENTION)
    return name


def test_a_new_bucket_encrypts_by_s3_s_own_key(s3: Any, bucket: str) -> None:
    def algorithm() -> str:
        answer = s3.get_bucket_encryption(Bucket=bucket)
        (rule,) = answer["ServerSideEncryptionConfiguration"]["Rules"]
        return str(rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"])

    assert algorithm() == "AES256"
    by_kms: Any = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=by_kms)
    assert algorithm() == "aws:kms"
    s3.delete_bucket_encryption(Bucket=bucket)
    assert algorithm() == "AES256"


def test_what_breaks_off_before_its_end_is_not_stored(
    s3: Any, bucket: str, account: Credentials
) -> None:
    request = AWSRequest("PUT", f"{s3.meta.endpoint_url}/{bucket}/a")
    keys = credentials.Credentials(account.access_key_id, account.secret_access_key)
    S3SigV4QueryAuth(keys, "s3", s3.meta.region_name).add_auth(request)
    url = urlsplit(str(request.url))
    connection = HTTPConnection(url.hostname or "", url.port)
    connection.putrequest("PUT", f"{url.path}?{url.query}")
    connection.putheader("Content-Length", "10")
    connection.endheaders(b"123456789")
    connection.sock.shutdown(socket.SHUT_WR)
    with pytest.raises(RemoteDisconnected):
        connection.getresponse()
    connection.close()
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_locked_version_stays_until_its_time_is_over(
    s3: Any, bucket: str, later: Callable[[float], None]
) -> None:
    version = s3.put_object(Bucket=bucket, Key="a", Body=b"1", ChecksumAlgorithm="SHA256")[
        "VersionId"
    ]
    marker = s3.delete_object(Bucket=bucket, Key="a")
    assert marker["DeleteMarker"]
    with refused("AccessDenied", 403) as told:
        s3.delete_object(Bucket=bucket, Key="a", VersionId=version)
    assert told.message == "Access Denied because object protected by object lock."
    s3.delete_object(Bucket=bucket, Key="a", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"
    later(2 * 86_400 + 1)
    s3.delete_object(Bucket=bucket, Key="a", VersionId=version)
    assert "Versions" not in s3.list_object_versions(Bucket=bucket)


def test_what_belongs_to_others_is_denied_without_a_word_of_locks(
    s3: Any, bucket: str, client: Clients, new_account: Callable[[], Credentials]
) -> None:
    theirs = client("s3", new_account())
    with refused("AccessDenied", 403) as told:
        theirs.delete_object(Bucket=bucket, Key="a")
    assert "lock" not in told.message
