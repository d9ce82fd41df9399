"""Scans of tags and cleanups, as stories: see `tests.crash.stories`."""

from cpm.engine import cleanup, tagscan
from cpm.engine.settings import Cleanup
from cpm.models.audit import AuditEntry
from cpm.models.backups import BackupOutcome
from cpm.models.events import Event, Stream
from cpm.models.policies import Policy, Target
from cpm.models.tagscan import TagScan
from tests.crash.stories import Story
from tests.engine.tagging import Tagging, left_out
from tests.engine.world import World, volume_target


class ScanStory(Story):
    """Two instances join a policy that their tags make, one volume is left out, one target goes."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.tagging = Tagging(world)
        self.name = f"made-{Policy.objects.count()}"
        self.template = world.policy()
        gone = self.tagging.volume(self.template.name)
        self.tagging.scan()
        self.tagging.untag(gone)
        self.instances = [
            self.tagging.instance(f"{self.name}:{self.template.name}#only-snaps", volumes=2)
            for _ in range(2)
        ]
        _, self.excluded = self.tagging.volumes_of(self.instances[0])
        self.tagging.tag([self.excluded], "#exclude")
        self.before = Event.objects.latest("pk").pk
        self.before_audit = AuditEntry.objects.latest("pk").pk

    def ask(self) -> None:
        if not self._codes() and not TagScan.objects.exclude(due_at=None).exists():
            tagscan.start()

    def check(self) -> None:
        targets = Target.objects.filter(policy__name=self.name).order_by("resource_id")
        assert [each.resource_id for each in targets] == sorted(self.instances)
        first = targets.get(resource_id=self.instances[0])
        assert left_out(first) == [self.excluded]
        assert not self.template.targets.exists()
        codes = sorted(code for code in self._codes() if code != "scan_started")
        changes = ["tag_added", "tag_added", "tag_left_out", "tag_policy_made", "tag_removed"]
        assert codes == sorted(["scan_finished", *changes])
        entries = AuditEntry.objects.filter(pk__gt=self.before_audit)
        assert entries.count() == len(changes)
        assert not TagScan.objects.exclude(due_at=None).exists()

    def _codes(self) -> list[str]:
        lines = Event.objects.filter(stream=Stream.TAG_SCAN, pk__gt=self.before)
        return list(lines.values_list("code", flat=True))


class CleanupStory(Story):
    """A policy keeps fewer generations than before, and the next cleanup is told to see to it."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        # A cleanup passes points for each policy: those of earlier stories would never end.
        Policy.objects.all().delete()
        policy = world.policy(volume_target(world.volume()))
        self.old, self.new = world.backup(policy), world.backup(policy)
        Policy.objects.filter(pk=policy.pk).update(generations=1)

    def ask(self) -> None:
        if not self._told() and not Cleanup.current().is_wanted:
            cleanup.ask()

    def check(self) -> None:
        self.old.refresh_from_db()
        assert self.old.outcome == BackupOutcome.DELETED
        assert self.world.snapshots_in_aws(cpm_backup_id=str(self.old.pk)) == []
        assert len(self.world.snapshots_in_aws(cpm_backup_id=str(self.new.pk))) == 1
        assert self._told() == ["record_expired", "record_emptied"]
        assert not Cleanup.current().is_wanted

    def _told(self) -> list[str]:
        told = Event.objects.filter(stream=Stream.CLEANUP, values__record=self.old.pk)
        told = told.exclude(code="kept_generation").order_by("pk")
        return list(told.values_list("code", flat=True))
