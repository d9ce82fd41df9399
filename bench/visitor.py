"""What one client of many does: one thing after the other, as fast as it is answered."""

import http.client
import json
import random
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from bench.records import Estate
from bench.server import Address

_PAGE_ROWS = 50
# How often each thing is done, of all that is done.
_SHARES = {
    "one record": 30,
    "page of records": 20,
    "deep page of records": 5,
    "records of a policy": 10,
    "search": 5,
    "snapshots of a record": 10,
    "page of policies": 10,
    "schedule made, changed, deleted": 4,
    "token": 1,
}


@dataclass(frozen=True)
class Visit:
    """What a client is told before it begins."""

    number: int
    address: Address
    estate: Estate
    seconds: float


@dataclass
class Seen:
    """How long each request took, by what it was for, and what went wrong."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def visit(told: Visit) -> Seen:
    """Ask for `seconds`; nothing is asked twice, and nothing is forgiven."""
    with closing(told.address.connect()) as connection:
        visitor = _Visitor(told, connection)
        until = time.perf_counter() + told.seconds
        while time.perf_counter() < until:
            visitor.do_something()
    return visitor.seen


class _Visitor:
    def __init__(self, told: Visit, connection: http.client.HTTPSConnection) -> None:
        self.seen = Seen()
        self._estate = told.estate
        self._connection = connection
        self._choice = random.Random(told.number)
        self._headers = {"Authorization": f"Bearer {told.estate.token}"}
        self._schedule = {"every_unit": "D", "every_how_many": 1}
        self._name = f"schedule-{told.number}"
        self._deeds: Mapping[str, Callable[[], str]] = {
            "one record": lambda: f"/backups/{self._some_id()}/",
            "page of records": lambda: f"/backups/?page_size={_PAGE_ROWS}",
            "deep page of records": lambda: (
                f"/backups/?page_size={_PAGE_ROWS}&page={self._some_page()}"
            ),
            "records of a policy": lambda: (
                f"/backups/?policy={self._some_policy()}&page_size={_PAGE_ROWS}"
            ),
            "search": lambda: f"/backups/?search=policy-{self._some_policy()}&page_size=20",
            "snapshots of a record": lambda: f"/backups/{self._some_id()}/snapshots/volumes/",
            "page of policies": lambda: f"/policies/?page_size={_PAGE_ROWS}",
        }

    def do_something(self) -> None:
        (what,) = self._choice.choices(list(_SHARES), list(_SHARES.values()))
        if what in self._deeds:
            self._ask(what, 200, "GET", self._deeds[what]())
        elif what == "token":
            self._ask(what, 200, "POST", "/token/obtain/api_key/", {"api_key": self._estate.key})
        else:
            self._write()

    def _write(self) -> None:
        body = {**self._schedule, "name": self._name}
        made = self._ask("POST", 201, "POST", "/schedules/", body)
        if made is not None:
            path = f"/schedules/{made['id']}/"
            self._ask("PUT", 200, "PUT", path, {"description": "changed"})
            self._ask("DELETE", 204, "DELETE", path)

    def _ask(
        self, what: str, wanted: int, method: str, path: str, body: dict[str, Any] | None = None
    ) -> Any:
        """The answer, None where it was not what was wanted."""
        began = time.perf_counter()
        try:
            sent = None if body is None else json.dumps(body).encode()
            headers = {**self._headers, "Content-Type": "application/json"}
            self._connection.request(method, f"/api{path}", sent, headers)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self.seen.errors.append(f"{method} {path}: {error!r}")
            return None
        self.seen.seconds.setdefault(what, []).append(time.perf_counter() - began)
        if response.status != wanted:
            self.seen.errors.append(f"{method} {path}: {response.status} {text[:200]!r}")
            return None
        return json.loads(text) if text else {}

    def _some_id(self) -> int:
        return self._choice.randint(self._estate.first_id, self._estate.last_id)

    def _some_page(self) -> int:
        rows = self._estate.last_id - self._estate.first_id + 1
        return self._choice.randint(1, max(1, rows // _PAGE_ROWS))

    def _some_policy(self) -> int:
        return self._choice.randint(1, self._estate.policies)
