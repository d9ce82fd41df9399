"""Notifications > Channels and > Daily summary: who is told of alerts, and whether it arrives."""

import hashlib
import hmac
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cpm.kernel import clock
from cpm.models.accounts import Account
from cpm.models.audit import AuditEntry
from cpm.models.notifications import Channel
from cpm.models.users import User, UserKind
from tests.api.cast import ADDRESS, make_user
from tests.console.browser import Browser, text_of
from tests.engine.notifying import SECRET, after, webhook, work
from tests.receivers import receiver

PAGE = "/notifications/channels/"
SUMMARY = "/notifications/summary/"
MAIL = {"name": "mail", "email": "mia@example.com", "least_severity": "Warning", "enabled": "on"}
HOOK = {"name": "pager", "url": "https://hooks.example.com/x", "least_severity": "Error"}
ARN = "arn:aws:sns:eu-west-1:123456789012:ops"


@pytest.fixture(autouse=True)
def loopback(settings: Any) -> None:
    """Receivers of tests are on this machine."""
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, webhook_networks=("127.0.0.0/8",))


def add(visit: Browser, kind: str, **fields: Any) -> Any:
    page = f"{PAGE}add/{kind}/"
    return visit.send(page, page, **fields)


def delegate_of(user: User, **columns: bool) -> Browser:
    make_user("dora", UserKind.DELEGATE, original_user=user, **columns)
    browser = Browser()
    browser.log_in("dora")
    return browser


def test_an_e_mail_channel_is_added_and_listed(user: User, visit: Browser) -> None:
    assert "there are no channels" in text_of(visit.get(PAGE))
    answer = add(visit, "email", **MAIL, categories=["Backup", "DR"])
    made = Channel.objects.get(user=user)
    assert answer["Location"] == f"{PAGE}{made.pk}/"
    assert (made.enabled, made.daily_summary, made.categories) == (True, False, ["Backup", "DR"])
    shown = text_of(visit.get(PAGE))
    for word in ("mail", "mia@example.com", "Warnings and errors of Backup, DR", "Nothing yet"):
        assert word in shown


def test_a_secret_that_the_server_makes_is_shown_once_and_signs_messages(
    user: User, visit: Browser
) -> None:
    with receiver() as told:
        answer = add(visit, "webhook", **{**HOOK, "url": told.url}, enabled="on")
        found = re.search(r'class="secret">([^<]+)<', text_of(answer))
        assert found
        made = Channel.objects.get(user=user)
        path = f"{PAGE}{made.pk}/"
        for page in (PAGE, path, f"{path}change/"):
            assert found[1] not in text_of(visit.get(page))
        assert visit.send(path, f"{path}test/")["Location"] == path
        work()
        (posted,) = told.posted
    signed = posted.headers["CPM-Timestamp"].encode() + b"." + posted.body
    expected = hmac.new(found[1].encode(), signed, hashlib.sha256).hexdigest()
    assert posted.headers["CPM-Signature"] == f"v1={expected}"


def test_a_secret_of_ones_own_is_never_shown(user: User, visit: Browser, settings: Any) -> None:
    answer = add(visit, "webhook", **HOOK, secret=SECRET)
    made = Channel.objects.get(user=user)
    assert answer["Location"] == f"{PAGE}{made.pk}/"
    assert settings.SEALER.open(bytes(made.sealed_secret or b"")) == SECRET
    change = f"{PAGE}{made.pk}/change/"
    refused = visit.send(change, change, **{**HOOK, "name": "", "secret": f"{SECRET} too"})
    assert refused.status_code == 400
    for shown in (visit.get(PAGE), visit.get(f"{PAGE}{made.pk}/"), visit.get(change), refused):
        assert SECRET not in text_of(shown)
    assert visit.send(change, change, **HOOK).status_code == 302
    made.refresh_from_db()
    assert settings.SEALER.open(bytes(made.sealed_secret or b"")) == SECRET


def test_a_topic_is_made_or_given(user: User, visit: Browser) -> None:
    prod = Account.objects.create(user=user, name="prod", authentication="C")
    Account.objects.create(user=make_user("max", UserKind.MANAGED), name="of-max")
    form = text_of(visit.get(f"{PAGE}add/sns/"))
    assert "prod" in form
    assert "of-max" not in form
    topic = {"account": str(prod.pk), "region": "us-east-1", "least_severity": "Info"}
    add(visit, "sns", name="made", **topic)
    add(visit, "sns", name="given", **topic, topic_arn=ARN)
    made, given = Channel.objects.filter(user=user).order_by("pk")
    assert (made.region, made.topic_arn, made.enabled) == ("us-east-1", "", False)
    assert (given.region, given.topic_arn) == ("eu-west-1", ARN)
    assert "The topic is not made yet." in text_of(visit.get(f"{PAGE}{made.pk}/"))
    shown = text_of(visit.get(f"{PAGE}{given.pk}/"))
    for word in (ARN, "prod, eu-west-1", "Everything"):
        assert word in shown


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("email", {**MAIL, "email": ""}, "This field is required."),
        ("email", {**MAIL, "name": "taken"}, "This field must be unique."),
        ("email", {**MAIL, "categories": "Weather"}, '"Weather" is not a valid choice.'),
        ("webhook", {**HOOK, "url": "https://169.254.169.254/"}, "Not to 169.254.169.254"),
        ("webhook", {**HOOK, "secret": "short"}, "at least 16 characters"),
        ("sns", {"name": "x", "account": "7"}, 'Invalid pk "7"'),
    ],
)
def test_what_is_wrong_is_told_beside_the_form_that_is_still_filled_in(
    user: User, visit: Browser, kind: str, fields: dict[str, str], message: str
) -> None:
    Channel.objects.create(user=user, name="taken", channel_type="email", email="x@example.com")
    answer = add(visit, kind, **fields)
    shown = text_of(answer)
    faults = re.findall(r'class="fault" role="alert">([^<]*)<', shown)
    assert answer.status_code == 400
    assert any(message in fault for fault in faults), faults
    assert f'value="{fields["name"]}"' in shown
    assert Channel.objects.count() == 1


