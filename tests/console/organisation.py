"""An organisation whose people log in to the console by its own identity provider."""

from pathlib import Path
from typing import Any

from tests.api.cast import Caller
from tests.console.browser import Browser
from tests.saml import provider
from tests.saml.keys import key_pair
from tests.saml.provider import Provider, encoded

SETTINGS = "/settings/identity_provider/"
HERE = "https://testserver/remote_auth"
METADATA = "/remote_auth/metadata"
LOG_IN = "/remote_auth/login/"
COMPLETE = "/remote_auth/complete_login/"
COOKIE = "cpm_log_in"


class Organisation:
    """The provider, and how browsers go there and come back."""

    def __init__(self, root: Caller, folder: Path) -> None:
        self.root = root
        self.folder = folder
        self.set(
            enabled=True,
            entity_id=provider.ENTITY_ID,
            login_url=provider.LOG_IN,
            logout_url=provider.LOG_OUT,
            x509_cert=key_pair("idp").bare,
        )
        self.metadata = Browser().get(METADATA).content.decode()
        self.provider = Provider(folder / "idp", key_pair("idp"), self.metadata)

    def set(self, **values: object) -> None:
        """Change the settings."""
        answer = self.root.post(SETTINGS, values)
        assert answer.status == 200, answer.json

    def other(self, key: str, entity_id: str = provider.ENTITY_ID) -> Provider:
        """A provider that knows everything about the server, but is not the one."""
        return Provider(self.folder / "other", key_pair(key), self.metadata, entity_id)

    def log_in(self, browser: Browser, name: str = "ann", *groups: str, **more: Any) -> Any:
        """Go to the provider, be known there by a name and in groups, and come back."""
        claims = {"cpm_user_groups": list(groups)} if groups else {}
        if "permissions" in more:
            claims["cpm_user_permissions"] = [more.pop("permissions")]
        url = begin(browser)
        return come_back(browser, self.provider.answer(url, name, claims=claims, **more))


def begin(browser: Browser, page: str = "") -> str:
    """Where the server sends a browser to log in."""
    sent = browser.get(f"{LOG_IN}?next={page}")
    assert sent.status_code == 302
    return str(sent["Location"])


def come_back(browser: Browser, xml: str) -> Any:
    """Bring the provider's answer."""
    return browser.post_without_token(COMPLETE, SAMLResponse=encoded(xml))


def is_in(browser: Browser) -> bool:
    """Whether somebody is logged in."""
    return bool(browser.get("/policies/").status_code == 200)
