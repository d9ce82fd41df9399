"""Those who use the API in its tests: each with a real key, a real token and a client."""

import json
from dataclasses import dataclass, field
from typing import Any, Self

from django.http.response import HttpResponseBase
from django.test import Client

from cpm.kernel import clock
from cpm.models.users import User, UserKind
from cpm.services import tokens

PASSWORD = "correct horse battery staple"
ADDRESS = "192.0.2.7"
QUICK_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


class Answer:
    """An answer of the API, read to its end."""

    def __init__(self, response: HttpResponseBase) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.body = b"".join(response) if hasattr(response, "__iter__") else b""

    @property
    def json(self) -> Any:
        """What the body says."""
        assert self.headers["Content-Type"] == "application/json", self.body
        return json.loads(self.body)

    @property
    def codes(self) -> dict[str, list[str]]:
        """The codes of an error by field; fails on anything that is not the errors' format."""
        assert list(self.json) == ["errors"]
        (fields,) = self.json["errors"]
        for faults in fields.values():
            assert faults
            for fault in faults:
                assert sorted(fault) == ["code", "message"]
                assert fault["message"]
        return {field: [fault["code"] for fault in faults] for field, faults in fields.items()}


@dataclass
class Caller:
    """Somebody who uses the API; `version` goes into every Accept header that is not given."""

    token: str | None = None
    version: str = ""
    user: User | None = None
    # What it is made of is made once, with its first request.
    client: Client = field(
        default_factory=lambda: Client(REMOTE_ADDR=ADDRESS, raise_request_exception=False),
        compare=False,
    )

    def using(self, version: str) -> Self:
        """The same person with an older client."""
        return type(self)(self.token, version, self.user)

    @property
    def id(self) -> int:
        """The id of the user behind the token."""
        assert self.user is not None
        return self.user.pk

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, data: object = None, **headers: str) -> Answer:
        return self.send("POST", path, data, headers=headers)

    def put(self, path: str, data: object = None, **headers: str) -> Answer:
        return self.send("PUT", path, data, headers=headers)

    def delete(self, path: str, **headers: str) -> Answer:
        return self.send("DELETE", path, headers=headers)

    def send(
        self,
        method: str,
        path: str,
        data: object = None,
        *,
        headers: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Answer:
        """Send `data`, as JSON unless it is bytes or a text already."""
        body = data if isinstance(data, bytes | str) else b"" if data is None else json.dumps(data)
        sent = {"authorization": f"Bearer {self.token}"} if self.token else {}
        if self.version:
            sent["accept"] = f"application/json; version={self.version}"
        sent |= {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        sent |= {} if body else {"content-length": "0"}
        # Only a whole address keeps the slashes that its path begins with.
        address = f"//testserver{path if path.strip('/').startswith('api') else '/api' + path}"
        return Answer(
            self.client.generic(method, address, body, content_type, secure=True, headers=sent)
        )


def make_user(username: str, kind: UserKind, **columns: Any) -> User:
    """A user with the password that all of them have."""
    user = User(username=username, kind=kind, created_at=clock.now(), **columns)
    user.set_password(PASSWORD)
    user.save()
    return user


def caller(user: User) -> Caller:
    """A client with a token of this person."""
    key = tokens.create_key(user, actor=None)
    return Caller(tokens.obtain(key, ADDRESS).access, user=user)
