"""The pages of the console, and what they promise to the browser."""

import re

from cpm.kernel import clock
from cpm.models.audit import AuditEntry
from cpm.models.backups import Backup
from cpm.models.policies import PolicySchedule
from cpm.models.schedules import Schedule
from cpm.models.users import User, UserKind
from tests.api.cast import ADDRESS, Caller, make_user
from tests.console.browser import Browser, text_of
from tests.console.records import backup_of, policy_of

PAGES = (
    *("/policies/", "/backups/", "/s3_copies/", "/recoveries/", "/alerts/", "/password/"),
    *("/notifications/channels/", "/notifications/summary/", "/notifications/api_key/"),
    *(f"/notifications/channels/add/{kind}/" for kind in ("email", "webhook", "sns")),
)


def test_every_page_is_safe_in_a_browser(visit: Browser) -> None:
    for path in (*PAGES, "/login/"):
        answer = visit.get(path) if path != "/login/" else Browser().get(path)
        assert answer.status_code == 200
        policy = answer["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer["Cache-Control"] == "no-store"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "max-age" in answer["Strict-Transport-Security"]
        assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", text_of(answer))


def test_a_page_needs_nothing_that_the_server_does_not_serve(visit: Browser) -> None:
    for path in PAGES:
        for address in re.findall(r'(?:src|href)="([^"]+)"', text_of(visit.get(path))):
            assert address.startswith("/"), address
            assert visit.is_there(address), address


def test_policies_are_listed_with_how_they_last_ran(user: User, visit: Browser) -> None:
    assert "There are no policies yet." in text_of(visit.get("/policies/"))
    policy = policy_of(user)
    schedule = Schedule.objects.create(
        user=user,
        name="every-night",
        every_unit="D",
        every_how_many=1,
        start_at=clock.now(),
        modified_at=clock.now(),
    )
    PolicySchedule.objects.create(policy=policy, schedule=schedule)
    shown = text_of(visit.get("/policies/"))
    assert "Never ran" in shown
    backup_of(policy)
    shown = text_of(visit.get("/policies/"))
    for word in ("nightly", "prod", "every-night", "30", "Successful"):
        assert word in shown
    assert "No policy is called so." in text_of(visit.get("/policies/?search=other"))
    assert "nightly" in text_of(visit.get("/policies/?search=IGHT"))


def test_backups_are_listed_newest_first_and_keep_themselves_up_to_date_while_one_runs(
    user: User, visit: Browser
) -> None:
    policy = policy_of(user)
    first = backup_of(policy)
    assert "hx-get" not in text_of(visit.get("/backups/"))
    second = backup_of(policy, due_at=clock.now())
    shown = text_of(visit.get("/backups/"))
    ids = [int(number) for number in re.findall(r'href="/backups/(\d+)/"', shown)]
    assert ids == [second.pk, first.pk]
    assert 'hx-get="/backups/"' in shown
    assert "In progress" in shown
    part = text_of(visit.get("/backups/", HX_Request="true"))
    assert part.startswith('<div id="backups"')
    assert "<html" not in part


def test_long_lists_come_by_the_page(user: User, visit: Browser) -> None:
    for number in range(51):
        policy_of(user, f"policy-{number:02}")
    first, second = (text_of(visit.get(f"/policies/?page={page}")) for page in (1, 2))
    assert first.count("<tr>") == 51
    assert "?page=2" in first
    assert second.count("<tr>") == 2
    assert "?page=1" in second
    for nonsense in ("x", "-1", "0", "9" * 30):
        assert visit.get(f"/policies/?page={nonsense}").status_code == 200


def test_everybody_sees_his_own_and_root_what_managed_users_have(
    user: User, visit: Browser
) -> None:
    others = [make_user("ines", UserKind.INDEPENDENT), make_user("max", UserKind.MANAGED)]
    for owner in (user, *others):
        backup_of(policy_of(owner, f"of-{owner.username}"))
    make_user("root", UserKind.ROOT)
    root = Browser()
    root.log_in("root")
    for path in ("/policies/", "/backups/"):
        mine, roots = text_of(visit.get(path)), text_of(root.get(path))
        assert "of-mia" in mine
        assert "of-max" not in mine
        assert "of-mia" in roots
        assert "of-max" in roots
        assert "of-ines" not in mine + roots


def test_what_users_write_is_shown_and_never_run(user: User, visit: Browser) -> None:
    policy = policy_of(user)
    backup_of(policy)
    Backup.objects.update(policy_name="<script>alert(1)</script>")
    assert b"<script>alert" not in visit.get("/backups/").content
    assert "<script>alert(1)</script>" in text_of(visit.get("/backups/"))


def test_an_api_key_is_made_shown_once_and_revoked(user: User, visit: Browser) -> None:
    page = "/notifications/api_key/"
    assert "The API is disabled for you" in text_of(visit.get(page))

    def generate() -> str:
        shown = text_of(visit.send(page, f"{page}generate/"))
        found = re.search(r'class="secret">([^<]+)<', shown)
        assert found
        return found[1]

    first = generate()
    assert first not in text_of(visit.get(page))
    assert "The API is enabled for you" in text_of(visit.get(page))
    second = generate()
    obtain = Caller().post
    assert obtain("/token/obtain/api_key/", {"api_key": first}).status == 401
    assert obtain("/token/obtain/api_key/", {"api_key": second}).status == 200
    visit.send(page, f"{page}revoke/")
    assert obtain("/token/obtain/api_key/", {"api_key": second}).status == 401
    assert "The API is disabled for you" in text_of(visit.get(page))
    trail = AuditEntry.objects.filter(event_type__contains="API key", source_address=ADDRESS)
    assert list(trail.order_by("pk").values_list("event_type", "user_name")) == [
        ("create API key", "mia"),
        ("create API key", "mia"),
        ("API key refused", ""),
        ("revoke API key", "mia"),
        ("API key refused", ""),
    ]
