"""The rows that a scan of tags is about: policies and targets of one account in one region."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from cpm.kernel.tagspec import Mention
from cpm.models.accounts import Account
from cpm.models.policies import Policy, Target

TargetKey = tuple[int, str, str]


@dataclass
class Known:
    """What is there: policies by name, targets by policy, kind and resource."""

    policies: dict[str, Policy]
    # Names of the owner's policies for other accounts.
    elsewhere: frozenset[str]
    targets: Mapping[TargetKey, Target]

    @classmethod
    def of(cls, account: Account, region: str, *, locked: bool = False) -> Self:
        """The rows as they are now; `locked` until the transaction ends, if they are to change."""
        policies = Policy.objects.filter(account=account).order_by("pk")
        if locked:
            # Whoever else changes several targets of a policy locks it first, too.
            policies = policies.select_for_update(no_key=True)
        by_id = {policy.pk: policy for policy in policies}
        targets = Target.objects.filter(policy__in=by_id, region=region).order_by("pk")
        if locked:
            targets = targets.select_for_update(of=("self",))
        by_key = {}
        for target in targets:
            target.policy = by_id[target.policy_id]
            by_key[key_of(target)] = target
        others = Policy.objects.filter(user=account.user_id).exclude(account=account)
        return cls(
            policies={policy.name: policy for policy in by_id.values()},
            elsewhere=frozenset(others.values_list("name", flat=True)),
            targets=by_key,
        )

    def is_settled(self, kind: str, resource_id: str, mention: Mention) -> bool:
        """Whether the policy has the resource just as the mention wants, as far as rows know."""
        policy = self.policies.get(mention.policy)
        target = self.targets.get((policy.pk, kind, resource_id)) if policy else None
        if target is None:
            return False
        # What somebody has added by hand is his. What a backup has missed may be gone.
        return not target.added_by_tag or (target.tag == str(mention) and not target.is_missing)


def key_of(target: Target) -> TargetKey:
    """What makes a target the only one of its policy."""
    return target.policy_id, target.kind, target.resource_id
