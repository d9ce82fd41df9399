"""Stories of what is protected one by one: Redshift's clusters and DynamoDB's tables."""

import itertools
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from cpm.aws import tags
from cpm.engine import deletions, tick
from cpm.models.backups import Backup, BackupOutcome
from cpm.models.policies import Target
from cpm.models.recoveries import RecoveryOutcome
from cpm.models.snapshots import SnapshotStatus
from cpm.resources import _dynamodb_backups, registry
from cpm.services import recoveries as services
from tests.crash.stories import RecoveryStory, Story
from tests.engine.world import REGION, World, refs_of

_numbers = itertools.count(1)


class Things(ABC):
    """One type in an account, as its owner sees it."""

    kind: ClassVar[str]
    # Calls that make, change or delete something, in the words of faults.
    calls: ClassVar[tuple[str, ...]]
    # The call, and the step that makes it, without which what was restored is taken back.
    vital: ClassVar[tuple[str, str] | None] = None

    def __init__(self, world: World) -> None:
        self.world = world

    @abstractmethod
    def plant(self) -> str:
        """One with a tag; its name."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Delete one."""

    @abstractmethod
    def copies(self) -> dict[str, dict[str, str]]:
        """The marks of all copies, by what AWS calls them."""

    @abstractmethod
    def present(self) -> dict[str, dict[str, str]]:
        """The tags of all that there are, by name."""

    @abstractmethod
    def check(self, name: str) -> None:
        """See that it is whole, as it was planted."""

    def copies_of(self, backup: Backup) -> dict[str, dict[str, str]]:
        """Those of `copies` that a backup has made."""
        mark = str(backup.pk)
        return {ref: marks for ref, marks in self.copies().items() if marks[tags.BACKUP_ID] == mark}

    def target(self, name: str) -> Target:
        """One as a policy names it."""
        return Target(kind=self.kind, resource_id=name, region=REGION)

    def backup(self) -> Backup:
        """A backup of one that is new."""
        return self.world.backup(self.world.policy(self.target(self.plant())))


class Warehouses(Things):
    """Redshift's clusters."""

    kind = "redshift_cluster"
    calls = (
        *("redshift:CreateClusterSnapshot", "redshift:DeleteClusterSnapshot"),
        *("redshift:RestoreFromClusterSnapshot", "redshift:CreateTags"),
    )
    vital = ("redshift:CreateTags", "tag")

    @property
    def redshift(self) -> Any:
        """Redshift of the account."""
        return self.world.client("redshift")

    def plant(self) -> str:
        name = f"dw-{next(_numbers)}"
        self.redshift.create_cluster(
            ClusterIdentifier=name,
            NodeType="dc2.large",
            ClusterType="single-node",
            MasterUsername="admin",
            MasterUserPassword="Secret-secret1",
            DBName="shop",
            Tags=tags.to_aws({"team": "red"}),
        )
        return name

    def remove(self, name: str) -> None:
        self.redshift.delete_cluster(ClusterIdentifier=name, SkipFinalClusterSnapshot=True)

    def copies(self) -> dict[str, dict[str, str]]:
        pages = self.redshift.get_paginator("describe_cluster_snapshots")
        return {
            each["SnapshotIdentifier"]: tags.from_aws(each["Tags"])
            for page in pages.paginate(SnapshotType="manual")
            for each in page["Snapshots"]
        }

    def present(self) -> dict[str, dict[str, str]]:
        pages = self.redshift.get_paginator("describe_clusters")
        return {
            each["ClusterIdentifier"]: tags.from_aws(each["Tags"])
            for page in pages.paginate()
            for each in page["Clusters"]
        }

    def check(self, name: str) -> None:
        (found,) = self.redshift.describe_clusters(ClusterIdentifier=name)["Clusters"]
        assert (found["ClusterStatus"], found["DBName"]) == ("available", "shop")


