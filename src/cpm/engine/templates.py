"""Policies made from others: all but the name and what is protected."""

from typing import Any

from cpm.engine import tick
from cpm.kernel import clock
from cpm.models.policies import Policy, PolicySchedule

# What belongs to the template alone; successes are counted anew.
_NOT_COPIED = frozenset({"id", "name", "modified_at", "dr_successes", "s3_successes"})


def copy(template: Policy, name: str) -> Policy:
    """A new policy of the same owner and account, with the template's schedules and settings.

    Raises IntegrityError when the owner has a policy of that name.
    """
    columns = (field.attname for field in Policy._meta.concrete_fields)  # noqa: SLF001 - public
    copied: dict[str, Any] = {
        column: getattr(template, column) for column in columns if column not in _NOT_COPIED
    }
    policy = Policy(name=name, modified_at=clock.now(), **copied)
    policy.save(force_insert=True)
    schedules = template.links.order_by("schedule_id").values_list("schedule_id", flat=True)
    links = (PolicySchedule(policy=policy, schedule_id=each) for each in schedules)
    PolicySchedule.objects.bulk_create(links)
    tick.arm_policy(policy.pk)
    return policy