def test_the_last_message_says_whether_it_arrived(user: User, visit: Browser) -> None:
    with receiver() as told:
        channel = webhook(user, told)
        path = f"{PAGE}{channel.pk}/"
        told.status = 500
        visit.send(PAGE, f"{path}test/")
        assert "A test message is on its way." in text_of(visit.get(path))
        shown = text_of(visit.get(PAGE))
        assert "On its way" in shown
        assert f'hx-get="{PAGE}"' in shown
        work()
        for page in (PAGE, path):
            shown = text_of(visit.get(page))
            assert "Not arrived yet" in shown
            assert "500" in shown
        told.status = 200
        after(minutes=1)
    shown = text_of(visit.get(PAGE))
    assert "Arrived" in shown
    assert "hx-get" not in shown
    part = text_of(visit.get(path, HX_Request="true"))
    assert part.startswith('<div id="channel"')


def test_a_channel_is_changed_and_removed(user: User, visit: Browser) -> None:
    channel = Channel.objects.create(
        user=user, name="mail", channel_type="email", email="x@example.com", categories=["DR"]
    )
    path = f"{PAGE}{channel.pk}/"
    form = text_of(visit.get(f"{path}change/"))
    assert 'value="DR" checked' in form
    changed = {"name": "night", "email": "night@example.com", "least_severity": "Error"}
    answer = visit.send(f"{path}change/", f"{path}change/", **changed)
    assert answer["Location"] == path
    channel.refresh_from_db()
    assert (channel.name, channel.email, channel.categories) == ("night", changed["email"], [])
    assert (channel.enabled, channel.daily_summary) == (False, False)
    shown = text_of(visit.get(path))
    for word in ("Channel night is changed.", "Disabled", "Errors"):
        assert word in shown
    assert "The channel is not enabled." in text_of(
        visit.get(visit.send(path, f"{path}test/")["Location"])
    )
    assert visit.send(f"{path}change/", f"{path}remove/")["Location"] == PAGE
    assert not Channel.objects.exists()
    assert "The channel is removed." in text_of(visit.get(PAGE))
    trail = AuditEntry.objects.filter(object="night").order_by("pk")
    assert list(trail.values_list("event_type", "user_name", "source_address")) == [
        ("update notification channel", "mia", ADDRESS),
        ("delete notification channel", "mia", ADDRESS),
    ]


def test_channels_of_others_are_not_there_and_root_sees_whose_they_are(
    user: User, visit: Browser
) -> None:
    theirs = make_user("max", UserKind.MANAGED)
    other = Channel.objects.create(user=theirs, name="theirs", channel_type="email", email="a@b.c")
    path = f"{PAGE}{other.pk}/"
    assert "theirs" not in text_of(visit.get(PAGE))
    for page in (path, f"{path}change/"):
        assert visit.get(page).status_code == 404
    for form in (f"{path}change/", f"{path}test/", f"{path}remove/"):
        assert visit.send(PAGE, form, name="mine").status_code == 404
    assert visit.get(f"{PAGE}add/fax/").status_code == 404
    make_user("root", UserKind.ROOT)
    root = Browser()
    root.log_in("root")
    assert "<td>max</td>" in text_of(root.get(PAGE))
    assert Channel.objects.get().name == "theirs"


def test_a_delegate_without_the_switch_sees_channels_and_changes_none(
    user: User, visit: Browser
) -> None:
    add(visit, "email", **MAIL)
    path = f"{PAGE}{Channel.objects.get().pk}/"
    dora = delegate_of(user)
    for page in (PAGE, path, SUMMARY):
        shown = dora.get(page)
        assert shown.status_code == 200
        forms = set(re.findall(r'<form method="post"(?: action="([^"]*)")?', text_of(shown)))
        assert forms == {"/logout/"}
        assert "add/email" not in text_of(shown)
    for form in (f"{PAGE}add/email/", f"{path}change/"):
        assert dora.get(form).status_code == 403
    for form in (f"{PAGE}add/email/", f"{path}change/", f"{path}test/", f"{path}remove/", SUMMARY):
        assert dora.send(PAGE, form, **MAIL).status_code == 403
    assert Channel.objects.count() == 1


def test_the_daily_summary_is_set_by_its_user(user: User, visit: Browser) -> None:
    dora = delegate_of(user, allow_settings_changes=True)
    wish = {"enabled": "on", "hour": "6", "time_zone": "Europe/Berlin"}
    assert dora.send(SUMMARY, SUMMARY, **wish)["Location"] == SUMMARY
    user.refresh_from_db()
    assert (user.summary_enabled, user.summary_hour) == (True, 6)
    assert user.summary_due_at is not None
    assert timedelta() < user.summary_due_at - clock.now() <= timedelta(days=1)
    shown = text_of(visit.get(SUMMARY))
    for word in ("The next one comes", "06:00", 'value="Europe/Berlin"'):
        assert word in shown
    answer = visit.send(SUMMARY, SUMMARY, hour="24", time_zone="Mars")
    assert answer.status_code == 400
    assert "Enter a time zone such as Europe/Berlin." in text_of(answer)
    visit.send(SUMMARY, SUMMARY, hour="6", time_zone="Europe/Berlin")
    user.refresh_from_db()
    assert not user.summary_enabled
    assert user.summary_due_at is None
