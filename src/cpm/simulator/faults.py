"""Faults on demand: throttles, errors, cuts, lost answers, delays, rates, late listings."""

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from cpm.simulator import ebs_errors, models
from cpm.simulator.buckets import Buckets
from cpm.simulator.credentials import Identity
from cpm.simulator.errors import AwsError, Family, family_of
from cpm.simulator.operations import Operation
from cpm.simulator.permissions import denied

_LISTED_AFTER_SECONDS = 5.0
_HANG_SECONDS = 3600.0


class BadRule(ValueError):
    """A rule that cannot be; the text says why."""


class Kind(StrEnum):
    """What happens to a call that a rule meets."""

    THROTTLE = "throttle"
    INTERNAL_ERROR = "500"
    UNAVAILABLE = "503"
    DENIED = "denied"
    DROP = "drop"
    LOST = "lost"
    DELAY = "delay"
    HANG = "hang"
    RATE = "rate"
    UNLISTED = "unlisted"


@dataclass
class Rule:
    """One rule; the optional parts narrow whom it meets, after how many, how often and how."""

    op: str
    kind: Kind
    after: int = 0
    times: int | None = None
    p: float = 1.0
    seconds: float | None = None
    rate: float | None = None
    burst: float | None = None
    code: str | None = None
    account: str | None = None
    region: str | None = None
    _buckets: Buckets = field(default_factory=Buckets)

    def meets(self, operation: Operation, account: str) -> bool:
        """Whether the rule is about this call, and its turn has come; counts the call."""
        if not self._is_about(operation, account):
            return False
        if self.after:
            self.after -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def _is_about(self, operation: Operation, account: str) -> bool:
        return (
            self.op in ("*", f"{operation.service}:*", str(operation))
            and self.account in (None, account)
            and self.region in (None, operation.region)
            and (self.times is None or self.times > 0)
            and (self.p >= 1.0 or random.random() < self.p)  # noqa: S311 - chance, not secrecy
            and not (self.kind is Kind.RATE and self._has_token(account, operation.region))
        )

    def _has_token(self, account: str, region: str) -> bool:
        rate = self.rate or 0.0
        burst = self.burst if self.burst is not None else max(rate, 1.0)
        return self._buckets.take((account, region), rate, burst)


@dataclass
class Plan:
    """What shall happen to one call."""

    delay_seconds: float = 0.0
    hang_seconds: float | None = None
    drop: bool = False
    lose_answer: bool = False
    error: AwsError | None = None
    unlisted_seconds: float = 0.0


class Faults:
    """The rules in force; safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []

    def replace(self, rules: list[Rule]) -> None:
        """Put these rules in the place of all earlier ones."""
        with self._lock:
            self._rules = rules

    def public(self) -> list[dict[str, Any]]:
        """The rules as JSON shows them, with what is left of `after` and `times`."""
        with self._lock:
            return [
                {name: value for name, value in vars(rule).items() if name[0] != "_"}
                for rule in self._rules
            ]

    def plan(self, operation: Operation, caller: Identity | None) -> Plan:
        """What the rules say to this call: all delays, and the first end that one gives it."""
        plan = Plan()
        account = caller.account if caller else "-"
        with self._lock:
            for rule in self._rules:
                if not _is_decided(plan) and rule.meets(operation, account):
                    _apply(rule, plan, operation, caller)
        return plan


def parse(value: Any) -> list[Rule]:
    """The rules in a JSON list; raises BadRule."""
    if not isinstance(value, list):
        raise BadRule("faults are a list of rules")
    return [_rule(item) for item in value]


def _rule(item: Any) -> Rule:
    if not isinstance(item, Mapping):
        raise BadRule("a rule is an object")
    known = {one.name for one in fields(Rule) if not one.name.startswith("_")}
    unknown = set(item) - known
    if unknown:
        raise BadRule(f"a rule has no {', '.join(sorted(unknown))}")
    try:
        rule = Rule(**{**item, "kind": Kind(item.get("kind", "")), "op": item.get("op", "")})
        rule.account = None if rule.account is None else str(rule.account)
    except ValueError:
        raise BadRule(f"there is no kind {item.get('kind')!r}") from None
    _check_operation(rule.op)
    _check_numbers(rule)
    return rule


def _check_operation(op: Any) -> None:
    if op == "*":
        return
    service, _, name = str(op).partition(":")
    model = models.service(service)
    if model is None or (name != "*" and name not in model.operation_names):
        raise BadRule(f"there is no operation {op!r}")


def _check_numbers(rule: Rule) -> None:
    for name in ("after", "times", "p", "seconds", "rate", "burst"):
        value = getattr(rule, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise BadRule(f"{name} is a number")
    if rule.kind is Kind.RATE and rule.rate is None:
        raise BadRule("the kind rate needs a rate")
    if rule.kind is Kind.DELAY and rule.seconds is None:
        raise BadRule("the kind delay needs seconds")


def _is_decided(plan: Plan) -> bool:
    return bool(plan.drop or plan.lose_answer or plan.error or plan.hang_seconds is not None)


def _apply(rule: Rule, plan: Plan, operation: Operation, caller: Identity | None) -> None:
    match rule.kind:
        case Kind.DELAY:
            plan.delay_seconds += rule.seconds or 0.0
        case Kind.UNLISTED:
            plan.unlisted_seconds = _or(rule.seconds, _LISTED_AFTER_SECONDS)
        case Kind.HANG:
            plan.hang_seconds = _or(rule.seconds, _HANG_SECONDS)
        case Kind.DROP:
            plan.drop = True
        case Kind.LOST:
            plan.lose_answer = True
        case Kind.DENIED:
            plan.error = denied(caller, operation, rule.code)
        case Kind.THROTTLE | Kind.RATE:
            plan.error = _throttled(operation.service, rule.code)
        case Kind.INTERNAL_ERROR:
            plan.error = _internal(operation.service, rule.code)
        case Kind.UNAVAILABLE:
            text = "The service is unavailable. Please try again shortly."
            plan.error = AwsError(rule.code or "Unavailable", text, 503)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _internal(service: str, code: str | None) -> AwsError:
    if service == "ebs":
        return ebs_errors.internal(code)
    return AwsError(code or "InternalError", "An internal error has occurred", 500)


def _throttled(service: str, code: str | None) -> AwsError:
    if service == "ebs":
        return ebs_errors.throttled(code=code)
    match family_of(service):
        case Family.EC2:
            return AwsError(code or "RequestLimitExceeded", "Request limit exceeded.", 503)
        case Family.S3:
            return AwsError(code or "SlowDown", "Please reduce your request rate.", 503)
        case Family.QUERY:
            return AwsError(code or "Throttling", "Rate exceeded")
        case Family.JSON:
            return AwsError(code or "ThrottlingException", "Rate exceeded")
