"""`cpm notify`: channels are added, tried and removed at the terminal."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpm.models.audit import AuditEntry
from cpm.models.users import UserKind
from tests.api.cast import make_user
from tests.api.nouns.commands import have_a_worker, run
from tests.api.nouns.estate import drain
from tests.receivers import receiver

SECRET = "a secret of the webhook"


@pytest.fixture(autouse=True)
def terminal(db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody at the terminal of a server, whose root there is."""
    monkeypatch.setenv("CPM_DATA", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/cpm")
    make_user("root", UserKind.ROOT)
    make_user("mia", UserKind.MANAGED)


def channels(*options: str) -> Any:
    status, said = run(["notify", "list", "--json", *options])
    assert status == 0, said
    return json.loads(said)


def test_a_webhook_is_added_tried_and_removed(settings: Any) -> None:
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, webhook_networks=("127.0.0.0/8",))
    with receiver() as there:
        line = ["notify", "add", "pager", "--webhook", there.url, "--secret-stdin", "--json"]
        status, said = run(line, f"{SECRET}\n")
        assert status == 0, said
        assert SECRET not in said
        (channel,) = channels()
        assert (channel["name"], channel["channel_type"]) == ("pager", "webhook")
        have_a_worker()
        assert run(["notify", "test", "pager", "--no-wait"])[0] == 0
        drain()
        (message,) = there.posted
        assert message.json["kind"] == "test"
    assert run(["notify", "remove", str(channel["id"])])[0] == 0
    assert channels() == []
    done = AuditEntry.objects.filter(object="pager").order_by("pk")
    assert [each.event_type.split()[0] for each in done] == ["create", "test", "delete"]


def test_what_cannot_be_is_refused_in_words() -> None:
    line = ["notify", "add", "x"]
    for more, status, reason in (
        ([], 2, "is needed"),
        (["--email", "a@example.com", "--webhook", "https://example.com/"], 2, "is needed"),
        (["--email", "nonsense"], 1, "email"),
        (["--sns-account", "nowhere", "--sns-region", "us-east-1"], 1, "no account nowhere"),
    ):
        found, said = run([*line, *more])
        assert (found, reason in said) == (status, True), said
    assert run(["notify", "test", "nowhere"])[0] == 1
    assert channels() == []


def test_everybody_has_his_own() -> None:
    assert run(["notify", "add", "mail", "--email", "mia@example.com", "--user", "mia"])[0] == 0
    assert [each["name"] for each in channels("--user", "mia")] == ["mail"]
    assert run(["notify", "test", "mail", "--user", "mia", "--no-wait"])[0] == 1  # no worker
