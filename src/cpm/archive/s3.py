"""S3 as a store."""

from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import BotoCoreError
from urllib3.exceptions import HTTPError

from cpm.archive.errors import Locked, NameTaken, NotFound
from cpm.archive.store import Stored
from cpm.aws.errors import fault_of
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind

STANDARD = "STANDARD"
# The IAM actions of what is done here, and of a look at the bucket.
PERMISSIONS = (
    *("s3:DeleteObject", "s3:GetBucketLocation", "s3:GetEncryptionConfiguration"),
    *("s3:GetObject", "s3:ListBucket", "s3:PutObject"),
)

# How S3 spells the regions that are older than their names.
_OLD_LOCATIONS = {"": "us-east-1", "EU": "eu-west-1"}
_EXISTS = ("PreconditionFailed", "ConditionalRequestConflict")


def region_of(aws: Aws, bucket: str) -> str:
    """Where a bucket is; `aws` may be of any region of the partition. Raises Fault."""
    answer = aws.call("s3", "GetBucketLocation", Bucket=bucket)
    location: str = answer.get("LocationConstraint") or ""
    return _OLD_LOCATIONS.get(location, location)


class S3Store:
    """The objects of a bucket below a prefix. `aws` is of the bucket's region."""

    def __init__(
        self, aws: Aws, bucket: str, prefix: str, *, storage_class: str = STANDARD
    ) -> None:
        """Packs go into the storage class; the small things around them stay at hand."""
        self.aws = aws
        self._bucket = bucket
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._storage_class = storage_class

    def read(self, name: str) -> bytes:
        """As `Store` says."""
        return self._read(name)

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """As `Store` says."""
        try:
            return self._read(name, Range=f"bytes={offset}-{offset + length - 1}")
        except Fault as fault:
            if fault.code == "InvalidRange":
                return b""
            raise

    def write(self, name: str, content: bytes, *, only_new: bool = False) -> None:
        """As `Store` says. S3 compares a checksum of its own with what has arrived."""
        more: dict[str, Any] = {"IfNoneMatch": "*"} if only_new else {}
        if name.startswith("packs/") and self._storage_class != STANDARD:
            more["StorageClass"] = self._storage_class
        try:
            self._call("PutObject", name, Body=content, ChecksumAlgorithm="SHA256", **more)
        except Fault as fault:
            if fault.code in _EXISTS:
                raise NameTaken(name) from None
            raise

    def delete(self, name: str) -> None:
        """As `Store` says."""
        try:
            self._call("DeleteObject", name)
        except Fault as fault:
            if fault.kind is FaultKind.DENIED and "object lock" in fault.message.lower():
                raise Locked(name) from None
            raise

    def list(self, prefix: str) -> Iterator[Stored]:
        """As `Store` says."""
        token: dict[str, str] = {}
        while True:
            answer = self.aws.call(
                "s3", "ListObjectsV2", Bucket=self._bucket, Prefix=self.prefix + prefix, **token
            )
            for found in answer.get("Contents", ()):
                name = found["Key"].removeprefix(self.prefix)
                yield Stored(name, found["Size"], found["LastModified"])
            if not answer.get("IsTruncated"):
                return
            token = {"ContinuationToken": answer["NextContinuationToken"]}

    def now(self) -> datetime:
        """As `Store` says: by the date of an answer of S3's."""
        answer = self.aws.call("s3", "HeadBucket", Bucket=self._bucket)
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])

    def _read(self, name: str, **more: Any) -> bytes:
        try:
            answer = self._call("GetObject", name, **more)
        except Fault as fault:
            if fault.code == "NoSuchKey":
                raise NotFound(name) from None
            raise
        try:
            content: bytes = answer["Body"].read()
        except (BotoCoreError, HTTPError, OSError) as error:
            raise fault_of(error, "s3:GetObject", is_read=True) from error
        return content

    def _call(self, operation: str, name: str, **parameters: Any) -> dict[str, Any]:
        return self.aws.call(
            "s3", operation, Bucket=self._bucket, Key=self.prefix + name, **parameters
        )
