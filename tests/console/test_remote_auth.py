"""Logging in by an identity provider that really is one (see `tests.saml.provider`)."""

from typing import Any

import pytest
from lxml import etree

from cpm.config.secrets import Sealer
from cpm.engine.settings import IdentityProvider
from cpm.models.audit import AuditEntry
from cpm.models.users import User, UserKind
from tests.api.cast import PASSWORD, Caller, make_user
from tests.console.browser import Browser, text_of
from tests.console.organisation import (
    COMPLETE,
    COOKIE,
    HERE,
    LOG_IN,
    METADATA,
    Organisation,
    begin,
    come_back,
    is_in,
)
from tests.saml import provider

MANAGED, DELEGATES = "default_managed_users", "default_root_delegates_readonly"


def who(browser: Browser) -> str:
    """The name that the console shows."""
    shown = etree.HTML(text_of(browser.get("/policies/"))).findtext(
        ".//details[@class='menu visitor']/summary"
    )
    return str(shown)


def test_the_metadata_is_public_and_says_where_the_server_is(root: Caller) -> None:
    for path in (METADATA, f"{METADATA}/"):
        answer = Browser().get(path)
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/samlmetadata+xml")
        shown = etree.fromstring(answer.content)
        assert shown.get("entityID") == f"{HERE}/metadata"
        assert shown.get("validUntil") is None
        locations = {each.get("Location") for each in shown.iter() if each.get("Location")}
        assert locations == {f"{HERE}/complete_login/", f"{HERE}/complete_logout/"}
    assert Browser().get(METADATA).content == Browser().get(METADATA).content


def test_a_server_with_a_new_secret_signs_with_a_new_key(root: Caller, settings: Any) -> None:
    before = Browser().get(METADATA).content
    assert "BEGIN" not in IdentityProvider.current().sealed_key
    settings.SEALER = Sealer("another secret")
    after = Browser().get(METADATA).content
    assert before != after == Browser().get(METADATA).content


def test_while_no_provider_is_enabled_only_passwords_count(root: Caller) -> None:
    assert "organisation" not in text_of(Browser().get("/login/"))
    assert Browser().get(LOG_IN)["Location"] == "/login/"
    assert Browser().post_without_token(COMPLETE, SAMLResponse="x").status_code == 403


def test_somebody_new_logs_in_and_is_a_user_from_then_on(organisation: Organisation) -> None:
    browser = Browser()
    assert f'href="{LOG_IN}?next="' in text_of(browser.get("/login/"))
    answer = organisation.log_in(browser, "ann@example.com", "staff", MANAGED)
    assert (answer.status_code, answer["Location"]) == (302, "/policies/")
    assert who(browser) == "ann@example.com"
    assert "Change password" not in text_of(browser.get("/policies/"))
    shown = organisation.root.get("/users/?username=ann@example.com").json[0]
    assert shown["is_idp_user"]
    assert (shown["user_type"], shown["email"]) == ("M", "ann@example.com")
    assert shown["last_login"]
    trail = AuditEntry.objects.exclude(object="identity_provider").values_list(
        "event_type", "user_name", "object", "description"
    )
    assert list(trail.order_by("pk"))[-2:] == [
        ("create user", "", "ann@example.com", "by the identity provider"),
        ("log in", "ann@example.com", "", "identity provider"),
    ]


def test_what_is_asked_is_signed_and_names_what_the_provider_knows(
    organisation: Organisation,
) -> None:
    organisation.set(name_id_format="persistent")
    url = begin(Browser())
    assert url.startswith(f"{provider.LOG_IN}&")
    question = organisation.provider.question(url)
    assert question.destination == provider.LOG_IN
    assert question.issuer.text == f"{HERE}/metadata"
    assert question.assertion_consumer_service_url == f"{HERE}/complete_login/"
    assert question.name_id_policy.format.endswith(":persistent")


def test_the_page_that_was_wanted_comes_after_the_log_in_if_it_is_here(
    organisation: Organisation,
) -> None:
    for page, shown in (("/backups/", "/backups/"), ("https://evil.example/", "/policies/")):
        browser = Browser()
        xml = organisation.provider.answer(begin(browser, page))
        assert come_back(browser, xml)["Location"] == shown


def test_the_cookie_comes_back_from_the_providers_page_and_opens_nothing(
    organisation: Organisation,
) -> None:
    cookie = Browser().get(LOG_IN).cookies[COOKIE]
    assert cookie["samesite"] == "None"
    assert cookie["secure"]
    assert cookie["httponly"]
    assert cookie["path"] == COMPLETE


def test_under_another_name_of_the_server_one_is_sent_to_the_one_that_the_provider_knows(
    organisation: Organisation,
) -> None:
    answer = Browser().get(f"{LOG_IN}?next=/backups/", host="127.0.0.1:8443")
    assert answer["Location"] == f"https://testserver{LOG_IN}?next=/backups/"
    assert Browser().get(METADATA, host="evil.example").content.decode() == organisation.metadata


