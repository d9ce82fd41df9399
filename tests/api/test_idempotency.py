"""A POST with an idempotency key has its effect once, whatever happens to the first answer."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection

from cpm.engine import cleanup
from cpm.kernel import clock
from cpm.models.idempotency import KeptAnswer
from tests.api.cast import PASSWORD, Answer, Caller, caller

BODY = {"name": "nightly", "every_unit": "D", "every_how_many": 1}
PATH = "/schedules/"
KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"


@pytest.fixture(autouse=True)
def own_time() -> Iterator[None]:
    yield
    clock.set_offset(timedelta())


def post(who: Caller, body: object = BODY, *, key: str = KEY, path: str = PATH) -> Answer:
    return who.post(path, body, idempotency_key=key)


def names(who: Caller) -> list[str]:
    return [each["name"] for each in who.get(PATH).json]


def test_a_request_that_is_sent_again_is_answered_as_before_and_done_once(root: Caller) -> None:
    first = post(root)
    assert first.status == 201
    assert "Idempotency-Replayed" not in first.headers
    for key in (KEY, f'"{KEY}"'):
        again = post(root, key=key)
        assert (again.status, again.json) == (201, first.json)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.headers["ETag"] == first.headers["ETag"]
        assert again.headers["X-Request-ID"] != first.headers["X-Request-ID"]
    assert names(root) == ["nightly"]
    # What has changed since does not change what was answered then.
    root.delete(f"{PATH}{first.json['id']}/")
    assert post(root).json == first.json
    assert names(root) == []


def test_an_answer_without_a_body_is_given_again_too(root: Caller) -> None:
    body = {"old_password": PASSWORD, "new_password": "something else entirely"}
    for _ in range(2):
        answer = post(root, body, path="/users/me/change_password/")
        assert (answer.status, answer.body) == (204, b"")


def test_a_key_belongs_to_one_request(root: Caller) -> None:
    post(root)
    old = root.using("1.1.0")
    for who, body, path in (
        (root, {**BODY, "name": "other"}, PATH),
        (root, BODY, "/policies/"),
        (root, BODY, f"{PATH}?x=1"),
        (old, BODY, PATH),
    ):
        answer = post(who, body, path=path)
        assert answer.status == 422
        assert answer.codes == {"non_field_errors": ["idempotency_key_reused"]}
    assert names(root) == ["nightly"]
    # However the path is written, it is the same.
    assert post(root, path="/api//aws/schedules").status == 201


def test_a_key_belongs_to_one_person(root: Caller, managed: Caller) -> None:
    mine, his = post(root), post(managed)
    assert mine.json["id"] != his.json["id"]


def test_what_is_no_key_is_refused(root: Caller) -> None:
    for key in ("", '""', "a b", "x" * 256, "\x7f", '"a"b"'):
        answer = post(root, key=key)
        assert (answer.status, answer.codes) == (400, {"non_field_errors": ["invalid"]}), key
    assert names(root) == []


def test_a_refusal_has_no_effect_and_is_not_kept(root: Caller) -> None:
    assert post(root, {}).status == 400
    assert post(root).status == 201


def test_checks_that_come_first_still_do(root: Caller, delegate: Caller, nobody: Caller) -> None:
    assert post(nobody).status == 401
    assert post(delegate).status == 403
    assert root.post(PATH, BODY, idempotency_key=KEY, accept="image/png").status == 406
    assert root.post(PATH, b"x" * 2_000_000, idempotency_key=KEY).status == 413
    assert not KeptAnswer.objects.exists()


def test_what_is_kept_cannot_be_read_in_the_database(root: Caller) -> None:
    post(root)
    kept = KeptAnswer.objects.get()
    assert b"nightly" not in bytes(kept.sealed_answer)


def test_keys_are_forgotten_after_a_day(root: Caller) -> None:
    assert root.user
    first = post(root).json
    clock.set_offset(timedelta(hours=23, minutes=59))
    assert post(caller(root.user)).json == first
    clock.set_offset(timedelta(hours=24, minutes=1))
    assert post(caller(root.user)).codes == {"name": ["unique"]}
    cleanup.run()
    assert not KeptAnswer.objects.exists()


def test_death_before_the_answer_is_kept_undoes_the_effect(database: None, root: Caller) -> None:
    with dying_sessions():
        assert post(root).status == 503
    assert names(root) == []
    assert post(root).status == 201
    assert names(root) == ["nightly"]


@contextmanager
def dying_sessions() -> Iterator[None]:
    """PostgreSQL loses whoever is about to keep an answer, as when his process is killed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;"
            "CREATE TRIGGER die BEFORE INSERT ON cpm_keptanswer"
            " FOR EACH ROW EXECUTE FUNCTION die()"
        )
    try:
        yield
    finally:
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER die ON cpm_keptanswer; DROP FUNCTION die")


def test_of_several_at_once_one_is_done_and_the_others_may_ask_again(
    database: None, root: Caller
) -> None:
    def first() -> Answer:
        try:
            return post(root)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        with held_up():
            running = threads.submit(first)
            assert clock.wait_until(is_under_way, timeout_seconds=60)
            answer = post(root)
            assert (answer.status, answer.codes) == (409, {"non_field_errors": ["in_progress"]})
            assert int(answer.headers["Retry-After"]) > 0
        assert running.result().status == 201
    assert post(root).json == running.result().json
    assert names(root) == ["nightly"]


@contextmanager
def held_up() -> Iterator[None]:
    """Nobody can make a schedule meanwhile."""
    with psycopg.connect(**_parameters()) as other:
        other.execute("LOCK TABLE cpm_schedule IN EXCLUSIVE MODE")
        yield


def is_under_way() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON database = pg_database.oid"
            " WHERE NOT granted AND datname = current_database()"
        )
        (waiting,) = cursor.fetchone()
    return bool(waiting)


def _parameters() -> dict[str, Any]:
    parameters = connection.get_connection_params()
    return {
        name: parameters[name]
        for name in ("dbname", "user", "password", "host", "port")
        if name in parameters
    }
