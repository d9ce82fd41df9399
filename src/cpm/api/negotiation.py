"""What a client accepts: the version of the API and the form of the answer, from one header."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cpm.api.refusals import NotAcceptable
from cpm.api.versions import KNOWN, LATEST, Version

JSON = "application/json"
CSV = "text/csv"
# For operations whose answer has one form whatever is asked for.
ANYTHING = "*/*"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The answer that was agreed on."""

    version: Version
    media_type: str


@dataclass(frozen=True, slots=True)
class _Range:
    """One entry of the header. `version` is None where it is none of ours."""

    media_type: str
    version: Version | None
    quality: float
    has_version: bool

    def covers(self, media_type: str) -> bool:
        if media_type == ANYTHING or self.media_type == "*/*":
            return True
        main, _, sub = self.media_type.partition("/")
        return self.media_type == media_type or (sub == "*" and media_type.startswith(f"{main}/"))

    @property
    def precision(self) -> int:
        """How exactly it says what is wanted: more exact entries overrule others."""
        stars = self.media_type.count("*")
        return 2 * (2 - stars) + self.has_version


def choose(header: str | None, produces: Sequence[str]) -> Wanted:
    """The form and version that suit the client best; raises `NotAcceptable`.

    `produces` is what the operation can answer, the usual form first.
    """
    ranges = list(_ranges(header or "")) or [_Range("*/*", LATEST, 1.0, has_version=False)]
    best: Wanted | None = None
    best_rank: tuple[float, int] = (0.0, 0)
    for one in ranges:
        rank = (one.quality, one.precision)
        media_type = next((media for media in produces if _suits(one, media, ranges)), None)
        if media_type is not None and one.version is not None and rank > best_rank:
            best, best_rank = Wanted(one.version, media_type), rank
    if best is None:
        raise NotAcceptable
    return best


def _suits(one: _Range, media_type: str, ranges: Sequence[_Range]) -> bool:
    """Whether `one` covers the type and nothing more exact refuses it."""
    return one.covers(media_type) and not any(
        other.quality == 0 and other.precision >= one.precision and other.covers(media_type)
        for other in ranges
    )


def _ranges(header: str) -> Iterator[_Range]:
    for entry in header.split(","):
        media_type, *parameters = (part.strip() for part in entry.split(";"))
        if media_type:
            yield _range(media_type.lower(), _parameters(parameters))


def _range(media_type: str, parameters: dict[str, str]) -> _Range:
    version = parameters.get("version")
    return _Range(
        media_type="*/*" if media_type == "*" else media_type,
        version=LATEST if version is None else KNOWN.get(version),
        quality=_quality(parameters.get("q", "")),
        has_version=version is not None,
    )


def _parameters(parts: Sequence[str]) -> dict[str, str]:
    """The well-formed parameters; clients send others, such as `version: 1.1`, and mean nothing."""
    found = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if equals:
            found[name.strip().lower()] = value.strip().strip('"')
    return found


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 1.0
