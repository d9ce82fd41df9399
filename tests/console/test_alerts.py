"""The page of alerts: what is wrong, why, and what to do about it."""

import ast
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import cpm.engine
from cpm.console import advice
from cpm.engine import alerts, backup_alerts
from cpm.kernel import clock
from cpm.models.users import User, UserKind
from tests.api.cast import make_user
from tests.console.browser import Browser, text_of
from tests.console.records import backup_of, policy_of
from tests.engine.notifying import raise_one


def titles(shown: str) -> list[str]:
    return re.findall(r"<h2>.*</span> (.*)</h2>", shown)


def test_alerts_are_shown_newest_first_and_those_that_are_over_on_demand(
    user: User, visit: Browser
) -> None:
    assert "Nothing is wrong" in text_of(visit.get("/alerts/"))
    for cause in ("first", "second", "third"):
        raise_one(user, cause)
        clock.set_offset(clock._offset + timedelta(minutes=1))
    alerts.resolve("second")
    raise_one(user, "first")
    shown = text_of(visit.get("/alerts/"))
    assert titles(shown) == ["third", "first"]
    assert "Why third." in shown
    assert "2 times" in shown
    over = text_of(visit.get("/alerts/?resolved=true"))
    assert titles(over) == ["second"]


def test_an_alert_leads_to_its_log_and_says_what_to_do(user: User, visit: Browser) -> None:
    policy = policy_of(user)
    backup = backup_of(policy, phase="closed", outcome="F", finished_at=clock.now())
    backup_alerts.review(backup, missing_targets=0)
    shown = text_of(visit.get("/alerts/"))
    assert titles(shown) == ["Backup of policy nightly failed"]
    assert f'See the log of <a href="/backups/{backup.pk}/">backup {backup.pk}</a>.' in shown
    assert "Error" in shown
    assert "What to do:" in shown
    assert "run the policy again" in shown


def test_what_an_alert_says_is_shown_and_never_run(user: User, visit: Browser) -> None:
    raise_one(user, "<script>alert(1)</script>")
    assert b"<script>alert" not in visit.get("/alerts/").content
    assert "Why <script>alert(1)</script>." in text_of(visit.get("/alerts/"))


def test_everybody_sees_his_own_alerts_and_root_also_those_of_managed_users_and_the_server(
    user: User, visit: Browser
) -> None:
    raise_one(user, "of-mia")
    raise_one(None, "of-the-server")
    raise_one(make_user("max", UserKind.MANAGED), "of-max")
    raise_one(make_user("ines", UserKind.INDEPENDENT), "of-ines")
    make_user("root", UserKind.ROOT)
    root = Browser()
    root.log_in("root")
    assert titles(text_of(visit.get("/alerts/"))) == ["of-mia"]
    shown = text_of(root.get("/alerts/"))
    assert set(titles(shown)) == {"of-mia", "of-max", "of-the-server"}
    assert "user mia" in shown


def test_for_whatever_raises_an_alert_there_is_something_to_do() -> None:
    causes = set(_causes())
    assert {"policy:1:failed", "channel:1", "account:1:denied"} <= causes
    assert [cause for cause in causes if not advice.about(cause)] == []


def _causes() -> Iterator[str]:
    """The causes that the engine's functions make, whatever the ids in them."""
    for path in Path(cpm.engine.__file__).parent.glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and "cause" in function.name:
                for text in re.findall(r"return f'(.*)'", ast.unparse(function)):
                    yield re.sub(r"\{.*?\}", "1", text)
