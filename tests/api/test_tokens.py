"""Keys and tokens, and what opens the API and what does not."""

import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.test import Client

from cpm.kernel import clock
from cpm.models.audit import AuditEntry
from cpm.models.users import ApiKey, UserKind
from cpm.services import tokens
from tests.api.cast import ADDRESS, PASSWORD, Answer, Caller, make_user

OBTAIN = "/token/obtain/api_key/"
REFRESH = "/token/refresh/"


@pytest.fixture
def key(root: Caller) -> str:
    return tokens.create_key(root.user, actor=None)  # type: ignore[arg-type]  # there is one


@pytest.fixture
def later() -> Any:
    """Moves the clock, and puts it back."""
    yield lambda **by: clock.set_offset(timedelta(**by))
    clock.set_offset(timedelta())


def test_a_key_is_exchanged_for_two_tokens(nobody: Caller, key: str) -> None:
    answer = nobody.post(OBTAIN, {"api_key": key})
    assert answer.status == 200
    assert list(answer.json) == ["access", "refresh"]
    assert Caller(answer.json["access"]).get("/users/").status == 200
    refreshed = nobody.post(REFRESH, {"refresh": answer.json["refresh"]})
    assert refreshed.status == 200
    assert list(refreshed.json) == ["access"]
    assert Caller(refreshed.json["access"]).get("/users/").status == 200
    assert nobody.post(REFRESH, {"refresh": answer.json["refresh"]}).status == 200


def test_tokens_are_jwts_that_live_an_hour_and_a_day(
    nobody: Caller, key: str, root: Caller
) -> None:
    pair = nobody.post(OBTAIN, {"api_key": key}).json
    for name, seconds in (("access", 3600), ("refresh", 86400)):
        claims = jwt.decode(pair[name], options={"verify_signature": False})
        assert set(claims) == {"exp", "iat", "jti", "token_type", "sub"}
        assert claims["exp"] - claims["iat"] == seconds
        assert (claims["token_type"], claims["sub"]) == (name, str(root.id))


def test_no_two_tokens_are_the_same(nobody: Caller, key: str) -> None:
    pairs = [nobody.post(OBTAIN, {"api_key": key}).json for _ in range(2)]
    assert len({token for pair in pairs for token in pair.values()}) == 4


@pytest.mark.parametrize(
    "content_type",
    ["", "application/x-www-form-urlencoded", "text/plain", "application/json", "nonsense"],
)
def test_token_calls_take_forms_of_any_type(nobody: Caller, key: str, content_type: str) -> None:
    answer = nobody.send("POST", OBTAIN, f"api_key={key}", content_type=content_type)
    assert answer.status == 200
    body = f"refresh={answer.json['refresh']}"
    assert nobody.send("POST", REFRESH, body, content_type=content_type).status == 200
    body = json.dumps({"refresh": answer.json["refresh"]})
    assert nobody.send("POST", REFRESH, body, content_type=content_type).status == 200


@pytest.mark.parametrize(
    ("path", "body", "codes"),
    [
        (OBTAIN, {}, {"api_key": ["required"]}),
        (OBTAIN, None, {"api_key": ["required"]}),
        (OBTAIN, {"api_key": ""}, {"api_key": ["blank"]}),
        (OBTAIN, {"api_key": None}, {"api_key": ["null"]}),
        (OBTAIN, {"api_key": ["x"]}, {"api_key": ["invalid"]}),
        (OBTAIN, {"api_key": "a\0"}, {"api_key": ["invalid"]}),
        (REFRESH, {"api_key": "x"}, {"refresh": ["required"]}),
        (OBTAIN, b"[]", {"non_field_errors": ["invalid"]}),
        (OBTAIN, b"{", {"non_field_errors": ["parse_error"]}),
    ],
)
def test_a_missing_or_misshapen_field_is_no_attempt(
    nobody: Caller, path: str, body: object, codes: dict[str, list[str]]
) -> None:
    for _ in range(12):
        answer = nobody.post(path, body)
        assert (answer.status, answer.codes) == (400, codes)


