"""Channels and daily summaries over the API."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cpm.engine import queue, sweep
from cpm.kernel import clock
from cpm.models.accounts import Account, Authentication
from cpm.models.audit import AuditEntry
from cpm.models.notifications import Channel
from cpm.models.policies import Policy
from cpm.models.users import UserKind
from tests.api import document
from tests.api.cast import Caller, caller, make_user
from tests.engine.notifying import raise_one
from tests.receivers import receiver

PATH = "/notifications/channels/"
SUMMARY = "/notifications/summary/"
PLANTED = "a planted secret of the receiver"
HOOK = {
    "name": "pager",
    "channel_type": "webhook",
    "url": "https://hooks.example.com/x",
    "secret": PLANTED,
}
MAIL = {"name": "mail", "channel_type": "email", "email": "mia@example.com"}
ARN = "arn:aws:sns:eu-west-1:123456789012:ops"


def account_of(who: Caller, **columns: Any) -> Account:
    assert who.user is not None
    return Account.objects.create(
        user=who.user, name="prod", authentication=Authentication.IAM_USER, **columns
    )


def make(who: Caller, body: dict[str, Any]) -> Any:
    answer = who.post(PATH, body)
    assert answer.status == 201, answer.body
    return answer.json


def test_a_channel_shows_what_its_type_has_and_never_its_secret(managed: Caller) -> None:
    shown = make(managed, HOOK)
    assert shown == {
        "id": shown["id"],
        "user": managed.id,
        "name": "pager",
        "channel_type": "webhook",
        "enabled": True,
        "least_severity": "Warning",
        "categories": [],
        "daily_summary": True,
        "error": None,
        "last_delivery_time": None,
        "url": "https://hooks.example.com/x",
    }
    assert make(managed, {**MAIL, "url": "ftp://x", "secret": "short"})["email"] == MAIL["email"]
    topic = {"name": "ops", "channel_type": "sns", "account": account_of(managed).pk}
    made = make(managed, {**topic, "region": "us-east-1"})
    assert (made["region"], made["topic_arn"]) == ("us-east-1", None)
    given = make(managed, {**topic, "name": "given", "topic_arn": ARN})
    assert (given["region"], given["topic_arn"]) == ("eu-west-1", ARN)
    channels = managed.get(PATH).json
    assert [each["name"] for each in channels] == ["pager", "mail", "ops", "given"]
    for each in channels:
        document.check(each, "Channel")
    assert managed.get(f"{PATH}?channel_type=email").json == [channels[1]]
    assert PLANTED not in str(channels)
    assert PLANTED not in str(list(AuditEntry.objects.values()))
    assert PLANTED.encode() not in bytes(Channel.objects.get(name="pager").sealed_secret or b"")


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ({}, {"name": ["required"], "channel_type": ["required"]}),
        ({"name": "x", "channel_type": "fax"}, {"channel_type": ["invalid_choice"]}),
        ({"name": "x", "channel_type": "email"}, {"email": ["required"]}),
        (
            {"name": "x", "channel_type": "webhook", "secret": "short"},
            {"secret": ["min_length"], "url": ["required"]},
        ),
        ({**HOOK, "url": "http://hooks.example.com/"}, {"url": ["invalid"]}),
        ({**HOOK, "url": "ftp://hooks.example.com/"}, {"url": ["invalid"]}),
        ({**HOOK, "url": "https://anna:word@hooks.example.com/"}, {"url": ["invalid"]}),
        ({**HOOK, "url": "https://169.254.169.254/latest"}, {"url": ["invalid"]}),
        ({**HOOK, "url": "https://[::1]/"}, {"url": ["invalid"]}),
        ({**HOOK, "least_severity": "error"}, {"least_severity": ["invalid_choice"]}),
        ({**HOOK, "categories": ["Backup", "x"]}, {"categories": ["invalid_choice"]}),
        (
            {"name": "x", "channel_type": "sns", "topic_arn": f"{ARN}.fifo", "account": 7},
            {"account": ["does_not_exist"], "region": ["required"], "topic_arn": ["invalid"]},
        ),
    ],
)
def test_what_is_wrong_with_a_channel_is_told(
    managed: Caller, body: dict[str, Any], codes: dict[str, list[str]]
) -> None:
    assert managed.post(PATH, body).codes == codes


def test_a_topic_is_in_a_backup_account_of_ones_own(managed: Caller, stranger: Caller) -> None:
    topic = {"name": "ops", "channel_type": "sns", "topic_arn": ARN}
    for account in (account_of(stranger), account_of(managed, is_dr_account=True)):
        answer = managed.post(PATH, {**topic, "account": account.pk})
        assert answer.codes == {"account": ["does_not_exist"]}


def test_an_account_is_kept_for_its_topics(managed: Caller) -> None:
    account = account_of(managed).pk
    made = make(
        managed, {"name": "ops", "channel_type": "sns", "topic_arn": ARN, "account": account}
    )
    refused = managed.delete(f"/accounts/backup/{account}/")
    assert refused.codes == {"non_field_errors": ["in_use"]}
    assert "notification channel ops" in str(refused.json)
    assert managed.delete(f"{PATH}{made['id']}/").status == 204
    assert managed.delete(f"/accounts/backup/{account}/").status == 204


def test_what_is_left_out_stays_and_a_name_is_taken_once(managed: Caller) -> None:
    pager, mail = make(managed, HOOK), make(managed, MAIL)
    path = f"{PATH}{pager['id']}/"
    changed = managed.put(path, {"least_severity": "Error", "email": "x@example.com"})
    assert changed.json == {**pager, "least_severity": "Error"}
    assert managed.put(path, {"name": mail["name"]}).codes == {"name": ["unique"]}
    assert managed.put(path, {"channel_type": "email", "user": 1}).json == changed.json
    assert managed.put(path, {"url": ""}).codes == {"url": ["blank"]}


def test_channels_are_their_owners(
    root: Caller, managed: Caller, delegate: Caller, stranger: Caller, independent: Caller
) -> None:
    shown = make(managed, HOOK)
    path = f"{PATH}{shown['id']}/"
    for person in (root, delegate):
        assert person.get(path).json == shown
    for person in (stranger, independent):
        assert person.get(PATH).json == []
        assert person.get(path).status == person.put(path, {}).status == 404
        assert person.post(f"{path}test/").status == 404
        assert person.get(f"{path}deliveries/").status == 404
        assert person.delete(path).status == 404
    for method in ("PUT", "DELETE"):
        assert delegate.send(method, path, {}).status == 403
    switched = make_user(
        "dina", UserKind.DELEGATE, original_user=managed.user, allow_settings_changes=True
    )
    assert caller(switched).put(path, {"enabled": False}).status == 200
    assert root.post(PATH, {**MAIL, "user": managed.id}).json["user"] == managed.id
    assert stranger.post(PATH, {**MAIL, "user": managed.id}).codes == {"user": ["does_not_exist"]}


def test_a_test_message_is_sent_and_listed(managed: Caller, settings: Any) -> None:
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, webhook_networks=("127.0.0.0/8",))
    with receiver() as told:
        channel = make(managed, {**HOOK, "url": told.url})
        path = f"{PATH}{channel['id']}/"
        answer = managed.post(f"{path}test/")
        assert (answer.status, answer.json["status"]) == (201, "P")
        sweep.sweep()
        while queue.run_next():
            pass
        (posted,) = told.posted
    assert (posted.json["kind"], posted.json["channel"]) == ("test", "pager")
    (listed,) = managed.get(f"{path}deliveries/").json
    document.check(listed, "Delivery")
    assert listed["delivery_id"] == answer.json["delivery_id"] == posted.json["delivery_id"]
    assert (listed["status"], listed["attempts"], listed["error"]) == ("S", 1, None)
    assert managed.get(path).json["last_delivery_time"] == listed["finish_time"]
    managed.put(path, {"enabled": False})
    assert managed.post(f"{path}test/").codes == {"non_field_errors": ["invalid"]}


def test_a_channel_that_is_switched_off_forgets_what_it_was_to_tell(managed: Caller) -> None:
    channel = make(managed, HOOK)
    path = f"{PATH}{channel['id']}/"
    managed.post(f"{path}test/")
    managed.put(path, {"enabled": False})
    assert managed.get(f"{path}deliveries/").json == []


def test_a_user_has_so_many_channels_at_most(
    managed: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cpm.services.notifications.MOST_CHANNELS", 1)
    make(managed, HOOK)
    assert managed.post(PATH, MAIL).codes == {"non_field_errors": ["limit_exceeded"]}


def test_the_daily_summary_is_ones_own(managed: Caller, delegate: Caller, root: Caller) -> None:
    shown = {"enabled": False, "hour": 8, "time_zone": "UTC"}
    assert managed.get(SUMMARY).json == delegate.get(SUMMARY).json == shown
    body = {"enabled": True, "hour": 23, "time_zone": "Europe/Berlin"}
    assert managed.put(SUMMARY, body).json == body
    assert delegate.get(SUMMARY).json == body
    assert root.get(SUMMARY).json == shown
    assert delegate.put(SUMMARY, {}).status == 403
    assert managed.user is not None
    managed.user.refresh_from_db()
    due_at = managed.user.summary_due_at
    assert due_at is not None
    assert timedelta() < due_at - clock.now() <= timedelta(days=1)
    assert managed.put(SUMMARY, {"enabled": False}).json == {**body, "enabled": False}
    tag = managed.get(SUMMARY).headers["ETag"]
    assert managed.put(SUMMARY, {"hour": 1}, if_match='"other"').status == 412
    assert managed.put(SUMMARY, {"hour": 1}, if_match=tag).status == 200
    document.check(managed.get(SUMMARY).json, "DailySummary")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "America", "ü", ""])
def test_a_zone_is_one(managed: Caller, zone: str) -> None:
    answer = managed.put(SUMMARY, {"hour": 24, "time_zone": zone})
    assert set(answer.codes) == {"hour", "time_zone"}


def test_the_smtp_server_is_roots_and_its_password_nobodys(root: Caller, managed: Caller) -> None:
    path = "/settings/smtp/"
    assert root.get(path).json == {
        "enabled": False,
        "address": "",
        "port": 587,
        "security": "starttls",
        "username": "",
        "sender": "",
    }
    assert root.post(path, {"enabled": True, "port": 0, "security": "x"}).codes == {
        "address": ["required"],
        "sender": ["required"],
        "port": ["min_value"],
        "security": ["invalid_choice"],
    }
    body = {"enabled": True, "address": "mail.example.com", "sender": "cpm@example.com"}
    login = {"username": "anna", "password": PLANTED}
    shown = root.post(path, {**body, **login})
    assert shown.status == 200
    assert PLANTED not in str(shown.json)
    assert root.post(path, {"security": "none"}).codes == {"security": ["invalid"]}
    assert root.post(path, {"security": "none", "username": ""}).status == 200
    document.check(root.get(path).json, "Smtp")
    assert managed.get(path).status == managed.post(path, {}).status == 403
    bundle = root.get("/system/support_logs/")
    assert PLANTED.encode() not in bundle.body
    assert PLANTED not in str(list(AuditEntry.objects.values()))


def test_alerts_about_what_is_deleted_end_with_it(managed: Caller) -> None:
    account, channel = account_of(managed), make(managed, HOOK)["id"]
    assert managed.user is not None
    policy = Policy.objects.create(
        user=managed.user, account=account, name="nightly", modified_at=clock.now()
    )
    other = f"inventory:account:{account.pk}9:us-east-1"
    for cause, subject in {
        f"policy:{policy.pk}:failed": policy,
        f"inventory:account:{account.pk}:us-east-1": None,
        f"vanished:account:{account.pk}": None,
        f"channel:{channel}": None,
        other: None,
    }.items():
        raise_one(managed.user, cause, policy=subject)
    paths = (
        f"{PATH}{channel}/",
        f"/policies/{policy.pk}/",
        f"/accounts/backup/{account.pk}/",
    )
    for path in paths:
        assert managed.delete(path).status == 204
    (left,) = managed.get("/alerts/").json
    assert left["title"] == other
    over = managed.get("/alerts/?resolved=true").json
    assert len(over) == 4
    assert not any("policy" in each for each in over)
