"""Logging in and out of the console, and changing one's password there."""

from datetime import timedelta

import pytest

from cpm.kernel import clock
from cpm.models.audit import AuditEntry
from cpm.models.users import User, UserKind
from tests.api.cast import PASSWORD, caller, make_user
from tests.console.browser import Browser, text_of

GOOD = "Tr0ub4dor&3"


def test_who_is_not_logged_in_is_asked_to_and_gets_the_page_that_he_wanted(
    user: User, browser: Browser
) -> None:
    answer = browser.get("/backups/?page=2")
    assert (answer.status_code, answer["Location"]) == (302, "/login/?next=/backups/%3Fpage%3D2")
    answer = browser.log_in("mia", next="/backups/?page=2")
    assert (answer.status_code, answer["Location"]) == (302, "/backups/?page=2")
    assert browser.get("/backups/").status_code == 200


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:1"])
def test_nobody_is_sent_to_another_site_after_the_log_in(
    user: User, browser: Browser, elsewhere: str
) -> None:
    assert browser.log_in("mia", next=elsewhere)["Location"] == "/policies/"


def test_a_name_counts_whatever_its_case(user: User, browser: Browser) -> None:
    assert browser.log_in("MIA").status_code == 302


def test_delegates_log_in_as_long_as_their_user_may(user: User, browser: Browser) -> None:
    make_user("dora", UserKind.DELEGATE, original_user=user)
    assert browser.log_in("dora").status_code == 302
    assert browser.get("/policies/").status_code == 200
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert browser.get("/policies/").status_code == 302
    assert Browser().log_in("dora").status_code == 403


@pytest.mark.parametrize("name", ["mia", "nobody", "mia\x00"])
def test_a_wrong_name_and_a_wrong_password_look_alike(
    user: User, browser: Browser, name: str
) -> None:
    answer = browser.log_in(name, "wrong")
    assert answer.status_code == 403
    assert "User name or password is wrong." in text_of(answer)
    assert browser.get("/policies/").status_code == 302


def test_after_ten_wrong_passwords_a_name_is_refused_from_that_address_for_a_while(
    user: User, browser: Browser
) -> None:
    make_user("max", UserKind.MANAGED)
    for _ in range(10):
        assert browser.log_in("mia", "wrong").status_code == 403
    for password in ("wrong", PASSWORD):
        answer = browser.log_in("MIA", password)
        assert answer.status_code == 429
        assert "Try again in 10 minutes." in text_of(answer)
    assert Browser().log_in("max").status_code == 302
    assert Browser("198.51.100.1").log_in("mia").status_code == 302
    clock.set_offset(timedelta(minutes=9, seconds=50))
    assert browser.log_in("mia").status_code == 429
    clock.set_offset(timedelta(minutes=10, seconds=10))
    assert browser.log_in("mia").status_code == 302


def test_after_a_hundred_wrong_passwords_an_address_is_refused(user: User) -> None:
    browser = Browser()
    for number in range(100):
        assert browser.log_in(f"name-{number}", "wrong").status_code == 403
    assert browser.log_in("mia").status_code == 429
    assert Browser("198.51.100.1").log_in("mia").status_code == 302


def test_logging_out_ends_the_visit(visit: Browser) -> None:
    assert visit.send("/policies/", "/logout/").status_code == 302
    assert visit.get("/policies/").status_code == 302
    assert visit.get("/logout/").status_code == 405


def test_forms_of_other_sites_do_nothing(user: User, visit: Browser) -> None:
    fields = {"old_password": PASSWORD, "new_password": GOOD, "again": GOOD}
    assert visit.post_without_token("/password/", **fields).status_code == 403
    assert visit.post_without_token("/logout/").status_code == 403
    assert visit.post_without_token("/notifications/api_key/generate/").status_code == 403
    assert visit.post_without_token("/notifications/summary/", enabled="on").status_code == 403
    for form in ("add/email", "1/change", "1/test", "1/remove"):
        path = f"/notifications/channels/{form}/"
        assert visit.post_without_token(path).status_code == 403
    assert Browser().post_without_token("/login/", username="mia").status_code == 403
    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    assert visit.get("/policies/").status_code == 200


def test_a_new_password_ends_all_visits_but_no_api_key(user: User, visit: Browser) -> None:
    token, elsewhere = caller(user), Browser("198.51.100.1")
    elsewhere.log_in("mia")
    fields = {"old_password": PASSWORD, "new_password": GOOD, "again": GOOD}
    assert visit.send("/password/", "/password/", **fields)["Location"] == "/login/"
    assert "Your password is changed." in text_of(visit.get("/login/"))
    for browser in (visit, elsewhere):
        assert browser.get("/policies/").status_code == 302
    assert visit.log_in("mia").status_code == 403
    assert visit.log_in("mia", GOOD).status_code == 302
    assert token.get("/policies/").status == 200


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"old_password": "wrong"}, "The old password is wrong."),
        ({"new_password": "short", "again": "short"}, "This password is too short."),
        ({"again": "other"}, "The two new passwords are not the same."),
    ],
)
def test_a_password_that_cannot_be_is_refused_with_the_reason(
    user: User, visit: Browser, fields: dict[str, str], message: str
) -> None:
    good = {"old_password": PASSWORD, "new_password": GOOD, "again": GOOD}
    answer = visit.send("/password/", "/password/", **(good | fields))
    assert answer.status_code == 400
    assert message in text_of(answer)
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


def test_who_came_when_and_from_where_stands_in_the_audit_trail(
    user: User, browser: Browser
) -> None:
    browser.log_in("mia", "wrong")
    browser.log_in("mia")
    browser.send("/policies/", "/logout/")
    trail = AuditEntry.objects.order_by("pk").values_list(
        "event_type", "user_name", "source_address"
    )
    assert list(trail) == [
        ("log-in refused", "mia", "192.0.2.7"),
        ("log in", "mia", "192.0.2.7"),
        ("log out", "mia", "192.0.2.7"),
    ]


def test_a_cookie_of_the_console_opens_nothing_of_the_api(visit: Browser) -> None:
    assert visit.get("/api/policies/").status_code == 401