def test_a_wrong_key_is_refused(nobody: Caller, key: str) -> None:
    answer = nobody.post(OBTAIN, {"api_key": key[:-1]})
    assert answer.status == 401
    assert answer.codes == {"non_field_errors": ["authentication_failed"]}
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'
    assert key[:-1] not in str(list(AuditEntry.objects.values_list()))


def test_nothing_but_a_live_refresh_token_refreshes(nobody: Caller, key: str, later: Any) -> None:
    pair = nobody.post(OBTAIN, {"api_key": key}).json
    forged = jwt.encode(
        jwt.decode(pair["refresh"], options={"verify_signature": False}), "x" * 32, "HS256"
    )
    unsigned = jwt.encode({"sub": "1"}, "", "none")
    for bad in (pair["access"], pair["refresh"][:-2], forged, unsigned, "nonsense", "a.b.c", "ü"):
        answer = nobody.post(REFRESH, {"refresh": bad})
        assert answer.status == 401
        assert answer.codes == {"non_field_errors": ["token_not_valid"]}
    later(hours=24, seconds=1)
    assert nobody.post(REFRESH, {"refresh": pair["refresh"]}).status == 401


def test_an_access_token_ends_after_its_hour(nobody: Caller, key: str, later: Any) -> None:
    pair = nobody.post(OBTAIN, {"api_key": key}).json
    later(minutes=59)
    assert Caller(pair["access"]).get("/users/").status == 200
    later(minutes=61)
    assert Caller(pair["access"]).get("/users/").codes == {"non_field_errors": ["token_not_valid"]}
    refreshed = nobody.post(REFRESH, {"refresh": pair["refresh"]}).json
    assert Caller(refreshed["access"]).get("/users/").status == 200


def test_without_a_header_one_is_not_authenticated(nobody: Caller) -> None:
    for answer in (nobody.get("/users/"), nobody.get("/users/", authorization="")):
        assert answer.status == 401
        assert answer.codes == {"non_field_errors": ["not_authenticated"]}
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer x", "Basic cm9vdDpyb290", "Token x", "Bearer a b", "Bearer ü"],
)
def test_a_bad_header_is_no_token(nobody: Caller, header: str) -> None:
    for _ in range(12):
        answer = nobody.get("/users/", authorization=header)
        assert answer.status == 401
        assert answer.codes == {"non_field_errors": ["token_not_valid"]}


def test_a_refresh_token_opens_nothing(nobody: Caller, key: str) -> None:
    pair = nobody.post(OBTAIN, {"api_key": key}).json
    assert Caller(pair["refresh"]).get("/users/").status == 401


def test_the_scheme_may_be_written_in_any_case(root: Caller) -> None:
    assert Caller().get("/users/", authorization=f"bearer  {root.token}").status == 200


def test_a_cookie_of_the_console_opens_nothing(root: Caller) -> None:
    client = Client()
    client.force_login(root.user, backend="django.contrib.auth.backends.ModelBackend")  # type: ignore[arg-type]  # there is one
    assert client.get("/api/users/", secure=True).status_code == 401


def refused(root: Caller, pair: dict[str, str]) -> bool:
    clock.wait_until(
        lambda: Caller(pair["access"]).get("/regions/").status == 401, timeout_seconds=5
    )
    access = Caller(pair["access"]).get("/regions/").status
    return (access, Caller().post(REFRESH, {"refresh": pair["refresh"]}).status) == (401, 401)