def test_groups_are_named_bare_or_with_a_prefix_and_bring_their_limits(
    organisation: Organisation,
) -> None:
    path = "/settings/identity_provider/groups/users/"
    organisation.root.post(path, {"name": "ops", "user_type": "I", "max_accounts": 3})
    for name, group in (("ann", "ops"), ("bob", "cpm_ops")):
        assert organisation.log_in(Browser(), name, group, "other").status_code == 302
        user = User.objects.get(username=name)
        assert (user.kind, user.max_accounts, user.max_rds_gib) == ("I", 3, None)


def test_permissions_override_the_group(organisation: Organisation) -> None:
    permissions = (
        "user_type=Independent; user_name = ann.b ;user_email=a@b.example\n"
        "max_accounts=5;max_rds_gib=\nallow_file_level_recovery=No"
    )
    browser = Browser()
    answer = organisation.log_in(browser, "S-1-5-21 (x)", MANAGED, permissions=permissions)
    assert answer.status_code == 302
    user = User.objects.get(username="ann.b")
    assert (user.kind, user.email, user.max_accounts) == ("I", "a@b.example", 5)
    assert (user.max_rds_gib, user.allow_file_level_recovery) == (None, False)
    assert who(browser) == "ann.b"


def test_delegates_come_by_their_groups_and_permissions(organisation: Organisation) -> None:
    mia = make_user("mia", UserKind.MANAGED)
    browser = Browser()
    permissions = "original_username=mia;allow_recovery_changes=true;allow_settings=1"
    organisation.log_in(browser, "dora", DELEGATES, permissions=permissions)
    (dora,) = organisation.root.get("/delegates/?username=dora").json
    assert dora["original_user"] == mia.pk
    assert dora["profile"] == {
        "allow_recovery": True,
        "allow_account_changes": False,
        "allow_backup_changes": False,
        "allow_settings_changes": True,
    }
    assert is_in(browser)
    organisation.log_in(Browser(), "rita", "default_root_delegates")
    assert User.objects.get(username="rita").original_user == organisation.root.user


def test_each_log_in_brings_somebody_up_to_date(organisation: Organisation) -> None:
    organisation.log_in(Browser(), "ann", MANAGED, permissions="max_accounts=5")
    organisation.log_in(Browser(), "ANN", MANAGED, permissions="max_accounts=2;user_email=a@b.de")
    organisation.log_in(Browser(), "ann", MANAGED, permissions="max_accounts=2")
    user = User.objects.get(username="ann")
    assert (user.max_accounts, user.email) == (2, "a@b.de")
    changes = AuditEntry.objects.filter(event_type="update user", object="ann")
    assert [each.description for each in changes] == ["email, max_accounts"]


@pytest.mark.parametrize(
    ("groups_of_ann", "permissions", "message"),
    [
        (("staff",), "", "exactly one group of this server (cpm_user_groups), and you are in none"),
        ((MANAGED, f"cpm_{DELEGATES}"), "", f"several of our groups: {MANAGED}, {DELEGATES}"),
        (("default_independent_users",), "", '"default_independent_users", is disabled'),
        ((MANAGED,), "user_type=R", '"R" is not a valid choice'),
        ((MANAGED,), "user_type=Delegate", "makes users, not delegates"),
        ((DELEGATES,), "user_type=M", "makes delegates, not users"),
        ((MANAGED,), "max_accounts=many", "max_accounts: A valid integer is required."),
        ((MANAGED,), "max_acounts=1", '"max_acounts" in your cpm_user_permissions is unknown'),
        ((MANAGED,), "max_accounts=1;max_accounts=2", "is given twice"),
        ((MANAGED,), "user_name=a b", "user_name: Only ASCII"),
        ((MANAGED,), "user_name=ROOT", "belongs to somebody who logs in with a password"),
        ((MANAGED,), "user_name=mia", "belongs to somebody who logs in with a password"),
        ((DELEGATES,), "original_username=ines", 'The user "ines" for whom you would act'),
        ((DELEGATES,), "original_username=nobody", 'The user "nobody" for whom you would act'),
    ],
)
def test_claims_that_do_not_fit_let_nobody_in_and_say_why(
    organisation: Organisation, groups_of_ann: tuple[str, ...], permissions: str, message: str
) -> None:
    make_user("mia", UserKind.MANAGED)
    make_user("ines", UserKind.INDEPENDENT)
    path = "/settings/identity_provider/groups/users/"
    for group in organisation.root.get(path).json:
        if group["name"] == "default_independent_users":
            organisation.root.put(f"{path}{group['id']}/", {"enabled": False})
    browser = Browser()
    answer = organisation.log_in(browser, "ann", *groups_of_ann, permissions=permissions)
    assert answer.status_code == 403
    assert message in text_of(answer)
    assert not is_in(browser)
    assert not User.objects.filter(is_idp_user=True).exists()
    entry = AuditEntry.objects.get(event_type="log-in refused")
    assert (entry.user_name, entry.user) == ("ann", None)
    assert message in entry.description


