"""The grammar of protection tags: what customers write on a resource to have it backed up.

    value := "no-backup" | item { space item }
    item  := policy [":" template] { "#" option } | "#exclude"

Reading never fails. What cannot be understood becomes a problem, and the rest of the value holds:
a resource with a misspelt option is protected all the same. Whether a policy exists, and which
options a kind of resource knows, is not decided by the grammar.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from cpm.kernel import names

# In the order in which they are read.
KEYS = ("cpm backup", "cpm_backup")

_NO_BACKUP = "no-backup"
_EXCLUDE_EVERYWHERE = "#exclude"


class Option(StrEnum):
    """What may follow a policy, by the words of the tag, in the order in which they are printed."""

    ONLY_SNAPS = "only-snaps"
    INITIAL_AMI = "initial-ami"
    ONLY_AMIS = "only-amis"
    ONLY_AMIS_NOREBOOT = "only-amis-noreboot"
    APP_AWARE = "app-aware"
    APP_AWARE_VSS = "app-aware-vss"
    EXCLUDE = "exclude"


BACKUP_OPTIONS = frozenset(
    {Option.ONLY_SNAPS, Option.INITIAL_AMI, Option.ONLY_AMIS, Option.ONLY_AMIS_NOREBOOT}
)
INSTANCE_OPTIONS = BACKUP_OPTIONS | {Option.APP_AWARE, Option.APP_AWARE_VSS}
VOLUME_OPTIONS = frozenset({Option.EXCLUDE})

_BY_WORD = {option.value: option for option in Option}


class Reason(StrEnum):
    """What is wrong with a part of a tag."""

    EMPTY = "empty"
    BESIDE_NO_BACKUP = "beside_no_backup"
    NO_POLICY = "no_policy"
    BAD_POLICY_NAME = "bad_policy_name"
    BAD_TEMPLATE_NAME = "bad_template_name"
    UNKNOWN_OPTION = "unknown_option"
    SECOND_BACKUP_OPTION = "second_backup_option"
    OPTION_NOT_FOR_THIS_RESOURCE = "option_not_for_this_resource"


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of a tag that has no effect, in the words of the tag, and why."""

    reason: Reason
    text: str


@dataclass(frozen=True, slots=True)
class Mention:
    """A policy that a tag names: the resource belongs to it, or is excluded from it.

    With a `template`, a policy that does not exist is made as a copy of that one.
    """

    policy: str
    template: str | None = None
    options: frozenset[Option] = frozenset()

    @property
    def backup_option(self) -> Option | None:
        """How to back an instance up, if the tag says; `parse` lets at most one through."""
        return next((option for option in Option if option in self.options & BACKUP_OPTIONS), None)

    @property
    def is_app_aware(self) -> bool:
        """Whether agent and scripts take part."""
        return Option.APP_AWARE in self.options or self.is_app_aware_vss

    @property
    def is_app_aware_vss(self) -> bool:
        """Whether VSS takes part as well."""
        return Option.APP_AWARE_VSS in self.options

    @property
    def excludes(self) -> bool:
        """Whether it says that a volume is left out of its instance's backups."""
        return Option.EXCLUDE in self.options

    def __str__(self) -> str:
        template = f":{self.template}" if self.template else ""
        options = "".join(f"#{option}" for option in Option if option in self.options)
        return f"{self.policy}{template}{options}"


