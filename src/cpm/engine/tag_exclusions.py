"""Volumes that their own tags leave out of the backups of what they belong to.

They stand beside the volumes that somebody has named by hand, which stay as they are.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cpm.engine.tag_report import Report
from cpm.engine.tag_rows import Known, TargetKey
from cpm.engine.tag_wishes import Exclusion, Wishes
from cpm.models.policies import Policy, Target, TargetVolume
from cpm.resources import registry
from cpm.resources.contract import Resource

_ROWS_PER_INSERT = 500

Volumes = Mapping[str, Resource]


@dataclass(frozen=True)
class Excluding:
    """One scan that leaves out what tags exclude; `targets` are those that there are by now."""

    known: Known
    wishes: Wishes
    report: Report
    targets: Mapping[TargetKey, Target]

    def exclude(self) -> None:
        """Change the rows. The caller holds the locks."""
        wanted = self._wanted()
        named: dict[int, list[TargetVolume]] = defaultdict(list)
        rows = TargetVolume.objects.filter(target__in=[each.pk for each in self.targets.values()])
        for row in rows.order_by("pk"):
            named[row.target_id].append(row)
        for target in self.targets.values():
            if target.pk in wanted or any(row.added_by_tag for row in named[target.pk]):
                self._follow(target, wanted.get(target.pk, {}), named[target.pk])

    def _wanted(self) -> dict[int, dict[str, Resource]]:
        """The volumes that are to be left out, by target."""
        wanted: dict[int, dict[str, Resource]] = defaultdict(dict)
        for exclusion in self.wishes.exclusions:
            whole, volume = exclusion.whole, exclusion.volume
            for policy in self._policies(exclusion):
                target = self.targets.get((policy.pk, whole.kind, whole.resource_id))
                if target is not None and volume.resource is not None:
                    wanted[target.pk][volume.resource_id] = volume.resource
        return wanted

    def _policies(self, exclusion: Exclusion) -> Iterator[Policy]:
        wish = exclusion.volume
        if wish.protection.is_excluded_everywhere:
            yield from self.known.policies.values()
            return
        for name in sorted(wish.protection.exclusions):
            if name in self.known.policies:
                yield self.known.policies[name]
            else:
                is_elsewhere = name in self.known.elsewhere
                code = "tag_other_account" if is_elsewhere else "tag_unknown_policy"
                self.report.problem(code, wish.driver, wish.resource_id, policy=name)

    def _follow(self, target: Target, wanted: Volumes, rows: list[TargetVolume]) -> None:
        by_hand = {row.volume_id for row in rows if not row.added_by_tag}
        by_tag = {row.volume_id: row for row in rows if row.added_by_tag}
        staying = {} if self.wishes.is_whole else by_tag
        left_out = sorted({*staying, *wanted} - by_hand)
        rules = registry.driver(target.kind).tag_rules
        leave_out = rules.leave_out if rules else None
        options = leave_out(target.options, bool(left_out or by_hand)) if leave_out else None
        if options is None:
            self._tell_overruled(target, wanted)
            left_out = []
        self._store(target, wanted, by_tag, left_out)
        is_changed = options is not None and options != target.options
        if is_changed:
            Target.objects.filter(pk=target.pk).update(options=options)
        if is_changed or set(left_out) != set(by_tag):
            self._tell(target, left_out)

    def _store(
        self,
        target: Target,
        wanted: Volumes,
        by_tag: Mapping[str, TargetVolume],
        left_out: list[str],
    ) -> None:
        gone = [row.pk for volume_id, row in by_tag.items() if volume_id not in left_out]
        TargetVolume.objects.filter(pk__in=gone).delete()
        new = (wanted[volume_id] for volume_id in left_out if volume_id not in by_tag)
        TargetVolume.objects.bulk_create(
            (_row(target, volume) for volume in new), batch_size=_ROWS_PER_INSERT
        )

    def _tell(self, target: Target, left_out: list[str]) -> None:
        self.report.changed += 1
        self.report.change(
            "tag_left_out", "update target", target, volumes=", ".join(left_out) or "none"
        )

    def _tell_overruled(self, target: Target, wanted: Volumes) -> None:
        for volume in wanted.values():
            self.report.problem(
                "tag_exclusion_overruled",
                registry.driver(volume.kind),
                volume.resource_id,
                whole=target.resource_id,
                policy=target.policy.name,
            )


def _row(target: Target, volume: Resource) -> TargetVolume:
    return TargetVolume(
        target=target,
        volume_id=volume.resource_id,
        device=volume.facts.get("device"),
        size_gib=volume.size_gib,
        added_by_tag=True,
    )
