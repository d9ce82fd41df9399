"""Lets targets follow tags: adds them, takes them out, and gives them their options.

All of it is one transaction under the locks of the owner and of the account's policies. What
somebody has added by hand stays as it is, unless a tag says `no-backup`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from django.db import IntegrityError, transaction

from cpm.engine import bulk, templates
from cpm.engine.queue import Overtaken
from cpm.engine.tag_report import Report
from cpm.engine.tag_rows import Known, TargetKey, key_of
from cpm.engine.tag_wishes import Wish, Wishes
from cpm.engine.usage import Room
from cpm.kernel.tagspec import Mention
from cpm.models.policies import Policy, Target
from cpm.resources.contract import Json

_ROWS_PER_INSERT = 500


@dataclass(frozen=True)
class Wanted:
    """A resource that a tag wants in a policy."""

    policy: Policy
    wish: Wish
    mention: Mention

    @property
    def key(self) -> TargetKey:
        """That of its target."""
        return self.policy.pk, *self.wish.key


@dataclass
class Following:
    """One scan that lets the targets of its place follow the tags."""

    known: Known
    wishes: Wishes
    report: Report
    targets: dict[TargetKey, Target] = field(default_factory=dict)

    def follow(self) -> Mapping[TargetKey, Target]:
        """Change the rows; what targets there are then. Raises Overtaken.

        The caller holds the locks.
        """
        self.targets = dict(self.known.targets)
        wanted = {each.key: each for each in self._wanted()}
        self._remove(wanted)
        self._change(wanted)
        self._add(wanted)
        return self.targets

    def _wanted(self) -> Iterator[Wanted]:
        for wish in self.wishes.by_key.values():
            for mention in wish.protection.policies:
                if self._is_possible(wish, mention):
                    policy = self._policy(wish, mention)
                    if policy is not None:
                        yield Wanted(policy, wish, mention)

    def _is_possible(self, wish: Wish, mention: Mention) -> bool:
        """Whether the resource can be in the policy: whoever was refused has been told."""
        if self.known.is_settled(*wish.key, mention):
            return True
        if wish.resource is None:
            raise Overtaken(f"{wish.resource_id} was not news when AWS was asked")
        return mention.policy in wish.chosen

    def _policy(self, wish: Wish, mention: Mention) -> Policy | None:
        """The policy that a mention means, made if that is what it says."""
        if mention.policy in self.known.policies:
            return self.known.policies[mention.policy]
        code, name = self._objection(mention)
        if code:
            self.report.problem(code, wish.driver, wish.resource_id, policy=name)
            return None
        template = self.known.policies[name]
        try:
            with transaction.atomic():
                policy = templates.copy(template, mention.policy)
        except IntegrityError:
            raise Overtaken(f"somebody else has made {mention.policy}") from None
        self.known.policies[policy.name] = policy
        about = {"kind": wish.driver.label, "resource": wish.resource_id}
        made = {"policy": policy.name, "template": template.name}
        self.report.note("tag_policy_made", **about, **made)
        self.report.audit("create policy", policy, f"as a copy of {template.name}, by a tag")
        return policy

    def _objection(self, mention: Mention) -> tuple[str, str]:
        """What is wrong with a mention of a policy that is not there, else its template."""
        if mention.policy in self.known.elsewhere:
            return "tag_other_account", mention.policy
        if mention.template is None:
            return "tag_unknown_policy", mention.policy
        if mention.template in self.known.policies:
            return "", mention.template
        is_elsewhere = mention.template in self.known.elsewhere
        return "tag_other_template" if is_elsewhere else "tag_unknown_template", mention.template

    def _remove(self, wanted: Mapping[TargetKey, Wanted]) -> None:
        unwanted = {key for key, wish in self.wishes.by_key.items() if wish.protection.no_backup}
        going = []
        for key, target in self.known.targets.items():
            if key[1:] in unwanted:
                going.append(target)
                self.report.change("tag_no_backup", "delete target", target)
            elif target.added_by_tag and key not in wanted and self.wishes.is_whole:
                going.append(target)
                self.report.change("tag_removed", "delete target", target)
        Target.objects.filter(pk__in=[target.pk for target in going]).delete()
        for target in going:
            del self.targets[key_of(target)]
        self.report.removed += len(going)

    def _change(self, wanted: Mapping[TargetKey, Wanted]) -> None:
        seen = []
        for key, each in wanted.items():
            target = self.targets.get(key)
            chosen = each.wish.chosen.get(each.mention.policy)
            if target is None or chosen is None or not target.added_by_tag:
                continue
            options = _followed(each.wish, target.options, chosen.options)
            if options != target.options:
                target.options = options
                self.report.changed += 1
                self.report.change("tag_changed", "update target", target, tag=str(chosen.mention))
            target.tag, target.is_missing = str(chosen.mention), False
            seen.append(target)
        bulk.update(seen, ["options", "tag", "is_missing"])

    def _add(self, wanted: Mapping[TargetKey, Wanted]) -> None:
        room = Room(self.report.account.user)
        added = []
        for key, each in wanted.items():
            if key in self.targets:
                continue
            target = _target(each, self.report.region)
            refusal = room.take(target, each.wish.driver)
            if refusal is not None:
                self.report.problem(
                    "tag_over_limit",
                    each.wish.driver,
                    each.wish.resource_id,
                    policy=each.policy.name,
                    error=refusal,
                )
                continue
            added.append(target)
            self.report.change("tag_added", "create target", target, tag=target.tag)
        Target.objects.bulk_create(added, batch_size=_ROWS_PER_INSERT)
        self.targets |= {key_of(target): target for target in added}
        self.report.added += len(added)


def _target(wanted: Wanted, region: str) -> Target:
    resource, chosen = wanted.wish.resource, wanted.wish.chosen.get(wanted.mention.policy)
    if resource is None or chosen is None:
        raise Overtaken(f"{wanted.wish.resource_id} was not news when AWS was asked")
    return Target(
        policy=wanted.policy,
        kind=resource.kind,
        resource_id=resource.resource_id,
        region=region,
        name=resource.name,
        size_gib=resource.size_gib,
        added_by_tag=True,
        tag=str(chosen.mention),
        options=chosen.options,
    )


def _followed(wish: Wish, options: Json, chosen: Json) -> Json:
    """The options of a target with those that tags speak of as the tag now wants them."""
    spoken_of = {name for each in wish.rules.options.values() for name in each}
    kept = {name: value for name, value in options.items() if name not in spoken_of}
    return {**kept, **{name: value for name, value in chosen.items() if name in spoken_of}}
