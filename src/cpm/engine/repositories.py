"""How S3 repositories are found and made in their buckets."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from cpm.archive import repository as archive
from cpm.archive import s3
from cpm.archive.errors import (
    ArchiveError,
    Locked,
    NameTaken,
    NotAnArchive,
    NotFound,
    WrongKey,
)
from cpm.archive.keys import Kms
from cpm.archive.s3 import S3Store
from cpm.aws.sessions import Aws
from cpm.config.secrets import SealBroken
from cpm.engine.accounts import aws_of
from cpm.kernel import regions
from cpm.kernel.faults import Fault, FaultKind
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.repositories import Encryption, S3Repository

_HOME_REGION = "us-east-1"
_NO_ENCRYPTION = "ServerSideEncryptionConfigurationNotFoundError"
_PROBE_CONTENT = b"cpm-server looks whether it can keep copies here."


@dataclass(frozen=True, slots=True)
class Bucket:
    """What AWS says of a bucket."""

    region: str
    encryption: Encryption


def look(repository: S3Repository) -> Bucket:
    """Where the bucket is, and what encrypts it, after it was written to, read and deleted from.

    Raises `Invalid`, which names what failed.
    """
    name = repository.bucket_name
    with _naming("reached"):
        region = _region_of(repository)
        aws = aws_of(repository.account, region)
        aws.call("s3", "HeadBucket", Bucket=name)
    encryption = _encryption_of(aws, name)
    _try_out(store_of(repository, aws))
    return Bucket(region, encryption)


def establish(repository: S3Repository) -> None:
    """Make the archive in its bucket, or open the one that is there; notes the key's full name.

    Raises `Invalid`, also where another repository or anything else is in the way.
    """
    aws = aws_of(repository.account, repository.aws_region)
    if repository.kms_key:
        repository.kms_key = _full_name(repository.kms_key, aws)
    try:
        _refuse_nesting(repository, aws)
        opened = _opened(repository, store_of(repository, aws))
    except WrongKey as error:
        by_passphrase = repository.sealed_passphrase is not None or not repository.kms_key
        field = "passphrase" if by_passphrase else "kms_key"
        raise Invalid(Problem("invalid", str(error), field)) from None
    except ArchiveError as error:
        raise Invalid(Problem("invalid", str(error), "prefix")) from None
    except Fault as fault:
        raise Invalid(_failed("made into a repository", fault)) from None
    if _should_be_sealed(repository, opened):
        message = "There is a repository already, and it is not encrypted."
        raise Invalid(Problem("invalid", message, "encryption"))


def open_archive(
    repository: S3Repository, aws: Aws | None = None, *, storage_class: str = s3.STANDARD
) -> archive.Repository:
    """The archive of a row, with what the row has to open it; `aws` is of the bucket's region.

    At its first use it is made. The first time in a process a passphrase takes a third of a second.
    Raises `ArchiveError`, and Fault.
    """
    if not repository.aws_region:
        _use_first(repository)
    aws = aws or aws_of(repository.account, repository.aws_region)
    store = store_of(repository, aws, storage_class)
    opened = archive.open_(store, **_secrets_of(repository, aws))
    if _should_be_sealed(repository, opened):
        # Else whoever may write to the bucket could have everything sent to him in the clear.
        raise WrongKey("The repository was encrypted when it was made, and is not now.")
    return opened


def store_of(repository: S3Repository, aws: Aws, storage_class: str = s3.STANDARD) -> S3Store:
    """The objects of a repository; `aws` is of the bucket's region."""
    return S3Store(aws, repository.bucket_name, repository.prefix, storage_class=storage_class)


def _use_first(repository: S3Repository) -> None:
    """Make an archive that nobody has tried out yet. Raises `NotAnArchive`, and Fault."""
    repository.aws_region = _region_of(repository)
    try:
        establish(repository)
    except Invalid as invalid:
        raise NotAnArchive(str(invalid)) from None
    S3Repository.objects.filter(pk=repository.pk).update(
        aws_region=repository.aws_region, kms_key=repository.kms_key
    )


def _region_of(repository: S3Repository) -> str:
    account = repository.account
    # A region that is scanned tells the partition.
    home = regions.by_id(account.scan_regions[0]) if account.scan_regions else None
    aws = aws_of(account, home.name if home else _HOME_REGION)
    return s3.region_of(aws, repository.bucket_name)


