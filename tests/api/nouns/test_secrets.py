"""Secrets go in and never come out: not in answers, not in log lines, not in the database."""

import base64
import html
import io
import json
import logging
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from django.conf import settings as django_settings
from django.db import connection

from cpm.api.routes import OPERATIONS
from cpm.config import urls as addresses
from cpm.console import urls as console
from cpm.services import groups, own_certificate, tokens
from tests.api.cast import ADDRESS, PASSWORD, Caller
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.commands import arguments, commands, have_a_worker, run
from tests.api.nouns.endpoints import ENDPOINTS, Endpoint, bodies
from tests.api.nouns.estate import Estate, create, keys, work_on
from tests.api.nouns.everything import (
    address_of,
    found_by_listing,
    make_one_of_each,
    taken_back,
)
from tests.console.browser import Browser

MOST_LOOKS = 60

# Each is written differently in base64, in an address, in JSON and in a page.
PLANTED = {
    what: f'{what}+/&"<é>-Tr0ub4dor'
    for what in (
        *("account", "refused", "proxy", "smtp", "webhook", "user", "delegate", "reset"),
        *("changed", "nonsense", "passphrase", "worker", "database"),
    )
}


def forms(secret: str) -> Iterator[bytes]:
    """A secret as it could be written somewhere."""
    raw = secret.encode()
    yield raw
    yield json.dumps(secret)[1:-1].encode()
    yield quote(secret, safe="").encode()
    yield quote_plus(secret).encode()
    yield html.escape(secret).encode()
    yield raw.hex().encode()
    for shift in range(3):
        # What stands before it decides how it begins; its own part is the middle.
        middle = base64.b64encode(b"x" * shift + raw)[4:-4]
        yield middle
        yield middle.translate(bytes.maketrans(b"+/", b"-_"))


