"""S3 as a store."""

import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import groupby, takewhile
from operator import itemgetter
from typing import Any

from cpm.archive.errors import Locked, NameTaken, NotFound
from cpm.archive.store import Stored
from cpm.aws import signing
from cpm.aws.lean import Lean, Request
from cpm.aws.patience import patiently
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind

STANDARD = "STANDARD"
# The IAM actions of what is done here, and of a look at the bucket.
PERMISSIONS = (
    *("s3:DeleteObjectVersion", "s3:GetBucketLocation", "s3:GetEncryptionConfiguration"),
    *("s3:GetObject", "s3:GetObjectLegalHold", "s3:GetObjectRetention", "s3:ListBucket"),
    *("s3:ListBucketVersions", "s3:PutObject"),
)

# How S3 spells the regions that are older than their names.
_OLD_LOCATIONS = {"": "us-east-1", "EU": "eu-west-1"}
_EXISTS = ("PreconditionFailed", "ConditionalRequestConflict")
# What S3 says of versions that retention or a legal hold keeps.
_LOCKED = "object lock"
_MOST_LISTED = 1000
# Who sets it does not say until when.
_LEGAL_HOLD = datetime.max.replace(tzinfo=UTC)


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
        self._lean = Lean(aws, "s3", "GetObject", "/x", Bucket=bucket, Key="x")

    def read(self, name: str) -> bytes:
        """As `Store` says."""
        return self._read(name)

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """As `Store` says."""
        return self._read_part(name, f"bytes={offset}-{offset + length - 1}")

    def read_end(self, name: str, length: int) -> bytes:
        """As `Store` says."""
        return self._read_part(name, f"bytes=-{length}")

    def write(
        self,
        name: str,
        *parts: bytes,
        only_new: bool = False,
        before_end: Callable[[], None] | None = None,
    ) -> None:
        """As `Store` says. S3 compares the checksum with what has arrived."""
        put = self._put_new if only_new else self._put
        try:
            patiently(put(name, parts, before_end))
        except Fault as fault:
            if only_new and fault.code in _EXISTS:
                raise NameTaken(name) from None
            raise

    def delete(self, name: str) -> None:
        """As `Store` says: every version, the oldest first, so that none comes back.

        A delete that names no version would leave the data there, and a marker over it.
        """
        for version in reversed(list(self._versions(name))):
            try:
                self._call("DeleteObject", name, VersionId=version["VersionId"])
            except Fault as fault:
                if fault.kind is FaultKind.DENIED and _LOCKED in fault.message.lower():
                    raise Locked(name) from None
                raise

    def locked_until(self, name: str) -> datetime | None:
        """As `Store` says."""
        try:
            answer = self._call("HeadObject", name)
        except Fault as fault:
            if fault.kind is FaultKind.MISSING or fault.code == "404":
                raise NotFound(name) from None
            raise
        if answer.get("ObjectLockLegalHoldStatus") == "ON":
            return _LEGAL_HOLD
        until: datetime | None = answer.get("ObjectLockRetainUntilDate")
        return until

    def list(self, prefix: str, *, with_hidden: bool = False) -> Iterator[Stored]:
        """As `Store` says. Lists of versions cost as much as others, but are longer."""
        return self._list_all(prefix) if with_hidden else self._list_readable(prefix)

    def unhide(self, name: str) -> bool:
        """As `Store` says."""
        versions = list(self._versions(name))
        if not _is_hidden(versions):
            return False
        for each in versions:
            if _is_marker(each):
                self._call("DeleteObject", name, VersionId=each["VersionId"])
        return True

    def now(self) -> datetime:
        """As `Store` says: by the date of an answer of S3's."""
        answer = self.aws.call("s3", "HeadBucket", Bucket=self._bucket)
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])

    def _list_readable(self, prefix: str) -> Iterator[Stored]:
        token: dict[str, str] = {}
        while True:
            answer = self.aws.call(
                "s3", "ListObjectsV2", Bucket=self._bucket, Prefix=self.prefix + prefix, **token
            )
            for found in answer.get("Contents", ()):
                yield self._stored(found)
            if not answer.get("IsTruncated"):
                return
            token = {"ContinuationToken": answer["NextContinuationToken"]}

    def _list_all(self, prefix: str) -> Iterator[Stored]:
        for _, found in groupby(self._all_versions(prefix), key=itemgetter("Key")):
            versions = list(found)
            newest = next((each for each in versions if not _is_marker(each)), None)
            if newest is not None:
                yield self._stored(newest, is_hidden=_is_hidden(versions))

    def _stored(self, found: Mapping[str, Any], *, is_hidden: bool = False) -> Stored:
        name = found["Key"].removeprefix(self.prefix)
        return Stored(name, found["Size"], found["LastModified"], is_hidden)

    def _versions(self, name: str) -> Iterator[dict[str, Any]]:
        """What has this very name, markers too, the newest first."""
        key = self.prefix + name
        # Of all names that begin so it is the first.
        return takewhile(lambda each: each["Key"] == key, self._all_versions(name))

    def _all_versions(self, prefix: str) -> Iterator[dict[str, Any]]:
        """Every version and marker, in the order of keys, of each the newest first."""
        place: dict[str, str] = {}
        wanted = {"Prefix": self.prefix + prefix, "MaxKeys": _MOST_LISTED}
        while True:
            answer = self.aws.call(
                "s3", "ListObjectVersions", Bucket=self._bucket, **wanted, **place
            )
            listed = [*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())]
            listed.sort(key=itemgetter("LastModified"), reverse=True)
            yield from sorted(listed, key=itemgetter("Key"))
            if not answer.get("IsTruncated"):
                return
            place = {"KeyMarker": answer["NextKeyMarker"]}
            if answer.get("NextVersionIdMarker"):
                place["VersionIdMarker"] = answer["NextVersionIdMarker"]

    def _put_new(
        self, name: str, parts: Sequence[bytes], before_end: Callable[[], None] | None
    ) -> Callable[[], None]:
        """Attempts of a put; what an earlier one has put without knowing it is no other's."""
        put, doubts = self._put(name, parts, before_end, {"if-none-match": "*"}), list[Fault]()

        def attempt() -> None:
            try:
                put()
            except Fault as fault:
                if not (fault.code in _EXISTS and doubts and self._read(name) == b"".join(parts)):
                    doubts.append(fault)
                    raise

        return attempt

    def _put(
        self,
        name: str,
        parts: Sequence[bytes],
        before_end: Callable[[], None] | None,
        more: Mapping[str, str] | None = None,
    ) -> Callable[[], None]:
        crc = 0
        for part in parts:
            crc = zlib.crc32(part, crc)
        headers = {
            "x-amz-checksum-crc32": b64encode(crc.to_bytes(4, "big")).decode(),
            # Without it S3 takes nothing where Object Lock keeps what comes.
            "x-amz-sdk-checksum-algorithm": "CRC32",
            **(more or {}),
        }
        if name.startswith("packs/") and self._storage_class != STANDARD:
            headers["x-amz-storage-class"] = self._storage_class
        path = self._path(name)
        request = Request("PutObject", "PUT", path, "", headers, parts, before_end)

        def attempt() -> None:
            self._lean.send(request)

        return attempt

    def _read_part(self, name: str, bytes_: str) -> bytes:
        try:
            return self._read(name, {"range": bytes_})
        except Fault as fault:
            if fault.code == "InvalidRange":
                return b""
            raise

    def _read(self, name: str, headers: Mapping[str, str] | None = None) -> bytes:
        request = Request("GetObject", "GET", self._path(name), headers=headers or {})
        try:
            return patiently(lambda: self._lean.send(request)).body
        except Fault as fault:
            if fault.code == "NoSuchKey":
                raise NotFound(name) from None
            raise

    def _path(self, name: str) -> str:
        return signing.path_of(f"/{self.prefix}{name}")

    def _call(self, operation: str, name: str, **parameters: Any) -> dict[str, Any]:
        return self.aws.call(
            "s3", operation, Bucket=self._bucket, Key=self.prefix + name, **parameters
        )


def _is_marker(version: Mapping[str, Any]) -> bool:
    return "Size" not in version


def _is_hidden(versions: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there is something of a name, and the latest is a delete marker."""
    has_content = any(not _is_marker(each) for each in versions)
    return has_content and any(_is_marker(each) and each["IsLatest"] for each in versions)