@pytest.mark.parametrize(
    ("group", "permissions", "message"),
    [
        (MANAGED, "user_type=I", "You are a managed user here, and your claims make you an"),
        (DELEGATES, "", 'make you a delegate of "root"'),
    ],
)
def test_what_somebody_was_made_he_stays(
    organisation: Organisation, group: str, permissions: str, message: str
) -> None:
    organisation.log_in(Browser(), "ann", MANAGED)
    answer = organisation.log_in(Browser(), "ann", group, permissions=permissions)
    assert answer.status_code == 403
    assert message in text_of(answer)
    assert User.objects.get(username="ann").kind == "M"


def test_a_delegate_does_not_come_to_act_for_somebody_else(organisation: Organisation) -> None:
    make_user("mia", UserKind.MANAGED)
    organisation.log_in(Browser(), "dora", DELEGATES)
    answer = organisation.log_in(Browser(), "dora", DELEGATES, permissions="original_username=mia")
    assert answer.status_code == 403
    assert 'You are a delegate of "root" here' in text_of(answer)


def test_the_licence_counts_users_who_come_by_the_provider(organisation: Organisation) -> None:
    organisation.root.post("/settings/license/", {"max_users": 1})
    assert organisation.log_in(Browser(), "ann").status_code == 302
    answer = organisation.log_in(Browser(), "bob")
    assert answer.status_code == 403
    assert "The licence allows 1 users (max_users)." in text_of(answer)
    assert organisation.log_in(Browser(), "ann").status_code == 302
    assert organisation.log_in(Browser(), "dora", DELEGATES).status_code == 302


@pytest.mark.parametrize(
    ("name", "name_format", "message"),
    [
        (
            "a b",
            "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
            "Your name there cannot be a user name here.",
        ),
        ("x1", "urn:oasis:names:tc:SAML:2.0:nameid-format:transient", "another name each time"),
    ],
)
def test_a_name_that_is_none_needs_one_from_the_claims(
    organisation: Organisation, name: str, name_format: str, message: str
) -> None:
    answer = organisation.log_in(Browser(), name, MANAGED, name_format=name_format)
    assert message in text_of(answer)
    given: dict[str, Any] = {"name_format": name_format, "permissions": "user_name=ann"}
    assert organisation.log_in(Browser(), name, MANAGED, **given).status_code == 302


def test_who_comes_by_the_provider_has_no_password_and_root_keeps_his(
    organisation: Organisation,
) -> None:
    organisation.log_in(Browser(), "ann")
    for password in ("", PASSWORD, "!"):
        assert Browser().log_in("ann", password).status_code == 403
    one = f"/users/{User.objects.get(username='ann').pk}/"
    for path in (one, f"{one}reset_password/"):
        method = "POST" if path.endswith("password/") else "PUT"
        body = {"new_password": "Tr0ub4dor&3", "email": "x@y.z"}
        assert organisation.root.send(method, path, body).codes == {"non_field_errors": ["invalid"]}
    assert Browser().log_in("root").status_code == 302
    assert organisation.root.delete(one).status == 204
    assert organisation.log_in(Browser(), "ann").status_code == 302


def test_logging_out_ends_the_visit_here_and_at_the_provider(organisation: Organisation) -> None:
    browser = Browser()
    organisation.log_in(browser, "ann")
    shown = browser.send("/policies/", "/logout/")
    assert not is_in(browser)
    (url,) = etree.HTML(text_of(shown)).xpath("//section//a/@href")
    assert url.startswith(f"{provider.LOG_OUT}&")
    assert f'http-equiv="refresh" content="0; url={url}"' in text_of(shown)
    wish = organisation.provider.log_out_request(url)
    assert (wish.name_id.text, wish.destination) == ("ann", provider.LOG_OUT)
    assert wish.session_index[0].text
    assert browser.get("/remote_auth/complete_logout/?SAMLResponse=x")["Location"] == "/login/"


def test_without_a_log_out_address_and_with_a_password_the_visit_ends_here_alone(
    organisation: Organisation,
) -> None:
    root = Browser()
    root.log_in("root")
    assert root.send("/policies/", "/logout/")["Location"] == "/login/"
    organisation.set(logout_url="")
    browser = Browser()
    organisation.log_in(browser, "ann")
    assert browser.send("/policies/", "/logout/")["Location"] == "/login/"


def test_the_provider_logs_out_whom_it_names(organisation: Organisation) -> None:
    browser = Browser()
    organisation.log_in(browser, "ann")
    here = f"{HERE}/complete_logout/"
    ask = organisation.provider.ask_log_out
    mallory = organisation.other("mallory").ask_log_out(here, "ann")
    for url in (
        ask(here, "ann", sign=False),
        mallory,
        ask(here, "ann").replace("SAMLR", "%53AMLR"),
    ):
        answer = browser.get(url.removeprefix("https://testserver"))
        assert answer.status_code in {302, 400}
        assert is_in(browser)
    browser.get(ask(here, "bob").removeprefix("https://testserver"))
    assert is_in(browser)
    answer = browser.get(ask(here, "ann").removeprefix("https://testserver"))
    assert not is_in(browser)
    assert answer["Location"].startswith(f"{provider.LOG_OUT}&")
    assert "RelayState=state" in answer["Location"]
    assert organisation.provider.log_out_answer(answer["Location"]).destination == provider.LOG_OUT
