"""Messages arrive, signed, in order and at least once, whatever their receivers do meanwhile."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.conf import settings
from django.db import connection

from cpm.engine import alerts, deliveries, messages, queue, sweep, webhooks
from cpm.engine.settings import ProxySettings
from cpm.kernel import clock
from cpm.models.alerts import Alert, AlertCategory
from cpm.models.notifications import Channel, ChannelType, Delivery, DeliveryKind, DeliveryOutcome
from cpm.models.users import User
from tests.api.nouns.forward_proxy import PASSWORD, USER, forward_proxy
from tests.engine.notifying import SECRET, after, make_user, raise_one, webhook, work
from tests.engine.workers import worker_process
from tests.engine.world import World
from tests.receivers import HOST, Receiver, receiver


@pytest.fixture
def user(told: Receiver) -> User:
    return make_user()


@pytest.fixture(scope="module")
def is_genuine() -> Callable[[str, dict[str, str], bytes], bool]:
    """What the page on notifications tells receivers to do."""
    page = Path(__file__).parents[2] / "docs" / "notifications.md"
    (program,) = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)
    found: Callable[[str, dict[str, str], bytes], bool] = names["is_genuine"]
    return found


def test_a_message_is_signed_and_says_who_what_and_when(
    told: Receiver, user: User, is_genuine: Callable[[str, dict[str, str], bytes], bool]
) -> None:
    webhook(user, told)
    raise_one(user)
    after(minutes=1)
    (posted,) = told.posted
    assert posted.path == "/hook?x=1"
    assert is_genuine(SECRET, posted.headers, posted.body)
    assert not is_genuine("another secret", posted.headers, posted.body)
    assert not is_genuine(SECRET, posted.headers, posted.body + b" ")
    assert not is_genuine(SECRET, {**posted.headers, "CPM-Timestamp": "1"}, posted.body)
    delivery = Delivery.objects.get()
    assert posted.headers["CPM-Delivery-Id"] == posted.json["delivery_id"] == str(delivery.key)
    assert (posted.json["kind"], posted.json["user"]) == ("alerts", "nora")
    assert posted.json["server"]["name"] == "CPM"
    (alert,) = posted.json["alerts"]
    assert (alert["severity"], alert["category"], alert["message"]) == (
        *("Error", "Backup", "Why x."),
    )
    assert delivery.outcome == DeliveryOutcome.DELIVERED


def test_a_receiver_that_is_away_gets_it_all_later_in_order_and_without_what_is_over(
    told: Receiver, user: User
) -> None:
    channel = webhook(user, told)
    told.status = 503
    raise_one(user, "first")
    after(minutes=1)
    raise_one(user, "second")
    raise_one(user, "passing")
    for _ in range(8):
        after(minutes=1)
    alerts.resolve("passing")
    attempts = len(told.posted)
    assert 3 < attempts < 8
    assert len({each.headers["CPM-Delivery-Id"] for each in told.posted}) == 1
    assert len({each.body for each in told.posted}) == 1
    channel.refresh_from_db()
    assert channel.error == "the receiver answered 503"
    told.status = 204
    for _ in range(4):
        after(minutes=10)
    assert told.events[attempts:] == [[("raised", "first")], [("raised", "second")]]
    channel.refresh_from_db()
    assert (channel.error, bool(channel.delivered_at)) == ("", True)


def test_what_cannot_be_delivered_for_a_day_is_given_up_and_an_alert_tells_of_it(
    told: Receiver, user: User
) -> None:
    told.status = 500
    channel = webhook(user, told)
    raise_one(user)
    after(minutes=1)
    with structlog.testing.capture_logs() as log:
        for _ in range(30):
            after(hours=1)
    delivery = Delivery.objects.get()
    assert delivery.outcome == DeliveryOutcome.GIVEN_UP
    assert 20 < delivery.attempts < 35
    assert [each["channel"] for each in log if each["event"] == "notice.given_up"] == [channel.pk]
    (trouble,) = Alert.objects.filter(category="System")
    assert trouble.title == "Notifications do not arrive by channel pager"
    assert "/hook" not in str(log)
    assert SECRET not in str(log)
    told.status = 200
    raise_one(user, "next")
    after(minutes=1)
    assert told.events[-1] == [("raised", "next")]
    trouble.refresh_from_db()
    assert trouble.resolved_at is not None


def test_trouble_with_a_channel_is_told_by_the_others(told: Receiver, user: User) -> None:
    webhook(user, told, "good")
    bad = webhook(user, told, "bad", categories=["DR", "System"])
    Channel.objects.filter(pk=bad.pk).update(url="http://127.0.0.1:1/")
    raise_one(user, "x", category=AlertCategory.DR)
    for _ in range(12):
        after(minutes=1)
    title = "Notifications do not arrive by channel bad"
    assert told.events == [[("raised", "x")], [("raised", title)]]
    assert not bad.notices.filter(alert__title=title).exists()


def test_a_message_whose_sender_died_is_sent_again_as_the_same(
    told: Receiver, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook(user, told)
    raise_one(user)
    with monkeypatch.context() as patch:
        patch.setattr(deliveries, "_succeed", _die)
        with pytest.raises(KeyboardInterrupt):
            after(minutes=1)
    queue.take_over_stalled(0)
    work()
    first, second = told.posted
    assert first.headers["CPM-Delivery-Id"] == second.headers["CPM-Delivery-Id"]
    assert first.body == second.body
    assert Delivery.objects.get().outcome == DeliveryOutcome.DELIVERED


def _die(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_receiver_that_never_comes_to_an_end_is_cut_off(
    told: Receiver, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 0.5)
    told.drips = True
    webhook(user, told)
    raise_one(user)
    after(minutes=1)
    delivery = Delivery.objects.get()
    assert (delivery.attempts, delivery.outcome) == (1, "")
    assert delivery.error


def test_sending_does_not_keep_the_engine_from_its_work(told: Receiver, user: User) -> None:
    webhook(user, told)
    raise_one(user)
    clock.set_offset(timedelta(minutes=1))
    sweep.sweep()
    assert {name for name, _ in _waiting()} >= {"notify"}
    assert {queue_name for name, queue_name in _waiting() if name == "notify"} == {queue.NOTICES}


def _waiting() -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT task_name, queue_name FROM procrastinate_jobs WHERE status = 'todo'")
        return list(cursor.fetchall())


@pytest.mark.parametrize(
    ("networks", "url", "error"),
    [
        ((), "https://127.0.0.1:9/", "127.0.0.1 is no address to go to"),
        ((), "https://localhost:9/", "localhost is no address to go to"),
        ((), "https://[::ffff:127.0.0.1]:9/", "is no address to go to"),
        (("10.0.0.0/8",), "http://localhost:9/", "localhost is no address to go to"),
        (("127.0.0.0/8",), "https://127.0.0.1:9/", "ConnectionRefusedError"),
    ],
)
def test_webhooks_go_where_they_may(
    told: Receiver, user: User, settings: Any, networks: tuple[str, ...], url: str, error: str
) -> None:
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, webhook_networks=networks)
    channel = webhook(user, told)
    Channel.objects.filter(pk=channel.pk).update(url=url)
    raise_one(user)
    after(minutes=1)
    assert error in Delivery.objects.get().error


def test_certificates_are_checked(
    told: Receiver, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver(tls=tmp_path) as safe:
        webhook(user, safe)
        raise_one(user)
        after(minutes=1)
        assert safe.posted == []
        assert "CERTIFICATE_VERIFY_FAILED" in Delivery.objects.get().error
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        after(minutes=1)
        assert safe.events == [[("raised", "x")]]
        assert safe.posted[0].headers["Host"] == f"127.0.0.1:{safe.server_address[1]}"


def test_with_a_proxy_nothing_goes_beside_it(
    told: Receiver, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook(user, told, "plain")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    with receiver(tls=tmp_path) as safe, forward_proxy() as proxy:
        channel = webhook(user, safe, "safe")
        Channel.objects.filter(pk=channel.pk).update(url=f"https://{HOST}/x")
        proxy.tunnels_to = ("127.0.0.1", safe.server_address[1])
        login = {"username": USER, "sealed_password": settings.SEALER.seal(PASSWORD).decode()}
        ProxySettings.change(enabled=True, address="127.0.0.1", port=proxy.port, **login)
        raise_one(user)
        after(minutes=1)
        assert proxy.asked == [f"{HOST}:443"]
        assert safe.events == [[("raised", "x")]]
        assert safe.posted[0].headers["Host"] == HOST
        assert told.posted == []
        assert "through a proxy only to https" in Delivery.objects.get(outcome="").error
        ProxySettings.change(username="stan")
        raise_one(user, "next")
        after(minutes=1)
        assert "407" in channel.deliveries.latest("pk").error


def test_a_worker_sends_messages_beside_its_other_work(world: World, database_url: str) -> None:
    with receiver() as receiving:
        messages.write(webhook(world.user, receiving), DeliveryKind.TEST, {})
        with worker_process(world.simulator, database_url, CPM_WEBHOOK_NETWORKS="127.0.0.0/8"):
            delivered = Delivery.objects.filter(outcome=DeliveryOutcome.DELIVERED)
            assert clock.wait_until(delivered.exists, timeout_seconds=60)
        assert [each.json["kind"] for each in receiving.posted] == ["test"]


def test_a_kind_of_channel_for_every_word() -> None:
    assert set(deliveries._SENDERS) == set(ChannelType)
