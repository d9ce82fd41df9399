"""Every operation of the contract is there, for the right versions, and answers as promised.

The table says what is promised.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from cpm.api import versions
from cpm.api.openapi import document
from cpm.api.routes import OPERATIONS
from cpm.api.versions import LATEST
from cpm.services import tokens
from tests.api.cast import Answer, Caller
from tests.api.matrix import MATRIX
from tests.api.nouns.commands import arguments, commands, have_a_worker, run
from tests.api.nouns.endpoints import ENDPOINTS, OURS, STATUS, Endpoint, bodies, place
from tests.api.nouns.estate import Estate, create, keys
from tests.api.nouns.everything import address_of, taken_back
from tests.api.nouns.failing import Writes

Ids = dict[str, int]

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"
GUIDE = [each for each in ENDPOINTS if each.since != OURS]
LATER = "1.7"
# Whoever refreshes a token has obtained one before.
REFRESH = "/token/refresh/"
# What clients write for the versions.
SPELLINGS = {"1": "1.0.0", "1.0.0": "1.0.0", "1.1": "1.1.0", "1.2.0": "1.2.0", LATER: "1.2.0"}
# The commands that are known to write; the others are held to the same when they do.
WRITING = {
    *("policy run", "backup freeze", "backup delete", "scan", "cleanup"),
    *("user create", "user password", "apikey create", "apikey revoke"),
    *("notify add", "notify test", "notify remove"),
    *("recover volume", "recover instance", "recover rds-database", "recover rds-cluster"),
    *("recover redshift-cluster", "recover dynamodb-table"),
}


@pytest.fixture
def writes(everything: Ids) -> Writes:
    """What is written to the database; tests are rolled back, and this with them."""
    return Writes()


@pytest.fixture
def compatible(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose setting maps a further version on the latest."""
    known: Any = versions.KNOWN
    for spelling, version in versions.further_spellings([f"{LATER}=1.2.0"]).items():
        monkeypatch.setitem(known, spelling, version)


def ask(
    who: Caller, one: Endpoint, path: str = "", *, body: object = None, accept: str = ""
) -> Answer:
    """Ask for the operation, by default with ids of nothing."""
    path = path or address_of(one.path, {"": 999_999_999})
    return who.send(one.method, path, body, headers={"accept": accept or one.accept})


def test_the_table_has_the_guide_and_what_is_ours() -> None:
    assert len(GUIDE) == 177
    assert len({each.place for each in ENDPOINTS}) == len(ENDPOINTS)
    assert {each.place for each in ENDPOINTS} == {place(one.method, one.path) for one in OPERATIONS}


def test_the_page_that_lists_operations_says_what_the_table_does() -> None:
    rows = re.findall(r"\| `(\w+) (\S+)` \| (\S+) \| (.*) \| (.+) \|", PAGE.read_text())
    told = {place(method, path): (since, who) for method, path, since, who, _effect in rows}
    assert told.keys() == {each.place for each in ENDPOINTS}
    for each in ENDPOINTS:
        since, who = told[each.place]
        assert since == ("1.0.0" if each.since == OURS else each.since), each
        users, _, delegates = who.partition("; delegates")
        line = MATRIX.get(each.permission)
        expected = "anybody" if line is None else "root" if line.kinds == "R" else "owners"
        assert users.split()[0] == expected, each
        assert set(re.findall("`(.+?)`", delegates)) == (line.switches if line else set()), each


def test_an_operation_is_there_for_the_versions_that_know_it(
    nobody: Caller, compatible: None
) -> None:
    for one in ENDPOINTS:
        since = "1.0.0" if one.since == OURS else one.since
        path = address_of(one.path, {"": 999_999_999})
        for spelling, version in SPELLINGS.items():
            answer = ask(nobody, one, path, accept=f"{one.accept}; version={spelling}")
            assert (answer.status == 404) == (version < since), (one, spelling)
        assert ask(nobody, one, f"/aws{path}").status == answer.status


def test_nobody_gets_what_needs_a_token(nobody: Caller) -> None:
    for one in ENDPOINTS:
        answer = ask(nobody, one)
        if one.permission != "none":
            assert (answer.status, answer.codes) == (401, _whole("not_authenticated")), one
        elif one.effect == "issues a token":
            body = {field.name: "wrong" for field in one.operation.body or ()}
            answer = ask(nobody, one, body=body)
            assert answer.status == 401, one


def test_what_is_not_there_is_not_found(root: Caller) -> None:
    for one in ENDPOINTS:
        if "{" in one.path:
            path = ""
        elif one.operation.listing is not None:
            path = f"{one.path}?page=999"
        else:
            continue
        answer = ask(root, one, path, body={})
        assert (answer.status, answer.codes) == (404, _whole("not_found")), one


def test_no_form_or_version_but_its_own_can_be_had(root: Caller) -> None:
    for one in ENDPOINTS:
        wrong = ["application/json; version=9.9", "image/png"]
        for accept in wrong[: 1 if one.permission == "support logs" else 2]:
            answer = ask(root, one, accept=accept)
            assert (answer.status, answer.codes) == (406, _whole("not_acceptable")), one


