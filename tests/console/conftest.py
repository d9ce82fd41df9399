"""Visitors of the console."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
import pytest

django.setup()  # models can be imported from here on

from cpm.kernel import clock  # noqa: E402
from cpm.models.users import User, UserKind  # noqa: E402
from cpm.services import groups  # noqa: E402
from tests.api.cast import Caller, caller, make_user  # noqa: E402
from tests.console.browser import Browser  # noqa: E402
from tests.console.organisation import Organisation  # noqa: E402


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    """Hash passwords quickly: nobody will ever attack those of a test."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def right_time() -> Iterator[None]:
    """Set the clock right again."""
    yield
    clock.set_offset(timedelta())


@pytest.fixture
def user(db: None) -> User:
    return make_user("mia", UserKind.MANAGED)


@pytest.fixture
def browser() -> Browser:
    """A browser in which nobody is logged in."""
    return Browser()


@pytest.fixture
def visit(user: User, browser: Browser) -> Browser:
    """A browser in which the user is logged in."""
    browser.log_in("mia")
    return browser


@pytest.fixture
def root(db: None) -> Caller:
    """Root at the API."""
    made = caller(make_user("root", UserKind.ROOT))
    groups.ensure_built_ins()
    return made


@pytest.fixture
def organisation(root: Caller, tmp_path: Path) -> Organisation:
    """An organisation that the server is connected with."""
    return Organisation(root, tmp_path)