@dataclass
class Witness(logging.Handler):
    """Sees all that the server says, wherever it says it."""

    heard: list[tuple[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.setFormatter(logging.Formatter())

    __hash__ = logging.Handler.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        """Take down a log line, and what it was made of."""
        text = f"{self.format(record)} {record.__dict__}"
        self.heard.append((f"log line of {record.name}", text.encode()))

    def hear(self, where: str, said: bytes) -> None:
        """Take down anything else."""
        self.heard.append((where, said))

    def betrayed(self, secrets: dict[str, str]) -> set[tuple[str, str]]:
        """Which secrets were heard where."""
        return {
            (what, where)
            for what, secret in secrets.items()
            for form in set(forms(secret))
            for where, said in self.heard
            if form in said
        }


@pytest.fixture
def witness(tmp_path: Path, settings: Any) -> Iterator[Witness]:
    """A witness to whom every logger tells everything."""
    names = [each for each in logging.root.manager.loggerDict if not each.startswith("_")]
    loggers = [logging.root, *map(logging.getLogger, [*names, "botocore", "urllib3"])]
    levels = [(each, each.level) for each in loggers]
    witness = Witness()
    logging.root.addHandler(witness)
    for each in loggers:
        each.setLevel(logging.DEBUG)
    (tmp_path / "logs").mkdir()
    settings.ENVIRONMENT = replace(
        settings.ENVIRONMENT, data=tmp_path, webhook_networks=("127.0.0.0/8",)
    )
    yield witness
    logging.root.removeHandler(witness)
    for each, level in levels:
        each.setLevel(level)


def ask(
    witness: Witness, who: Caller, one: Endpoint, path: str, body: object = None, accept: str = ""
) -> None:
    with taken_back():
        headers = {"accept": accept or one.accept}
        answer = who.send(one.method, path, body, headers=headers)
    witness.hear(f"{one.method} {path}", f"{answer.headers}".encode() + answer.body)
    if one.path == "/system/support_logs/" and answer.status == 200:
        with tarfile.open(fileobj=io.BytesIO(answer.body), mode="r:bz2") as archive:
            for entry in archive:
                file = archive.extractfile(entry)
                witness.hear(f"bundle: {entry.name}", file.read() if file else b"")


def plant(root: Caller, estate: Estate) -> None:
    """Hand every kind of secret to the server."""
    who = estate.caller
    unchecked = keys(estate.cloud, name="planted", aws_secret_key=PLANTED["account"])
    create(who, "/accounts/backup/?validate=false", unchecked)
    create(who, "/accounts/dr/?validate=false", {**unchecked, "name": "dr_planted"})
    for section, body in (
        ("proxy", {"address": "127.0.0.1", "port": 9, "password": PLANTED["proxy"]}),
        ("smtp", {"address": "127.0.0.1", "password": PLANTED["smtp"], "username": "u"}),
    ):
        assert root.post(f"/settings/{section}/", {"username": "u", **body}).status == 200
    vault = {"name": "planted", "account": estate.account, "bucket_name": "archive"}
    sealed = {"encryption": "C", "passphrase": PLANTED["passphrase"]}
    create(who, "/s3_repositories/?validate=false", {**vault, **sealed})
    worker = {"account": estate.account, "region": "eu-west-1"}
    create(who, "/workers/", {**worker, "proxy_password": PLANTED["worker"]})
    hook = {"channel_type": "webhook", "url": "https://127.0.0.1:9/", "secret": PLANTED["webhook"]}
    create(who, "/notifications/channels/", {"name": "hook", **hook})
    made = create(root, "/users/", {"username": "new", "password": PLANTED["user"]})
    delegate = {"original_user": who.id, "username": "d", "password": PLANTED["delegate"]}
    create(who, "/delegates/", delegate)
    reset = {"new_password": PLANTED["reset"]}
    assert root.post(f"/users/{made['id']}/reset_password/", reset).status == 204


def refuse(witness: Witness, root: Caller, estate: Estate, ids: dict[str, int]) -> None:
    """Have everything refused to which secrets belong, and everything else that can be."""
    wrong = keys(estate.cloud, name="wrong", aws_secret_key=PLANTED["refused"])
    for one in ENDPOINTS:
        path = address_of(one.path, ids)
        for named in one.operation.body or ():
            if named.kind.schema.get("writeOnly") or "password" in named.name:
                for sent in (
                    PLANTED["nonsense"],
                    [PLANTED["nonsense"]],
                    {"a": PLANTED["nonsense"]},
                ):
                    ask(witness, root, one, path, {named.name: sent})
        if one.path.startswith("/accounts/") and one.method in {"POST", "PUT"}:
            ask(witness, estate.caller, one, path, wrong)
        ask(witness, root, one, path, f'{{"x": "{PLANTED["nonsense"]}'.encode())
    estate.cloud.simulator.config(revoked=[estate.cloud.keys.access_key_id])
    create(estate.caller, f"{estate.path}backups/", {})
    for _ in range(MOST_LOOKS):  # what tells of it comes to nobody, and never to rest
        work_on()
    estate.cloud.simulator.config(revoked=[])


def read_everything(witness: Witness, who: Caller, ids: dict[str, int]) -> None:
    for one in ENDPOINTS:
        if one.method == "GET":
            path = address_of(one.path, ids)
            ask(witness, who, one, path)
            if one.path.startswith("/reports/"):
                ask(witness, who, one, path, accept="text/csv")


def dump(witness: Witness) -> None:
    """All that is in the database, table by table."""
    tables = connection.introspection.table_names()
    assert {"cpm_account", "cpm_setting", "cpm_auditentry", "procrastinate_jobs"} <= set(tables)
    with connection.cursor() as cursor:
        for table in tables:
            with cursor.connection.cursor().copy(f'COPY "{table}" TO STDOUT') as rows:
                witness.hear(f"table {table}", b"".join(bytes(row) for row in rows))


@contextmanager
def broken_database() -> Iterator[None]:
    """A table is missing meanwhile, so that most of what is done ends in an error of our own."""
    with taken_back():
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE cpm_user RENAME TO cpm_gone")
        yield


def visit(witness: Witness, browser: Browser, ids: dict[str, int]) -> None:
    """Look at every page of the console, and at what machines look at."""
    for one in (*console.urlpatterns, *addresses.urlpatterns[1:4]):
        path = f"/{one.pattern}"
        if "<" in path:
            path = address_of(path.replace("<", "{"), ids)
        with taken_back():
            seen = browser.get(path)
        witness.hear(f"page {path}", f"{seen.headers}".encode() + b"".join(seen))


def use_console(witness: Witness, usernames: Iterable[str], ids: dict[str, int]) -> None:
    """Log in, change a password as wrongly as can be, and see what becomes of it."""
    for username in usernames:
        browser = Browser()
        for password in (PLANTED["nonsense"], PASSWORD):
            witness.hear("page of log-in", browser.log_in(username, password).content)
        visit(witness, browser, ids)
        old, new = PLANTED["nonsense"], PLANTED["changed"]
        for fields in ({"again": new}, {"again": old}, {"new_password": "1", "again": "1"}):
            sent = {"old_password": old, "new_password": new, **fields}
            refused = browser.send("/password/", "/password/", **sent)
            witness.hear("page of password", refused.content)
    with broken_database():
        visit(witness, browser, ids)


def use_commands(witness: Witness, given: dict[str, str]) -> None:
    """Type every command: rightly, wrongly, and where the server's database is broken."""
    nowhere = dict.fromkeys(given, "999999999")
    for command in commands():
        lines = [[*command.words, "--help"]]
        if not command.is_process:
            lines += [command.line(given), command.line(nowhere)]
            with broken_database():
                _, said = run(command.line(given), PLANTED["changed"])
                witness.hear(f"{command.name} without a table", said.encode())
        for line in lines:
            with taken_back():
                _, said = run(line, PLANTED["changed"])
                witness.hear(f"command {line}", said.encode())


def test_no_secret_comes_out_again(
    witness: Witness,
    terminal: Path,
    root: Caller,
    managed: Caller,
    delegate: Caller,
    stranger: Caller,
    cloud: Cloud,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    login = f"cpm:{quote(PLANTED['database'], safe='')}"
    monkeypatch.setenv("DATABASE_URL", f"postgresql://{login}@localhost/cpm")
    assert root.user
    key = tokens.create_key(root.user, actor=None)
    pair = tokens.obtain(key, ADDRESS)
    root = Caller(pair.access, user=root.user)
    estate = Estate.of(managed, cloud)
    ids = make_one_of_each(estate)
    create(managed, "/schedules/", {"name": "s", "every_unit": "D", "every_how_many": 1})
    groups.ensure_built_ins()
    plant(root, estate)
    found = found_by_listing(root, OPERATIONS, {**ids, "users": managed.id})
    for who in (root, managed, delegate, stranger):
        read_everything(witness, who, found)
    for one in ENDPOINTS:
        if one.method != "GET" and not one.path.startswith("/token/"):
            body = bodies(estate, root.id).get(one.place, {})
            ask(witness, root, one, address_of(one.path, found), body)
    refuse(witness, root, estate, found)
    use_console(witness, ("root", "mia", "dora"), found)
    have_a_worker()
    given = arguments(root, found, terminal)
    Path(given["passphrase"]).write_text(PLANTED["passphrase"])
    use_commands(witness, given)
    dump(witness)
    witness.hear("output", "".join(capfd.readouterr()).encode())
    private_key = own_certificate.key_pair().key.splitlines()[3]
    secrets = {
        **PLANTED,
        "key in AWS": cloud.keys.secret_access_key,
        "API key": key,
        "refresh token": pair.refresh,
        "access token": pair.access,
        "private key": private_key,
        "key of the server": django_settings.ENVIRONMENT.secret_key,
    }
    assert all(secrets.values())
    assert len(witness.heard) > 1000
    assert witness.betrayed(secrets) == set()


@pytest.mark.parametrize("secret", [*PLANTED.values(), "abc/def+ghi", "x" * 40])
def test_a_secret_is_known_again_however_it_is_written(secret: str) -> None:
    padded = f"ab{secret}cd".encode()
    for written in (
        *(padded, json.dumps({"a": secret}).encode(), html.escape(secret).encode()),
        *(quote(secret, safe="").encode(), padded.hex().encode()),
        *(base64.b64encode(padded[start:]) for start in range(3)),
        base64.urlsafe_b64encode(padded),
    ):
        witness = Witness([("somewhere", b"..." + written + b"...")])
        assert witness.betrayed({"it": secret}) == {("it", "somewhere")}