@dataclass(frozen=True, slots=True)
class Protection:
    """What the tags of one resource ask for, and what in them has no effect.

    Each policy is mentioned once. Where `no_backup` is set, nothing is mentioned.
    """

    mentions: tuple[Mention, ...] = ()
    is_excluded_everywhere: bool = False
    no_backup: bool = False
    problems: tuple[Problem, ...] = ()

    @property
    def policies(self) -> tuple[Mention, ...]:
        """The policies that the resource is to be a target of."""
        return tuple(mention for mention in self.mentions if not mention.excludes)

    @property
    def exclusions(self) -> frozenset[str]:
        """The policies that are to leave the volume out of its instance's backups."""
        return frozenset(mention.policy for mention in self.mentions if mention.excludes)

    def joined(self, other: Self) -> Self:
        """Both, as if one resource carried the tags; of two mentions of a policy the first wins."""
        known = {mention.policy for mention in self.mentions}
        added = tuple(each for each in other.mentions if each.policy not in known)
        no_backup = self.no_backup or other.no_backup
        return replace(
            self,
            mentions=() if no_backup else (*self.mentions, *added),
            is_excluded_everywhere=(self.is_excluded_everywhere or other.is_excluded_everywhere)
            and not no_backup,
            no_backup=no_backup,
            problems=(*self.problems, *other.problems),
        )

    def limited_to(self, options: Collection[Option]) -> Self:
        """The same for a kind of resource that knows these options only.

        The others become problems; the policies that they were said of stay.
        """
        excludes = Option.EXCLUDE in options
        return replace(
            self,
            mentions=tuple(
                replace(mention, options=mention.options.intersection(options))
                for mention in self.mentions
            ),
            is_excluded_everywhere=self.is_excluded_everywhere and excludes,
            problems=(*self.problems, *self._problems_beyond(options)),
        )

    def _problems_beyond(self, options: Collection[Option]) -> Iterator[Problem]:
        reason = Reason.OPTION_NOT_FOR_THIS_RESOURCE
        for mention in self.mentions:
            for option in Option:
                if option in mention.options and option not in options:
                    yield Problem(reason, f"{mention.policy}#{option}")
        if self.is_excluded_everywhere and Option.EXCLUDE not in options:
            yield Problem(reason, _EXCLUDE_EVERYWHERE)

    def to_tags(self) -> dict[str, str]:
        """The tags that ask for the same; none where nothing is asked for."""
        items = [_NO_BACKUP] if self.no_backup else [str(mention) for mention in self.mentions]
        if self.is_excluded_everywhere:
            items.append(_EXCLUDE_EVERYWHERE)
        return {KEYS[0]: " ".join(items)} if items else {}


def parse(tags: Mapping[str, str]) -> Protection:
    """What the tags of a resource ask for; keys other than `KEYS` have no say.

    Of several mentions of a policy the first wins. `no-backup` beats all other words.
    """
    values = [tags[key] for key in KEYS if key in tags]
    problems = [Problem(Reason.EMPTY, value) for value in values if not value.split()]
    items = [item for value in values for item in value.split()]
    if _NO_BACKUP in items:
        beside = (item for item in items if item != _NO_BACKUP)
        problems += [Problem(Reason.BESIDE_NO_BACKUP, item) for item in beside]
        return Protection(no_backup=True, problems=tuple(problems))
    mentions: dict[str, Mention] = {}
    for item in items:
        if item == _EXCLUDE_EVERYWHERE:
            continue
        mention, found = _parse_item(item)
        problems += found
        if mention:
            mentions.setdefault(mention.policy, mention)
    return Protection(
        mentions=tuple(mentions.values()),
        is_excluded_everywhere=_EXCLUDE_EVERYWHERE in items,
        problems=tuple(problems),
    )


def _parse_item(item: str) -> tuple[Mention | None, list[Problem]]:
    head, *words = item.split("#")
    policy, colon, template = head.partition(":")
    if not policy:
        return None, [Problem(Reason.NO_POLICY, item)]
    if policy == _NO_BACKUP or not names.is_name(policy):
        return None, [Problem(Reason.BAD_POLICY_NAME, item)]
    options, problems = _parse_options(policy, words)
    if not colon:
        return Mention(policy, None, options), problems
    if not names.is_name(template):
        return Mention(policy, None, options), [Problem(Reason.BAD_TEMPLATE_NAME, item), *problems]
    return Mention(policy, template, options), problems


def _parse_options(policy: str, words: Iterable[str]) -> tuple[frozenset[Option], list[Problem]]:
    options: set[Option] = set()
    problems = []
    for word in words:
        option = _BY_WORD.get(word)
        if option is None:
            problems.append(Problem(Reason.UNKNOWN_OPTION, f"{policy}#{word}"))
        elif option in BACKUP_OPTIONS and options & (BACKUP_OPTIONS - {option}):
            problems.append(Problem(Reason.SECOND_BACKUP_OPTION, f"{policy}#{word}"))
        else:
            options.add(option)
    return frozenset(options), problems