class Tables(Things):
    """DynamoDB's tables."""

    kind = "dynamodb_table"
    calls = (
        *("dynamodb:CreateBackup", "dynamodb:DeleteBackup", "dynamodb:RestoreTableFromBackup"),
        *("dynamodb:TagResource", "dynamodb:UpdateTable"),
    )
    vital = ("dynamodb:TagResource", "tag")
    _STREAM: ClassVar[Any] = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}

    @property
    def dynamodb(self) -> Any:
        """DynamoDB of the account."""
        return self.world.client("dynamodb")

    def plant(self) -> str:
        name = f"orders-{next(_numbers)}"
        self.dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification=self._STREAM,
            Tags=tags.to_aws({"team": "red"}),
        )
        return name

    def remove(self, name: str) -> None:
        self.dynamodb.delete_table(TableName=name)

    def copies(self) -> dict[str, dict[str, str]]:
        pages = self.dynamodb.get_paginator("list_backups")
        return {
            each["BackupArn"]: _dynamodb_backups.marks_in(each["BackupName"])
            for page in pages.paginate()
            for each in page["BackupSummaries"]
        }

    def present(self) -> dict[str, dict[str, str]]:
        pages = self.dynamodb.get_paginator("list_tables")
        return {name: self._tags(name) for page in pages.paginate() for name in page["TableNames"]}

    def check(self, name: str) -> None:
        table = self.dynamodb.describe_table(TableName=name)["Table"]
        assert (table["TableStatus"], table["StreamSpecification"]) == ("ACTIVE", self._STREAM)

    def _tags(self, name: str) -> dict[str, str]:
        arn = self.dynamodb.describe_table(TableName=name)["Table"]["TableArn"]
        return tags.from_aws(self.dynamodb.list_tags_of_resource(ResourceArn=arn)["Tags"])


class OneBackup(Story):
    """One is protected."""

    def __init__(self, things: Things) -> None:
        super().__init__(things.world)
        self.things = things
        self.policy = self.world.policy(things.target(things.plant()))

    def ask(self) -> None:
        if not self.policy.backups.exists():
            tick.run_now(self.policy)

    def check(self) -> None:
        backup = self.policy.backups.get()
        ((ref, marks),) = self.things.copies_of(backup).items()
        assert refs_of(backup) == {ref}
        assert marks[tags.TOKEN] == str(backup.operations.get().token)
        assert backup.snapshots.get().status == SnapshotStatus.SUCCEEDED
        assert backup.outcome == BackupOutcome.SUCCEEDED


class OneDeletion(Story):
    """A backup is thrown away, and another is kept."""

    def __init__(self, things: Things, kept: Backup) -> None:
        super().__init__(things.world)
        self.things, self.kept = things, kept
        self.backup = things.backup()

    def ask(self) -> None:
        deletions.request(deletions.of_backup(self.backup))

    def check(self) -> None:
        self.backup.refresh_from_db()
        assert self.things.copies_of(self.backup) == {}
        assert self.things.copies_of(self.kept).keys() == refs_of(self.kept)
        assert self.backup.snapshots.get().status == SnapshotStatus.DELETED
        assert self.backup.outcome == BackupOutcome.DELETED


class OneRecovery(RecoveryStory):
    """One is brought back beside its original."""

    def __init__(self, things: Things, backup: Backup) -> None:
        super().__init__(things.world, backup)
        self.things = things
        self.before = things.present().keys()

    def recover(self) -> None:
        snapshot = self.backup.snapshots.get()
        driver, collection = registry.by_snapshot_collection(snapshot.collection)
        services.from_snapshot(
            self.backup.pk, driver, collection, snapshot.pk, {}, actor=self.actor
        )

    def check(self) -> None:
        present = self.things.present()
        (name,) = present.keys() - self.before
        tokens = map(str, self.recovery.operations.values_list("token", flat=True))
        assert present[name][tags.TOKEN] in tokens
        assert present[name]["team"] == "red"
        assert self.recovery.result_resource_ids == [name]
        assert self.recovery.outcome == RecoveryOutcome.SUCCEEDED
        self.things.check(name)
        self.things.remove(name)


class OneUndone(OneRecovery):
    """A recovery to be taken back: AWS did not allow what it cannot do without."""

    def __init__(self, things: Things, backup: Backup) -> None:
        super().__init__(things, backup)
        assert things.vital is not None
        call, step = things.vital
        self.world.simulator.faults([{"op": call, "kind": "denied"}])
        self.ask()
        denied = self.recovery.operations.filter(step=step, outcome="")
        while denied.exists() and self.world.next_look():
            self.world.work()
        self.world.simulator.faults([])

    def check(self) -> None:
        assert self.things.present().keys() == self.before
        assert self.recovery.result_resource_ids == []
        assert self.recovery.outcome == RecoveryOutcome.FAILED