def test_every_operation_does_what_it_is_for_and_refuses_nonsense(
    root: Caller, estate: Estate, everything: Ids, writes: Writes, terminal: Path
) -> None:
    check_commands(arguments(root, everything, terminal), writes)
    check_first_versions(estate.caller)
    sent = bodies(estate, root.id)
    # What has gone in AWS does not come back: it goes last.
    for one in sorted(ENDPOINTS, key=lambda each: each.effect == "deletes in AWS"):
        path = address_of(one.path, everything)
        check_refusals(root, one, path)
        with taken_back():
            path = prepared(root, one, path, estate)
            body = sent.get(one.place, {} if one.operation.body else None)
            if one.effect == "issues a token":
                body = {field.name: token(root, one) for field in one.operation.body or ()}
            check_conditions(root, one, _unvalidated(path), body)
            check_effect(root, one, _unvalidated(path), body, writes)


def check_first_versions(owner: Caller) -> None:
    """The types of snapshots that came with the second version are not in the first's report."""
    later = {"redshift_clusters", "dynamodb_tables", "copy_to_s3"}
    types = {
        version: {line["type"] for line in owner.using(version).get("/reports/snapshots/").json}
        for version in ("1.0.0", "1.1.0")
    }
    assert types["1.1.0"] - types["1.0.0"] == later
    assert "volumes" in types["1.0.0"]


def check_conditions(who: Caller, one: Endpoint, path: str, body: object) -> None:
    """It depends on what the client has seen where the document says so, and nowhere else."""
    described = document(OPERATIONS, LATEST)["paths"][one.operation.path][one.method.lower()]
    headers = [each.get("$ref", "") for each in described.get("parameters", ())]
    if one.method == "GET":
        found = who.get(f"{path.partition('?')[0]}?page=1", accept=one.accept, if_none_match="*")
        is_described = "#/components/parameters/if_none_match" in headers
        assert (found.status == 304) == is_described == ("ETag" in found.headers), one
    elif "#/components/parameters/if_match" in headers:
        assert who.send(one.method, path, body, headers={"if-match": '"other"'}).status == 412, one


def check_effect(who: Caller, one: Endpoint, path: str, body: object, writes: Writes) -> None:
    """It answers as promised, and an effect and its line in the audit trail are one."""
    with taken_back(), writes.noted() as written:
        answer = ask(who, one, path, body=body)
        assert answer.status == STATUS[one.effect], (one, answer.body)
    is_change = one.effect != "shows" and one.path != REFRESH
    assert ("cpm_auditentry" in written) == is_change, (one, written)
    if len(written) > 1:
        check_all_or_nothing(who, one, path, body, writes, written)


def check_all_or_nothing(
    who: Caller, one: Endpoint, path: str, body: object, writes: Writes, written: list[str]
) -> None:
    """A change and its line in the audit trail are one transaction.

    Were something kept before, it would be left when the line fails; the line would be left when
    something fails that comes after. Where AWS is asked while the client waits, nothing more has
    to be one with it: what was asked for is kept first.
    """
    before = writes.rows()
    line = written.index("cpm_auditentry") + 1
    for failing in {line} if deletes_at_once(one) else {line, len(written)}:
        with taken_back(), writes.noted(fail_at=failing):
            assert ask(who, one, path, body=body).status == 500, (one, written, failing)
            assert writes.rows() == before, (one, written, failing)


def deletes_at_once(one: Endpoint) -> bool:
    """Whether it is the deletion of one snapshot."""
    return one.method == "DELETE" and bool(re.fullmatch(r"/backups/{\w+}/snapshots/.+", one.path))


def check_commands(given: dict[str, str], writes: Writes) -> None:
    """What a command of `cpm` writes has its line in the audit trail, too."""
    writing = set()
    for command in commands():
        if not command.is_process:
            with taken_back():
                have_a_worker()
                with writes.noted() as written:
                    _, said = run(command.line(given))
                assert ("cpm_auditentry" in written) == bool(written), (command.name, said)
                writing |= {command.name} if written else set()
    assert writing >= WRITING, WRITING - writing


def check_refusals(root: Caller, one: Endpoint, path: str) -> None:
    """Nonsense in the body, and in every parameter that is not free text, is refused."""
    if one.operation.body:
        for nonsense, code in ((b"{", "parse_error"), (b"[]", "invalid")):
            answer = ask(root, one, path, body=nonsense)
            assert (answer.status, answer.codes) == (400, _whole(code)), one
    filters = one.operation.listing.filters if one.operation.listing else {}
    typed = {name: each.schema for name, each in filters.items()} | dict(one.operation.parameters)
    for name, schema in typed.items():
        if schema != {"type": "string"}:
            answer = ask(root, one, f"{path}?{name}=nonsense", body={})
            assert answer.status == 400, (one, name)
            assert set(answer.codes[name]) <= {"invalid", "invalid_choice"}, (one, name)


def prepared(root: Caller, one: Endpoint, path: str, estate: Estate) -> str:
    """The address, once there is something that the operation can be done to."""
    if one.place == ("DELETE", "/accounts/backup/{}/"):
        unused = create(root, "/accounts/backup/", keys(estate.cloud, name="unused"))
        return f"/accounts/backup/{unused['id']}/"
    if one.place == ("PUT", "/backups/{}/"):
        assert root.post(f"{path}to_freezer/", {"name": "kept"}).status == 200
    return path


def token(root: Caller, one: Endpoint) -> str:
    """What the operation exchanges for a token."""
    assert root.user
    key = tokens.create_key(root.user, actor=None)
    return key if "obtain" in one.path else tokens.obtain(key, "192.0.2.1").refresh


def _unvalidated(path: str) -> str:
    is_unknown = "/targets/" in path or path == "/s3_repositories/"
    return f"{path}?validate=false" if is_unknown else path


def _whole(code: str) -> dict[str, list[str]]:
    return {"non_field_errors": [code]}
