"""The pages of one backup and of recoveries: how they stand, and what happened."""

import re

from cpm.engine import events
from cpm.kernel import clock
from cpm.models.users import User, UserKind
from tests.api.cast import make_user
from tests.console.browser import Browser, text_of
from tests.console.records import backup_of, policy_of, recovery_of, s3_copy_of


def test_a_backup_shows_its_log_latest_first(user: User, visit: Browser) -> None:
    backup = backup_of(policy_of(user))
    events.log("backup_started", backup=backup, policy="nightly")
    events.log("backup_failed", backup=backup)
    shown = text_of(visit.get(f"/backups/{backup.pk}/"))
    assert f"Backup {backup.pk} of policy nightly" in shown
    lines = re.findall(r"<tr><td><time.*?</td><td>(.*?)</td><td>(.*?)</td></tr>", shown)
    assert [re.sub("<.*?>", "", severity) for severity, _ in lines] == ["Error", "Info"]
    assert lines[1][1] == "Backup of policy nightly started."
    assert "hx-get" not in shown


def test_a_backup_shows_what_is_recovered_from_it_and_how_far_that_is(
    user: User, visit: Browser
) -> None:
    backup = backup_of(policy_of(user))
    recovery = recovery_of(backup)
    for page in (f"/backups/{backup.pk}/", "/recoveries/"):
        shown = text_of(visit.get(page))
        for word in (f'href="/recoveries/{recovery.pk}/"', "vol-1", "EBS volume", "In progress"):
            assert word in shown
        assert '<progress max="100" value="0">' in shown
        assert f'hx-get="{page}"' in shown


def test_a_page_of_a_backup_follows_its_copies_to_s3(user: User, visit: Browser) -> None:
    now = clock.now()
    over = {"phase": "closed", "outcome": "B", "finished_at": now}
    backup = backup_of(policy_of(user), **over, s3_status="P", s3_due_at=now, s3_started_at=now)
    s3_copy_of(backup, phase="running", due_at=now)
    page = f"/backups/{backup.pk}/"
    shown = text_of(visit.get(page))
    assert f'hx-get="{page}"' in shown
    assert re.search(r'<progress max="100" value="0">0 %</progress> 0 %, \d+ MiB/s, a while', shown)
    part = text_of(visit.get(page, HX_Request="true"))
    assert part.startswith('<div id="backup"')
    assert "<html" not in part


def test_a_recovery_shows_why_it_failed(user: User, visit: Browser) -> None:
    backup = backup_of(policy_of(user))
    failed = {"phase": "closed", "outcome": "F", "finished_at": clock.now(), "error": "No room."}
    recovery = recovery_of(backup, **failed)
    events.log("recovery_started", recovery=recovery)
    shown = text_of(visit.get(f"/recoveries/{recovery.pk}/"))
    for word in ("Failed", "No room.", f'href="/backups/{backup.pk}/"', "Log, latest first"):
        assert word in shown
    assert "hx-get" not in shown


def test_records_of_others_are_not_there(user: User, visit: Browser) -> None:
    others = backup_of(policy_of(make_user("max", UserKind.MANAGED)))
    recovery = recovery_of(others)
    nothing = [f"/backups/{others.pk}/", f"/recoveries/{recovery.pk}/", f"/backups/{'9' * 30}/"]
    for page in nothing:
        answer = visit.get(page)
        assert (answer.status_code, "Not found." in text_of(answer)) == (404, True)
    assert "vol-1" not in text_of(visit.get("/recoveries/"))