def _encryption_of(aws: Aws, bucket: str) -> Encryption:
    try:
        answer = aws.call("s3", "GetBucketEncryption", Bucket=bucket)
    except Fault as fault:
        if fault.code != _NO_ENCRYPTION:
            raise Invalid(_failed("asked for its default encryption", fault)) from None
        message = "The bucket has no default encryption."
        raise Invalid(Problem("invalid", message, "bucket_name")) from None
    (rule, *_) = answer["ServerSideEncryptionConfiguration"]["Rules"]
    algorithm = rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]
    return Encryption.KMS if algorithm.startswith("aws:kms") else Encryption.S3


def _try_out(store: S3Store) -> None:
    probe = f"{archive.PROBES}{uuid.uuid4()}"
    with _naming("written to"):
        store.write(probe, _PROBE_CONTENT)
    with _naming("read from"):
        content = store.read(probe)
    if content != _PROBE_CONTENT:
        message = "The bucket cannot be read from: it answers something else than was written."
        raise Invalid(Problem("aws_error", message))
    # Where everything is locked for a while the probe is, too; care takes it away later.
    with _naming("deleted from"), suppress(Locked):
        store.delete(probe)


def _opened(repository: S3Repository, store: S3Store) -> archive.Repository:
    secrets = _secrets_of(repository, store.aws)
    try:
        store.read(archive.DESCRIPTION)
    except NotFound:
        _refuse_occupied(store)
        try:
            return _created(repository, store, secrets)
        except NameTaken:  # somebody else was faster
            pass
    return archive.open_(store, **secrets)


def _created(
    repository: S3Repository, store: S3Store, secrets: dict[str, Any]
) -> archive.Repository:
    """A new archive; of two that are made at once, one inside the other, not both stay."""
    made = archive.create(store, **secrets)
    try:
        # Both look after both have written, so that one at least sees the other.
        _refuse_nesting(repository, store.aws)
        _refuse_occupied(store)
    except Invalid:
        with suppress(Locked, Fault):
            store.delete(archive.DESCRIPTION)
        raise
    return made


def _secrets_of(repository: S3Repository, aws: Aws) -> dict[str, Any]:
    """What opens the archive, by `archive.open_`'s names."""
    sealed, key = repository.sealed_passphrase, repository.kms_key
    try:
        passphrase = settings.SEALER.open(bytes(sealed)) if sealed is not None else None
    except SealBroken:
        message = "The passphrase was sealed with another server's key; enter it again."
        raise WrongKey(message) from None
    return {"passphrase": passphrase, "kms": Kms(aws, key) if key else None}


def _should_be_sealed(repository: S3Repository, opened: archive.Repository) -> bool:
    return repository.encryption == Encryption.CLIENT_SIDE and opened.key.secret is None


def _full_name(key: str, aws: Aws) -> str:
    """The ARN of a KMS key; raises `Invalid`."""
    try:
        return Kms(aws, key).full_name()
    except Fault as fault:
        message = f"The KMS key cannot be used: {fault}"
        raise Invalid(Problem("aws_error", message, "kms_key")) from None


def _refuse_occupied(store: S3Store) -> None:
    """What was begun and not finished is no obstacle: keys come before the description."""
    for stored in store.list(""):
        folder, _, rest = stored.name.partition("/")
        is_key = f"{folder}/" == archive.KEYS and "/" not in rest
        if not (is_key or folder == archive.DESCRIPTION or folder.startswith(archive.PROBES)):
            message = "There is something else below this prefix."
            raise Invalid(Problem("invalid", message, "prefix"))


def _refuse_nesting(repository: S3Repository, aws: Aws) -> None:
    """Raise `Invalid` where the prefix is inside another repository, whosever it is."""
    parts = repository.prefix.split("/")
    for length in range(len(parts)):
        above = S3Store(aws, repository.bucket_name, "/".join(parts[:length]))
        try:
            above.read(archive.DESCRIPTION)
        except NotFound:
            continue
        except Fault as fault:
            if fault.kind is FaultKind.DENIED:  # what is there is nobody's business here
                continue
            raise
        raise Invalid(Problem("invalid", "The prefix is inside another repository.", "prefix"))


@contextmanager
def _naming(what: str) -> Iterator[None]:
    try:
        yield
    except Fault as fault:
        raise Invalid(_failed(what, fault)) from None
    except ArchiveError as error:
        raise Invalid(Problem("aws_error", f"The bucket cannot be {what}: {error}")) from None


def _failed(what: str, fault: Fault) -> Problem:
    return Problem("aws_error", f"The bucket cannot be {what}: {fault}")
