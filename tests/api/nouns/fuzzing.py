"""Requests that nobody has thought of, made by schemathesis from the OpenAPI document.

They are JSON: forms that it writes are not always forms (`test_bad_input` has those). The document
is strict where the server is lenient on purpose, so that programs made from it send what is meant;
requests are made from one that says what is let pass.

Two kinds of answers are not faults. A request that fits the document may still be 400, because ids
must be those of objects that are there, passwords good, and credentials known to AWS. And what
has been answered says nothing of the request before it where both are taken back.
"""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import hypothesis
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection
from hypothesis import HealthCheck, Phase
from schemathesis.generation.hypothesis.builder import (
    HypothesisTestConfig,
    HypothesisTestMode,
    create_test,
)

from cpm.api.openapi import document
from cpm.api.routes import OPERATIONS
from cpm.api.shapes import encode
from cpm.api.versions import LATEST
from tests.api.cast import Caller
from tests.api.nouns.everything import address_of, taken_back

Ids = dict[str, int]

# The same requests each time: what fails once fails again.
SETTINGS = hypothesis.settings(
    max_examples=6,
    stateful_step_count=5,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
_CREDENTIALS = {
    *("account_number", "role_name", "external_id", "assume_from_account"),
    *("aws_access_key", "aws_secret_key"),
}
_MODES = [HypothesisTestMode.COVERAGE, HypothesisTestMode.FUZZING]

_CONFIG = {
    "base-url": "https://testserver/api",
    # Tokens are root's; that others are refused is tried by a check.
    "generation": {"with-security-parameters": False},
    "checks": {
        "positive_data_acceptance": {
            "expected-statuses": ["2xx", "3xx", "400", "401", "403", "404", "409", "412", "429"]
        },
    },
}


class Fuzz:
    """All requests of one test, each asked by root and taken back."""

    def __init__(self, root: Caller, ids: Ids) -> None:
        self.cases = 0
        self.headers = {"Authorization": f"Bearer {root.token}"}
        self._ids = ids
        config = schemathesis.Config.from_dict({**_CONFIG, "headers": self.headers})
        self.schema = schemathesis.openapi.from_dict(_lenient_document(), config=config)
        self.schema.app = _to_its_end(WSGIHandler())

    def try_all(self, methods: set[str]) -> None:
        """Ask every operation of these methods for whatever the document allows and forbids."""
        config = HypothesisTestConfig(self.schema.config, _MODES, SETTINGS)
        with one_connection():
            for found in self.schema.get_all_operations():
                operation: Any = found.ok()  # type: ignore[union-attr]  # or it raises
                if operation.method.upper() in methods:
                    create_test(operation=operation, test_func=self._try, config=config)()

    def follow_links(self) -> None:
        """Do things one after the other, each with what the one before has answered."""
        fuzz, begun_at = self, _sequences()

        class Machine(self.schema.as_state_machine()):  # type: ignore[misc]  # made at run time
            def setup(self) -> None:
                # What is made gets the ids that it got the last time.
                _restart(begun_at)
                self.steps = 0
                self.world = taken_back()
                self.world.__enter__()

            def teardown(self) -> None:
                self.world.__exit__(None, None, None)

            def get_call_kwargs(self, case: Any) -> dict[str, Any]:
                fuzz.cases += 1
                self.steps += 1
                if self.steps == 1:
                    fuzz.point_to_what_is_there(case, self.steps)
                return {"headers": fuzz.headers}

            def validate_response(self, response: Any, case: Any, *_: Any, **__: Any) -> None:
                sent = {"headers": fuzz.headers}
                case.validate_response(response, headers=fuzz.headers, transport_kwargs=sent)

        with one_connection():
            Machine.run(settings=hypothesis.settings(SETTINGS, max_examples=40))

    def _try(self, case: Any) -> None:
        self.cases += 1
        self.point_to_what_is_there(case, self.cases)
        with taken_back():
            case.call_and_validate(headers=self.headers)

    def point_to_what_is_there(self, case: Any, number: int) -> None:
        """Let three of four requests be about objects that exist, or nearly all would be 404."""
        given = (case.path_parameters or {}).values()
        if given and number % 4 and all(map(_is_id, given)):
            written = address_of(case.operation.path, self._ids).split("/")
            parts = zip(case.operation.path.split("/"), written, strict=True)
            real = {part[1:-1]: value for part, value in parts if part.startswith("{")}
            case.path_parameters = {**case.path_parameters, **real}


@contextmanager
def one_connection() -> Iterator[None]:
    """Requests do not end the transaction that the test has begun."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in signals:
            signal.connect(close_old_connections)


def _sequences() -> dict[str, int]:
    """How far the ids of all tables have come."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sequencename, coalesce(last_value, 0) FROM pg_sequences"
            " WHERE schemaname = current_schema()"
        )
        return dict(cursor.fetchall())


def _restart(sequences: dict[str, int]) -> None:
    with connection.cursor() as cursor:
        for name, value in sequences.items():
            cursor.execute("SELECT setval(%s, %s, false)", [name, value + 1])


def _to_its_end(app: Any) -> Any:
    """The application, whose answers are read and closed, as servers do."""

    def answer(environ: Any, start_response: Any) -> list[bytes]:
        with closing(app(environ, start_response)) as response:
            return [b"".join(response)]

    return answer


def _is_id(value: object) -> bool:
    """Whether it could be one; what could not is to be refused."""
    return type(value) is int and abs(value) < 2**63


def _lenient_document() -> Any:
    """The document as the server reads requests: booleans, numbers and times in many spellings."""
    described = json.loads(encode(document(OPERATIONS, LATEST)))
    for name, schema in described["components"]["schemas"].items():
        if name.endswith("Body"):
            _loosen(schema)
        for field in _CREDENTIALS.intersection(schema.get("properties", ())):
            # Those of another authentication than the account's are not looked at.
            schema["properties"][field] = {}
    for path in described["paths"].values():
        for operation in path.values():
            content = operation.get("requestBody", {}).get("content", {})
            for media in [media for media in content if media != "application/json"]:
                del content[media]
            for parameter in operation.get("parameters", ()):
                if parameter.get("in") == "query":
                    _loosen(parameter)
                    _let_be_empty(parameter["schema"])
    return described


def _let_be_empty(schema: Any) -> None:
    """A filter without a value is none."""
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], ""]


def _loosen(value: Any) -> None:
    """Let flags be anything, numbers also texts, and times any text."""
    if isinstance(value, list):
        for one in value:
            _loosen(one)
    elif isinstance(value, dict):
        kind = value.get("type")
        kinds = kind if isinstance(kind, list) else [kind]
        if "boolean" in kinds or value.get("enum") == ["false", "true", "all"]:
            value.clear()
        elif "integer" in kinds:
            limits = {**value}
            value.clear()
            value["anyOf"] = [limits, {"type": "string"}]
        elif value.get("format") == "date-time":
            del value["format"]
        else:
            for one in value.values():
                _loosen(one)
