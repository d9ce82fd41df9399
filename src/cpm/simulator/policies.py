"""IAM policy documents: whether a statement allows a principal an action under conditions.

Enough of IAM for what a backup product meets: trust policies with external ids, and identity
policies by action. A condition operator that is not known here matches nothing, so that a policy
is never read as laxer than AWS reads it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

Statement = Mapping[str, Any]
Context = Mapping[str, str]


class Verdict(Enum):
    """What the statements of one or more policies say together."""

    ALLOWED = "allowed"
    DENIED = "denied"
    SILENT = "silent"


def statements(document: str | Mapping[str, Any]) -> Iterator[Statement]:
    """The statements of a policy document, given as JSON or as read."""
    policy = json.loads(document) if isinstance(document, str) else document
    yield from _each(policy.get("Statement", []))


def trust_verdict(
    document: str | Mapping[str, Any], principals: Iterable[str], action: str, context: Context
) -> Verdict:
    """What a trust policy says to a caller known by any of `principals` (ARNs, account number)."""
    names = set(principals)
    return _verdict(
        item
        for item in statements(document)
        if _names_action(item, action)
        and _names_principal(item, names)
        and _conditions_hold(item, context)
    )


def identity_verdict(
    policies: Iterable[Statement], action: str, resource: str | None, context: Context
) -> Verdict:
    """What a caller's own policies say; `resource` None when the request does not tell it.

    An unknown resource is allowed by any Allow of the action, and denied only by a Deny of all.
    """
    return _verdict(
        item
        for item in policies
        if _names_action(item, action)
        and _names_resource(item, resource)
        and _conditions_hold(item, context)
    )


def _verdict(matching: Iterable[Statement]) -> Verdict:
    effects = {item.get("Effect") for item in matching}
    if "Deny" in effects:
        return Verdict.DENIED
    return Verdict.ALLOWED if "Allow" in effects else Verdict.SILENT


def _names_action(item: Statement, action: str) -> bool:
    def named(key: str) -> bool:
        return any(fnmatchcase(action.lower(), str(p).lower()) for p in _each(item[key]))

    if "NotAction" in item:
        return not named("NotAction")
    return "Action" in item and named("Action")


def _names_principal(item: Statement, names: set[str]) -> bool:
    principal = item.get("Principal")
    if principal == "*":
        return True
    if not isinstance(principal, Mapping):
        return False
    listed = set(_each(principal.get("AWS", [])))
    return "*" in listed or bool(listed & names)


def _names_resource(item: Statement, resource: str | None) -> bool:
    patterns = [str(pattern) for pattern in _each(item.get("Resource", []))]
    if resource is None:
        return "*" in patterns or (item.get("Effect") == "Allow" and bool(patterns))
    return any(fnmatchcase(resource, pattern) for pattern in patterns)


def _conditions_hold(item: Statement, context: Context) -> bool:
    return all(
        _condition_holds(operator, key, [str(value) for value in _each(values)], context)
        for operator, keys in item.get("Condition", {}).items()
        for key, values in keys.items()
    )


def _condition_holds(operator: str, key: str, values: list[str], context: Context) -> bool:
    present = {name.lower(): value for name, value in context.items()}
    actual = present.get(key.lower())
    if operator == "Null":
        return (actual is None) == (values[0].lower() == "true")
    name = operator.removesuffix("IfExists")
    if actual is None:
        return name != operator or name in _NEGATED
    if name in _NEGATED:
        matches = _OPERATORS[_NEGATED[name]]
        return not any(matches(actual, value) for value in values)
    known = _OPERATORS.get(name)
    return known is not None and any(known(actual, value) for value in values)


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda actual, value: actual == value,
    "StringEqualsIgnoreCase": lambda actual, value: actual.lower() == value.lower(),
    "StringLike": fnmatchcase,
    "ArnEquals": fnmatchcase,
    "ArnLike": fnmatchcase,
    "Bool": lambda actual, value: actual.lower() == value.lower(),
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}


def _each(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
