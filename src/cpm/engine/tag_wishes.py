"""What tags ask for, as AWS has them: found, read, and described where that is news.

Nothing is decided here that needs the lock of a row: rows are only looked at to know what AWS need
not be asked again.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from cpm.aws.sessions import Aws
from cpm.engine.tag_report import Report
from cpm.engine.tag_rows import Known
from cpm.kernel.faults import Fault, FaultKind
from cpm.kernel.tagspec import KEYS, Mention, Option, Protection, parse
from cpm.resources import registry, tagged
from cpm.resources.contract import Driver, Json, OptionRefused, Resource, TagRules, Whole
from cpm.resources.options import make
from cpm.resources.tagged import Tagged

Key = tuple[str, str]


@dataclass(frozen=True)
class Chosen:
    """What a mention of a policy comes to: what of it holds, and the options of the target."""

    mention: Mention
    options: Json


@dataclass
class Wish:
    """What the tags of one resource ask for; `resource` where it had to be described."""

    driver: Driver
    rules: TagRules
    resource_id: str
    protection: Protection
    resource: Resource | None = None
    # By policy, where the options had to be looked at.
    chosen: dict[str, Chosen] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """The kind and the id of the resource."""
        return self.driver.kind, self.resource_id


@dataclass(frozen=True)
class Exclusion:
    """A volume that is to be left out of the backups of what it belongs to."""

    volume: Wish
    whole: Whole


@dataclass
class Wishes:
    """All of one account and region; not `is_whole` where some types could not be read."""

    by_key: dict[Key, Wish]
    exclusions: list[Exclusion] = field(default_factory=list)
    is_whole: bool = True


def read(aws: Aws, known: Known, report: Report) -> Wishes:
    """Ask AWS for what is tagged, and for what is not known of it yet; raises Fault."""
    found, is_whole = _tagged(aws, report)
    wishes = Wishes({wish.key: wish for wish in sorted(map(_wish, found), key=_in_order)})
    wishes.is_whole = is_whole
    _describe(aws, wishes, known)
    _exclude(wishes)
    _let_wholes_stand_for_parts(wishes, report)
    _describe(aws, wishes, known)
    for wish in wishes.by_key.values():
        report.bad_parts(wish.driver, wish.resource_id, wish.protection.problems)
        _choose_options(aws, wish, known, report)
    return wishes


def _tagged(aws: Aws, report: Report) -> tuple[list[Tagged], bool]:
    """What carries one of the keys, and whether nothing can be missing."""
    try:
        return tagged.find(aws, KEYS), True
    except Fault as fault:
        if fault.kind is not FaultKind.DENIED:
            raise
        return _type_by_type(aws, report)


def _type_by_type(aws: Aws, report: Report) -> tuple[list[Tagged], bool]:
    """The same without the tagging API, as far as the account lets us; raises Fault."""
    found: list[Tagged] = []
    denied: dict[str, Fault] = {}
    types = tagged.drivers()
    for driver, _ in types:
        try:
            found += tagged.list_all(aws, driver, KEYS)
        except Fault as fault:
            if fault.kind is not FaultKind.DENIED:
                raise
            denied[driver.label_plural] = fault
    if len(denied) == len(types):
        raise next(iter(denied.values()))
    if denied:
        first = next(iter(denied.values()))
        report.note("scan_incomplete", kinds=", ".join(denied), error=str(first))
    return found, not denied


def _wish(found: Tagged) -> Wish:
    rules = found.driver.tag_rules or TagRules("", "")
    protection = parse(found.tags).limited_to(rules.options)
    return Wish(found.driver, rules, found.resource_id, protection, found.resource)


def _in_order(wish: Wish) -> Key:
    return wish.key


def _describe(aws: Aws, wishes: Wishes, known: Known) -> None:
    """Have AWS describe what is news, and forget what it does not know (any more)."""
    ids: dict[str, list[str]] = defaultdict(list)
    for wish in wishes.by_key.values():
        if wish.resource is None and _is_news(wish, known):
            ids[wish.driver.kind].append(wish.resource_id)
    for kind, wanted in ids.items():
        described = registry.driver(kind).describe(aws, wanted)
        resources = {resource.resource_id: resource for resource in described}
        for resource_id in wanted:
            if resource_id in resources:
                wishes.by_key[kind, resource_id].resource = resources[resource_id]
            else:
                del wishes.by_key[kind, resource_id]


def _is_news(wish: Wish, known: Known) -> bool:
    """Whether rows do not tell already all that the tag can mean."""
    protection = wish.protection
    if wish.rules.excluded_from and (protection.exclusions or protection.is_excluded_everywhere):
        return True
    unsettled = [each for each in protection.policies if not known.is_settled(*wish.key, each)]
    asks_for_something = protection.policies or protection.no_backup
    return bool(unsettled or (wish.rules.stands_for and asks_for_something))


def _exclude(wishes: Wishes) -> None:
    for wish in wishes.by_key.values():
        protection = wish.protection
        asks = protection.exclusions or protection.is_excluded_everywhere
        if wish.resource is not None and wish.rules.excluded_from and asks:
            whole = wish.rules.excluded_from(wish.resource)
            if whole is not None:
                wishes.exclusions.append(Exclusion(wish, whole))


def _let_wholes_stand_for_parts(wishes: Wishes, report: Report) -> None:
    """Give the tags of what is a mere part of something to that."""
    for wish in list(wishes.by_key.values()):
        if wish.resource is None or wish.rules.stands_for is None:
            continue
        whole = wish.rules.stands_for(wish.resource)
        if whole is not None:
            del wishes.by_key[wish.key]
            report.bad_parts(wish.driver, wish.resource_id, wish.protection.problems)
            _pass_on(replace(wish.protection, problems=()), whole, wishes)


def _pass_on(protection: Protection, whole: Whole, wishes: Wishes) -> None:
    key = (whole.kind, whole.resource_id)
    if key not in wishes.by_key:
        driver = registry.driver(whole.kind)
        rules = driver.tag_rules or TagRules("", "")
        wishes.by_key[key] = Wish(driver, rules, whole.resource_id, Protection())
    wish = wishes.by_key[key]
    wish.protection = wish.protection.joined(protection).limited_to(wish.rules.options)


def _choose_options(aws: Aws, wish: Wish, known: Known, report: Report) -> None:
    """Find the options of each policy that the resource is new to, or new in."""
    if wish.resource is None:
        return
    for mention in wish.protection.policies:
        if not known.is_settled(*wish.key, mention):
            chosen = _chosen(aws, wish, wish.resource, mention, report)
            if chosen is not None:
                wish.chosen[mention.policy] = chosen


def _chosen(
    aws: Aws, wish: Wish, resource: Resource, mention: Mention, report: Report
) -> Chosen | None:
    """What the mention comes to, without what does not suit the resource; None if nothing does."""
    driver, rules = wish.driver, wish.rules
    said = [option for option in Option if option in mention.options]
    while True:
        try:
            options = _options(driver, rules, resource, said)
            if driver.check_target is not None:
                driver.check_target(aws, resource, make(driver.target_options, options))
        except OptionRefused as refusal:
            # What is refused may be what several options come to together.
            guilty = [option for option in said if refusal.field in rules.options[option]] or [
                *said
            ]
            about = {"policy": mention.policy, "error": refusal.message}
            if not guilty:
                report.problem("tag_refused", driver, wish.resource_id, **about)
                return None
            for option in guilty:
                said.remove(option)
                report.problem("tag_option_refused", driver, wish.resource_id, text=option, **about)
        else:
            return Chosen(replace(mention, options=frozenset(said)), options)


def _options(driver: Driver, rules: TagRules, resource: Resource, said: Iterable[Option]) -> Json:
    options = driver.target_defaults(resource) if driver.target_defaults else {}
    for option in said:
        options = {**options, **rules.options[option]}
    return options
