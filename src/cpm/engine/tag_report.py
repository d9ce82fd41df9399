"""What one scan of tags has to tell: the lines of its log, counted, and stored with its changes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from cpm.engine import events, trail
from cpm.kernel.tagspec import Problem, Reason
from cpm.models.accounts import Account
from cpm.models.events import Event, Stream
from cpm.models.policies import Policy, Target
from cpm.resources import registry
from cpm.resources.contract import Driver

# How the log says what is wrong with a part of a tag.
_PROBLEMS = {
    Reason.EMPTY: "tag_empty",
    Reason.BESIDE_NO_BACKUP: "tag_beside_no_backup",
    Reason.NO_POLICY: "tag_no_policy",
    Reason.BAD_POLICY_NAME: "tag_bad_policy_name",
    Reason.BAD_TEMPLATE_NAME: "tag_bad_template_name",
    Reason.UNKNOWN_OPTION: "tag_unknown_option",
    Reason.SECOND_BACKUP_OPTION: "tag_second_backup_option",
    Reason.OPTION_NOT_FOR_THIS_RESOURCE: "tag_foreign_option",
}


@dataclass
class Report:
    """The lines of one scan, and how many there are of each sort."""

    account: Account
    region: str
    added: int = 0
    removed: int = 0
    changed: int = 0
    problems: int = 0
    _lines: list[Event] = field(default_factory=list)
    _audit: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def note(self, code: str, **values: Any) -> None:
        """A line about the place as a whole."""
        account = self.account
        place = {"account": account.name, "region": self.region, "owner": account.user_id}
        self._lines.append(events.event(code, stream=Stream.TAG_SCAN, **{**place, **values}))

    def problem(self, code: str, driver: Driver, resource_id: str, **values: Any) -> None:
        """A line about a resource whose tag cannot be followed, or not wholly."""
        self.problems += 1
        self.note(code, kind=driver.label, resource=resource_id, **values)

    def bad_parts(self, driver: Driver, resource_id: str, problems: Iterable[Problem]) -> None:
        """A line for each part of a tag that has no effect."""
        for each in problems:
            self.problem(_PROBLEMS[each.reason], driver, resource_id, text=each.text)

    def change(self, code: str, event_type: str, target: Target, **values: Any) -> None:
        """A line, and one for the owner's audit trail, about what was done to a target."""
        driver = registry.driver(target.kind)
        about = {"kind": driver.label, "resource": target.resource_id}
        self.note(code, policy=target.policy.name, **about, **values)
        what = f"{driver.label} {target.resource_id} in {self.region}, by its tag"
        self.audit(event_type, target.policy, what)

    def audit(self, event_type: str, policy: Policy, what: str) -> None:
        """An entry in the owner's audit trail about a policy of his."""
        self._audit.setdefault(event_type, []).append((policy.name, what))

    def finish(self) -> None:
        """Store it all, with the sums as the last line."""
        self.note(
            "scan_finished",
            added=self.added,
            removed=self.removed,
            changed=self.changed,
            problems=self.problems,
        )
        events.log_all(self._lines)
        for event_type, changes in self._audit.items():
            trail.record(self.account.user, event_type, changes)
