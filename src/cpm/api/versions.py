"""The versions of the API, and how clients spell them."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


class Version(StrEnum):
    """A version of the API; later ones compare greater."""

    V1_0 = "1.0.0"
    V1_1 = "1.1.0"
    V1_2 = "1.2.0"


LATEST = Version.V1_2

_SPELLINGS = {
    "1": Version.V1_0,
    **{version.value: version for version in Version},
    **{version.value.removesuffix(".0"): version for version in Version},
}


def further_spellings(entries: Iterable[str]) -> dict[str, Version]:
    """The version strings that a setting adds, each given as `1.7=1.2.0`."""
    found = {}
    for entry in entries:
        spelling, _, version = entry.partition("=")
        if not spelling.strip() or version.strip() not in _SPELLINGS:
            raise ImproperlyConfigured(f"CPM_API_VERSIONS: {entry!r} is not like 1.7=1.2.0")
        found[spelling.strip()] = _SPELLINGS[version.strip()]
    return found


KNOWN: Mapping[str, Version] = {
    **further_spellings(settings.ENVIRONMENT.api_versions),
    **_SPELLINGS,
}
