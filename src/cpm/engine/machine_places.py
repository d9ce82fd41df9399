"""Where things are, as worker machines are told."""

from cpm.engine import accounts, repositories
from cpm.kernel.faults import Fault, FaultKind
from cpm.machine import wire
from cpm.models.accounts import Account
from cpm.models.repositories import S3Repository


def place_of(account: Account | None, region: str) -> wire.Place:
    """An account in a region. Raises Fault where there is none any longer."""
    if account is None:
        raise Fault(FaultKind.INVALID, "the account was deleted from the server")
    return wire.Place(account=accounts.number_of(account), region=region)


def archive_of(repository: S3Repository, storage_class: str) -> wire.Archive:
    """A repository, with what opens its blobs. Raises `ArchiveError` and Fault where it is shut."""
    opened = repositories.open_archive(repository)
    return wire.Archive(
        id=opened.id,
        place=place_of(repository.account, repository.aws_region),
        bucket=repository.bucket_name,
        prefix=repository.prefix,
        storage_class=storage_class,
        key=opened.key.secret,
    )
