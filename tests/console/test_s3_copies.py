"""The page of copies to S3: which are under way, how far they are, what failed and why."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cpm.kernel import clock
from cpm.models.backups import Backup
from cpm.models.s3_copies import S3Copy
from cpm.models.users import User, UserKind
from tests.api.cast import make_user
from tests.console.browser import Browser, text_of
from tests.console.records import backup_of, copied_by_half, policy_of, s3_copy_of

PAGE = "/s3_copies/"
HOURS = timedelta(hours=2)


@pytest.fixture
def backup(user: User) -> Backup:
    """A record whose copies have been under way for two hours."""
    return copying(user)


@pytest.fixture
def running(backup: Backup) -> S3Copy:
    """A copy that is half there, by 14,400 MiB in two hours."""
    copy = s3_copy_of(backup, phase="running", due_at=clock.now())
    copied_by_half(copy, 2 * 14_400)
    return copy


def copying(owner: User, **state: object) -> Backup:
    now = clock.now()
    over = {"phase": "closed", "outcome": "B", "finished_at": now}
    begun = {"s3_status": "P", "s3_due_at": now, "s3_started_at": now - HOURS}
    return backup_of(policy_of(owner, f"of-{owner.username}"), **over, **(begun | state))


def rows_of(page: str) -> list[str]:
    """What the rows of its tables say, as text."""
    rows = re.findall(r"<tr>\s*<td.*?</tr>", page, flags=re.DOTALL)
    return [" ".join(re.sub(r"<[^>]*>", " ", row).split()) for row in rows]


def test_copies_under_way_tell_how_far_they_are_how_fast_and_for_how_long(
    visit: Browser, backup: Backup, running: S3Copy
) -> None:
    shown = text_of(visit.get(PAGE))
    together, alone = rows_of(shown)
    assert f"{backup.pk} of-mia" in together
    for row in (together, alone):
        assert "50 % 50 %, 2 MiB/s, about 120 minutes left" in row
    assert f"{backup.pk} of-mia vol-1 vault In progress" in alone
    assert f'href="/backups/{backup.pk}/"' in shown
    assert f'hx-get="{PAGE}"' in shown
    part = text_of(visit.get(PAGE, HX_Request="true"))
    assert part.startswith('<div id="s3_copies"')
    assert "<html" not in part


def test_what_is_in_the_way_of_a_copy_is_told(visit: Browser, backup: Backup) -> None:
    deadline_at = clock.now() + HOURS
    state = {"phase": "running", "due_at": clock.now(), "attempts": 1, "deadline_at": deadline_at}
    s3_copy_of(backup, "vol-1", **state, error="s3:PutObject AccessDenied: <no>")
    (_, row) = rows_of(text_of(visit.get(PAGE)))
    assert "0 %, 0 MiB/s, a while left s3:PutObject AccessDenied" in row
    assert "Tried again 1 of 3 times." in row
    assert f"Has to end by {deadline_at:%Y-%m-%d %H:%M} UTC" in row
    assert b"<no>" not in visit.get(PAGE).content


def test_a_copy_whose_turn_has_not_come_says_so(user: User, visit: Browser) -> None:
    s3_copy_of(copying(user, s3_started_at=None))
    assert all("Waits for its turn" in row for row in rows_of(text_of(visit.get(PAGE))))


def test_what_failed_and_what_is_complete_have_views_of_their_own(
    visit: Browser, backup: Backup, running: S3Copy
) -> None:
    s3_copy_of(backup, "vol-2", phase="closed", outcome="F", error="It was not complete in time.")
    sizes = {"size_bytes": 3 * 2**30, "stored_bytes": 2**30}
    s3_copy_of(backup, "vol-3", phase="closed", outcome="S", **sizes)
    (failed,) = rows_of(text_of(visit.get(f"{PAGE}?view=failed")))
    assert "vol-2 vault Failed" in failed
    assert "It was not complete in time." in failed
    (complete,) = rows_of(text_of(visit.get(f"{PAGE}?view=complete")))
    assert "vol-3 vault Succeeded" in complete
    assert "3.0 GiB, for which 1.0 GiB were stored" in complete
    assert "hx-get" not in text_of(visit.get(f"{PAGE}?view=complete"))
    of_all = rows_of(text_of(visit.get(f"{PAGE}?view=all")))
    assert [re.findall(r"vol-\d", row) for row in of_all] == [["vol-3"], ["vol-2"], ["vol-1"]]
    # Of three volumes of a size two are over, and all that was moved counts.
    together, _ = rows_of(text_of(visit.get(PAGE)))
    assert "83 %, 2 MiB/s, about 24 minutes left" in together


def test_a_record_leads_to_its_own_copies(user: User, visit: Browser, backup: Backup) -> None:
    s3_copy_of(backup, phase="running", due_at=clock.now())
    other = backup_of(policy_of(user))
    s3_copy_of(other, "vol-2", phase="closed", outcome="S")
    address = f"{PAGE}?view=all&backup={backup.pk}"
    assert f'href="{address}"' in text_of(visit.get(f"/backups/{backup.pk}/"))
    assert f'href="{PAGE}' not in text_of(visit.get(f"/backups/{other.pk}/")).split("<main>")[1]
    shown = text_of(visit.get(address))
    (row,) = rows_of(shown)
    assert "vol-1" in row
    assert f'href="{PAGE}?view=failed&backup={backup.pk}"' in shown
    for nonsense in ("x", "9" * 30, "²"):
        assert visit.get(f"{PAGE}?view={nonsense}&backup={nonsense}").status_code == 200


def test_copies_of_others_are_not_there(visit: Browser, running: S3Copy) -> None:
    others = [make_user("ines", UserKind.INDEPENDENT), make_user("max", UserKind.MANAGED)]
    for owner in others:
        s3_copy_of(copying(owner), f"vol-of-{owner.username}", phase="running")
    make_user("root", UserKind.ROOT)
    root = Browser()
    root.log_in("root")
    for view in ("", "all"):
        mine, roots = (text_of(each.get(f"{PAGE}?view={view}")) for each in (visit, root))
        assert "of-max" not in mine
        assert "vol-of-max" in roots
        assert "of-ines" not in mine + roots


def test_a_page_of_copies_takes_as_many_queries_as_one_copy(
    visit: Browser, backup: Backup, running: S3Copy
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert visit.get(PAGE).status_code == 200
        return len(captured.captured_queries)

    queries()
    one = queries()
    for number in range(60):
        s3_copy_of(backup, f"vol-{number}", phase="running", due_at=clock.now())
    assert queries() == one
    shown = text_of(visit.get(PAGE))
    assert len(rows_of(shown)) == 51
    assert 'href="?page=2"' in shown