@pytest.mark.parametrize("end", ["new key", "revoked", "disabled", "deleted", "owner disabled"])
def test_tokens_end_within_five_seconds_with_what_they_came_from(
    root: Caller, managed: Caller, delegate: Caller, end: str
) -> None:
    person = delegate.user
    assert person is not None
    assert managed.user is not None
    key = tokens.create_key(person, actor=None)
    pair = Caller().post(OBTAIN, {"api_key": key}).json
    assert Caller(pair["access"]).get("/regions/").status == 200
    if end == "new key":
        tokens.create_key(person, actor=None)
    elif end == "revoked":
        assert tokens.revoke_key(person, actor=None)
        assert not tokens.revoke_key(person, actor=None)
    elif end == "disabled":
        type(person).objects.filter(pk=person.pk).update(is_active=False)
    elif end == "deleted":
        person.delete()
    else:
        type(person).objects.filter(pk=managed.id).update(is_active=False)
    assert refused(root, pair)
    assert Caller().post(OBTAIN, {"api_key": key}).status == 401


def test_changed_switches_act_on_tokens_that_are_out(delegate: Caller) -> None:
    body = {"name": "by_delegate", "every_unit": "D", "every_how_many": 1}
    assert delegate.post("/schedules/", body).status == 403
    assert delegate.user is not None
    type(delegate.user).objects.filter(pk=delegate.id).update(allow_backup_changes=True)
    assert clock.wait_until(
        lambda: delegate.post("/schedules/", body).status == 201, timeout_seconds=5
    )


def test_only_a_hash_of_a_key_is_kept(root: Caller, key: str) -> None:
    assert len(key) >= 40
    row = ApiKey.objects.get(user=root.user)
    assert key not in str(vars(row))
    described = tokens.describe_key(root.user)  # type: ignore[arg-type]  # there is one
    assert described["username"] == "root"
    assert key not in str(described)


def bad(caller: Caller, kind: str) -> Answer:
    if kind == "key":
        return caller.post(OBTAIN, {"api_key": "wrong"})
    return caller.post(REFRESH, {"refresh": "wrong"})


def test_bad_attempts_are_limited_and_good_ones_are_not(
    nobody: Caller, key: str, later: Any
) -> None:
    pair = nobody.post(OBTAIN, {"api_key": key}).json
    kinds = ["key", "refresh"] * 5
    assert [bad(nobody, kind).status for kind in kinds] == [401] * 10
    for kind in ("key", "refresh"):
        answer = bad(nobody, kind)
        assert answer.status == 429
        assert answer.codes == {"non_field_errors": ["throttled"]}
        assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert nobody.post(OBTAIN, {"api_key": key}).status == 200
    assert nobody.post(REFRESH, {"refresh": pair["refresh"]}).status == 200
    assert Caller(pair["access"]).get("/regions/").status == 200
    later(seconds=61)
    assert bad(nobody, "key").status == 401


def test_addresses_are_limited_apart_from_each_other(nobody: Caller) -> None:
    for _ in range(11):
        bad(nobody, "key")
    assert bad(nobody, "key").status == 429
    other = Client(REMOTE_ADDR="198.51.100.9")
    answer = other.post(f"/api{OBTAIN}", {"api_key": "wrong"}, secure=True)
    assert answer.status_code == 401


def test_tokens_and_bad_attempts_are_audited(root: Caller, nobody: Caller, key: str) -> None:
    nobody.post(OBTAIN, {"api_key": key})
    bad(nobody, "key")
    bad(nobody, "refresh")
    trail = list(
        AuditEntry.objects.order_by("id").values_list("event_type", "user_name", "source_address")
    )
    assert trail[-3:] == [
        ("obtain token", "root", ADDRESS),
        ("API key refused", "", ADDRESS),
        ("refresh token refused", "", ADDRESS),
    ]


def test_a_password_is_no_key(nobody: Caller) -> None:
    make_user("somebody", UserKind.INDEPENDENT)
    assert nobody.post(OBTAIN, {"api_key": PASSWORD}).status == 401


def test_tokens_of_another_server_open_nothing(root: Caller) -> None:
    claims = jwt.decode(root.token or "", settings.TOKEN_KEY, algorithms=["HS256"])
    other = jwt.encode(claims, b"another server's key, which is not ours", "HS256")
    assert Caller(other).get("/users/").status == 401
    same = jwt.encode({**claims, "jti": "no number"}, settings.TOKEN_KEY, "HS256")
    assert Caller(same).get("/users/").status == 401
