"""The server's settings over the API: root's to read and to change, section by section."""

import uuid
from datetime import timedelta

import pytest

from cpm.engine import cleanup, events, identity, queue, sweep
from cpm.engine.settings import Cleanup
from cpm.kernel import clock, times
from cpm.models.audit import AuditEntry
from cpm.models.events import Event, Stream
from cpm.models.settings import Setting
from cpm.models.users import UserKind
from tests.api import document
from tests.api.cast import Caller, caller, make_user

CLEANUP = "/settings/cleanup/"
DEFAULTS = {
    "cleanup_interval_hours": 6,
    "keep_records_days": 90,
    "rotate_single_amis_days": 30,
    "keep_audit_days": 365,
    "last_cleanup_time": None,
}


@pytest.fixture
def reader(root: Caller) -> Caller:
    """A delegate of root's with no switch on."""
    return caller(make_user("rita", UserKind.DELEGATE, original_user=root.user))


def work() -> None:
    """Do what is due."""
    sweep.sweep()
    while queue.run_next():
        pass


def test_nothing_that_was_set_shows_the_defaults(root: Caller, reader: Caller) -> None:
    for person in (root, reader):
        assert person.get(CLEANUP).json == DEFAULTS


def test_what_is_posted_changes_and_the_rest_stays(root: Caller) -> None:
    answer = root.post(CLEANUP, {"keep_records_days": "7", "last_cleanup_time": "2020-01-01"})
    assert answer.status == 200
    assert answer.json == {**DEFAULTS, "keep_records_days": 7}
    root.post(CLEANUP, {"keep_audit_days": 36500})
    shown = {**DEFAULTS, "keep_records_days": 7, "keep_audit_days": 36500}
    assert root.get(CLEANUP).json == root.post(CLEANUP).json == shown
    entries = AuditEntry.objects.filter(event_type="update settings").order_by("pk")
    assert [(each.object, each.description) for each in entries] == [
        ("cleanup", "keep_records_days"),
        ("cleanup", "keep_audit_days"),
    ]
    assert {each.user_name for each in entries} == {"root"}


def test_a_form_changes_settings_too(root: Caller) -> None:
    answer = root.send(
        *("POST", CLEANUP, "keep_records_days=8"),
        content_type="application/x-www-form-urlencoded",
    )
    assert answer.json["keep_records_days"] == 8


def test_all_that_is_out_of_bounds_is_told_at_once_and_nothing_changes(root: Caller) -> None:
    answer = root.post(
        CLEANUP,
        {
            "cleanup_interval_hours": 169,
            "keep_records_days": 0,
            "rotate_single_amis_days": None,
            "keep_audit_days": "soon",
        },
    )
    assert answer.status == 400
    assert answer.codes == {
        "cleanup_interval_hours": ["max_value"],
        "keep_records_days": ["min_value"],
        "rotate_single_amis_days": ["null"],
        "keep_audit_days": ["invalid"],
    }
    assert root.get(CLEANUP).json == DEFAULTS
    for hours, status in ((0, 400), (1, 200), (168, 200)):
        assert root.post(CLEANUP, {"cleanup_interval_hours": hours}).status == status


def test_a_change_does_not_undo_what_the_server_notes_meanwhile(root: Caller) -> None:
    cleanup.run()
    noted = Cleanup.current().last_cleanup_time
    assert root.post(CLEANUP, {"keep_records_days": 5}).json["last_cleanup_time"] == noted
    cleanup.run()
    assert root.get(CLEANUP).json["keep_records_days"] == 5


@pytest.mark.parametrize("section", ["identifier", "cleanup", "tagscan"])
def test_settings_are_roots(
    root: Caller, reader: Caller, managed: Caller, independent: Caller, section: str
) -> None:
    path = f"/settings/{section}/"
    assert reader.post(path, {}).status == 403
    for person in (managed, independent):
        assert person.get(path).status == person.post(path, {}).status == 403
    assert root.using("1.0.0").get(path).status == 404
    assert root.put(path, {}).status == 405


def test_tags_are_scanned_as_often_as_root_wants(root: Caller) -> None:
    path = "/settings/tagscan/"
    shown = {"enabled": True, "interval_hours": 6, "last_scan_time": None}
    assert root.get(path).json == shown
    changed = root.post(path, {"enabled": "off", "interval_hours": 24, "run": False})
    assert (changed.status, changed.json) == (
        200,
        {**shown, "enabled": False, "interval_hours": 24},
    )
    assert root.post(path, {"interval_hours": 169, "run": "perhaps"}).codes == {
        "interval_hours": ["max_value"],
        "run": ["invalid"],
    }
    assert not AuditEntry.objects.filter(event_type="run tag scan").exists()


