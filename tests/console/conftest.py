"""Visitors of the console."""

from typing import Any

import django
import pytest

django.setup()  # models can be imported from here on

from cpm.models.users import User, UserKind  # noqa: E402
from tests.api.cast import make_user  # noqa: E402
from tests.console.browser import Browser  # noqa: E402


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    """Hash passwords quickly: nobody will ever attack those of a test."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


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
