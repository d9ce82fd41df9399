"""Copies in S3 as recoveries find them: what they are of, what is asked and planned of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from cpm.archive.errors import ArchiveError, NotFound
from cpm.archive.manifests import Manifest
from cpm.archive.repository import Repository
from cpm.engine import accounts, orders, repositories
from cpm.engine.deleted import archives
from cpm.engine.wishes import Wish, is_archived, source_of
from cpm.models.recoveries import Recovery
from cpm.models.s3_copies import S3Copy
from cpm.models.s3_restores import S3Restore
from cpm.models.snapshots import Snapshot
from cpm.resources import registry
from cpm.resources.contract import Json, Restore
from cpm.resources.copied import Copied, Use
from cpm.resources.options import make
from cpm.resources.restored_snapshots import SNAPSHOT


class Hopeless(Exception):
    """A copy does not come back; the text says why."""


@dataclass(frozen=True)
class Terms:
    """What was asked of a recovery from S3, beside what is made of the snapshots."""

    as_snapshot: bool
    keeps_snapshots: bool
    may_lose: bool

    @classmethod
    def of(cls, asked: Json) -> "Terms":
        """As the body of the request says."""
        return cls(
            as_snapshot=asked.get("recover_as") == "S",
            keeps_snapshots=bool(asked.get("keep_snapshots")),
            may_lose=bool(asked.get("allow_damaged")),
        )

    @property
    def use(self) -> Use:
        """What the snapshots are for."""
        if self.as_snapshot:
            return Use.RESULT
        return Use.KEPT if self.keeps_snapshots else Use.MEANS


@dataclass(frozen=True)
class Planned:
    """A restore that is to be begun."""

    copy: S3Copy
    blocks: int
    restore: Restore


def plan(wish: Wish) -> list[Planned]:
    """What a recovery restores. What can be seen to be wrong at once is found here.

    Raises OptionRefused, Fault, and Hopeless for a copy that is not there any longer.
    """
    driver, terms = wish.driver, Terms.of(wish.asked)
    if driver.plan_restores is None or driver.plan_recovery is None:
        raise LookupError(f"{driver.kind} cannot be recovered from S3")
    manifests = dict(_manifests(wish.snapshots))
    archived = [_archived(copy, manifest) for copy, manifest in manifests.items()]
    aws = accounts.aws_of(wish.account, wish.region)
    restores = driver.plan_restores(aws, source_of(wish, archived), wish.options, terms.use)
    if not terms.as_snapshot:
        # Rehearsed, so that what stands in the way is told now, and not hours later.
        copies = [*(each.snapshot for each in restores), *_not_archived(wish)]
        driver.plan_recovery(aws, source_of(wish, copies), wish.options)
    copies_by_id = {copy.snapshot_id: copy for copy in manifests}
    return [
        Planned(copy, manifests[copy].blocks, each)
        for each in restores
        for copy in [copies_by_id[each.snapshot.snapshot_id]]
    ]


def wish_of(recovery: Recovery) -> Wish:
    """What a recovery is for, by its rows. Raises Hopeless where they are not there any longer."""
    related = ("s3_copy", "target")
    snapshots = list(recovery.snapshots.select_related(*related).order_by("pk"))
    if recovery.account is None or recovery.backup is None:
        raise Hopeless("the account or the backup was deleted from the server")
    driver = registry.driver(recovery.kind)
    copy = next(filter(is_archived, snapshots))
    subject = copy.target if driver.is_recovered_whole else copy
    if subject is None or driver.recover_options is None:
        raise LookupError(f"{recovery} is of nothing")
    return Wish(
        driver=driver,
        backup=recovery.backup,
        resource_id=recovery.resource_id,
        resource_name=subject.resource_name,
        facts=subject.facts,
        snapshots=snapshots,
        account=recovery.account,
        region=recovery.region,
        options=make(driver.recover_options, recovery.options),
        asked=recovery.options,
    )


def copies_of(recovery: Recovery) -> list[Copied]:
    """The EBS snapshots that have been restored, and what needed no restoring, for the driver."""
    restored = [
        replace(orders.copied_of(restore.copy.snapshot), aws_ref=restore.start.refs[SNAPSHOT])
        for restore in related(recovery)
    ]
    others = recovery.snapshots.exclude(collection__in=archives()).order_by("pk")
    return restored + [orders.copied_of(each) for each in others]


def related(recovery: Recovery) -> Iterable[S3Restore]:
    """The restores of a recovery with all that they are about."""
    rows = recovery.restores.select_related(
        *("copy__snapshot", "copy__repository__account__assume_from_account"),
        *("start", "completion", "recovery__account"),
    )
    return rows.order_by("pk")


def archive_of(copy: S3Copy) -> tuple[Repository, Manifest]:
    """The repository that a copy is in, and its manifest. Raises Fault and ArchiveError."""
    archive = repositories.open_archive(copy.repository)
    return archive, archive.manifest(copy.snapshot.aws_ref)


def _manifests(snapshots: Iterable[Snapshot]) -> Iterator[tuple[S3Copy, Manifest]]:
    opened: dict[int, Repository] = {}
    for snapshot in snapshots:
        if not is_archived(snapshot):
            continue
        copy = snapshot.s3_copy
        try:
            archive = opened.get(copy.repository_id)
            if archive is None:
                archive = opened[copy.repository_id] = repositories.open_archive(copy.repository)
            yield copy, archive.manifest(snapshot.aws_ref)
        except NotFound:
            text = f"{snapshot} is not in repository {copy.repository} any longer"
            raise Hopeless(text) from None
        except ArchiveError as error:
            text = f"{snapshot} cannot be read in repository {copy.repository}"
            raise Hopeless(f"{text}: {error}") from None


def _archived(copy: S3Copy, manifest: Manifest) -> Copied:
    return replace(orders.copied_of(copy.snapshot), size_gib=manifest.volume["size_gib"])


def _not_archived(wish: Wish) -> Iterator[Copied]:
    return (orders.copied_of(each) for each in wish.snapshots if not is_archived(each))