def test_the_identifier_is_the_servers_for_ever(root: Caller) -> None:
    shown = root.get("/settings/identifier/").json
    assert list(shown) == ["cpm_name", "cpm_uuid", "time_zone"]
    assert str(uuid.UUID(shown["cpm_uuid"])) == shown["cpm_uuid"]
    assert shown["time_zone"] == "UTC"
    changed = root.post("/settings/identifier/", {"cpm_name": "North", "cpm_uuid": "x"}).json
    assert changed == {**shown, "cpm_name": "North"}
    assert identity.server_id() == shown["cpm_uuid"]
    assert list(root.using("1.1.0").get("/settings/identifier/").json) == ["cpm_name", "cpm_uuid"]
    assert root.post("/settings/identifier/", {"cpm_name": ""}).codes == {"cpm_name": ["blank"]}


def test_a_uuid_from_before_is_kept(root: Caller) -> None:
    Setting.objects.create(section="identifier", value={"cpm_uuid": "from before"})
    assert root.get("/settings/identifier/").json["cpm_uuid"] == "from before"


def test_a_reader_is_told_that_nothing_has_changed(root: Caller) -> None:
    tag = root.get(CLEANUP).headers["ETag"]
    assert root.get(CLEANUP, if_none_match=tag).status == 304
    root.post(CLEANUP, {"keep_records_days": 5})
    assert root.get(CLEANUP, if_none_match=tag).status == 200


def test_answers_are_as_documented(root: Caller) -> None:
    cleanup.run()
    for version in ("1.1.0", "1.2.0"):
        client = root.using(version)
        document.check(client.get(CLEANUP).json, "Cleanup", version)
        document.check(client.get("/settings/identifier/").json, "Identifier", version)
        document.check(client.get("/settings/tagscan/").json, "TagScanning", version)


def test_cleanup_runs_when_it_is_asked_for_and_once_for_many_who_ask(root: Caller) -> None:
    work()
    before = Event.objects.latest("pk").pk
    for _ in range(3):
        answer = root.post("/settings/cleanup/run/")
        assert (answer.status, answer.json) == (201, {"status": "P"})
    work()
    lines = Event.objects.filter(stream=Stream.CLEANUP, pk__gt=before).order_by("pk")
    assert [line.code for line in lines] == ["cleanup_started", "cleanup_finished"]
    assert AuditEntry.objects.filter(event_type="run cleanup").count() == 3
    assert root.get(CLEANUP).json["last_cleanup_time"] is not None


def test_only_those_who_change_settings_run_cleanup(reader: Caller, managed: Caller) -> None:
    for person in (reader, managed):
        assert person.post("/settings/cleanup/run/").status == 403


def test_the_log_of_the_last_30_days_is_a_list_and_a_file(
    root: Caller, reader: Caller, managed: Caller
) -> None:
    cleanup.run()
    events.log("cleanup_started", stream=Stream.TAG_SCAN)
    old = Event.objects.filter(stream=Stream.CLEANUP).earliest("pk")
    Event.objects.create(
        at=clock.now() - timedelta(days=31), severity="I", code="ancient", stream=Stream.CLEANUP
    )
    lines = reader.get("/settings/cleanup/logs/").json
    assert [list(line) for line in lines] == [["id", "time", "severity", "message"]] * 2
    assert lines[0] == {
        "id": old.pk,
        "time": times.to_wire(old.at),
        "severity": "I",
        "message": "Cleanup started.",
    }
    page = root.get("/settings/cleanup/logs/?page_size=1").json
    assert (page["count"], page["results"]) == (2, lines[:1])
    answer = root.get("/settings/cleanup/logs/", accept="text/csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="cleanup_logs.csv"'
    header, *rows = answer.body.decode().split("\r\n")
    assert header == "Time,Severity,Message"
    assert rows[0] == f"{times.to_wire(old.at)},Info,Cleanup started."
    assert len(rows) == 3
    assert managed.get("/settings/cleanup/logs/").status == 403


def test_lines_about_independent_users_are_not_for_root(
    root: Caller, managed: Caller, independent: Caller
) -> None:
    events.log("cleanup_started", stream=Stream.CLEANUP)
    for owner in (root.id, managed.id, independent.id):
        events.log("record_emptied", stream=Stream.CLEANUP, record=1, policy="p", owner=owner)
    lines = Event.objects.order_by("pk").values_list("pk", flat=True)
    shown = root.get("/settings/cleanup/logs/").json
    assert [line["id"] for line in shown] == list(lines)[:3]
    assert root.get("/settings/cleanup/logs/?page_size=2").json["count"] == 3
