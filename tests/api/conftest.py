"""The fixed cast of the API's tests."""

import math
from typing import Any

import django
import pytest

django.setup()  # models can be imported from here on

from cpm.api import counts, positions  # noqa: E402
from cpm.models.users import UserKind  # noqa: E402
from cpm.services import tokens  # noqa: E402
from tests.api.cast import QUICK_HASHERS, Caller, caller, make_user  # noqa: E402


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    """Hash passwords quickly: nobody will ever attack those of a test."""
    settings.PASSWORD_HASHERS = QUICK_HASHERS


@pytest.fixture
def known_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered for seconds is remembered, however slow the machine is."""
    monkeypatch.setattr(tokens, "_KNOWN_SECONDS", math.inf)
    monkeypatch.setattr(counts, "_GOOD_FOR_SECONDS", math.inf)
    monkeypatch.setattr(positions, "GOOD_FOR_SECONDS", math.inf)


@pytest.fixture
def django_assert_num_queries(django_assert_num_queries: Any, known_for_good: None) -> Any:
    """Counts queries where nothing that is known already is asked again."""
    return django_assert_num_queries


@pytest.fixture
def root(db: None) -> Caller:
    return caller(make_user("root", UserKind.ROOT))


@pytest.fixture
def managed(db: None) -> Caller:
    return caller(make_user("mia", UserKind.MANAGED))


@pytest.fixture
def independent(db: None) -> Caller:
    return caller(make_user("ines", UserKind.INDEPENDENT))


@pytest.fixture
def stranger(db: None) -> Caller:
    """Another managed user, who has nothing to do with the objects of a test."""
    return caller(make_user("stan", UserKind.MANAGED))


@pytest.fixture
def delegate(managed: Caller) -> Caller:
    """A delegate of the managed user, with no switch on."""
    return caller(make_user("dora", UserKind.DELEGATE, original_user=managed.user))


@pytest.fixture
def backup_delegate(managed: Caller) -> Caller:
    """A delegate of the managed user who may change what belongs to backups."""
    columns = {"original_user": managed.user, "allow_backup_changes": True}
    return caller(make_user("bodo", UserKind.DELEGATE, **columns))


@pytest.fixture
def nobody(db: None) -> Caller:
    return Caller()
