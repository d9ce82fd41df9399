"""A browser, as far as the console can tell: cookies, forms with their tokens, redirects."""

import html
import re
from typing import Any

from django.http import HttpResponse
from django.test import Client

from tests.api.cast import ADDRESS, PASSWORD


class Browser:
    """Keeps its cookies, and sends forms only with the token of a page that it has seen."""

    def __init__(self, address: str = ADDRESS) -> None:
        self._client = Client(
            enforce_csrf_checks=True, raise_request_exception=False, REMOTE_ADDR=address
        )

    def get(self, path: str, **headers: str) -> Any:
        """A page."""
        return self._client.get(path, secure=True, headers=_headers(headers))

    def follow(self, path: str) -> Any:
        """A page, wherever it has moved."""
        return self._client.get(path, secure=True, follow=True)

    def is_there(self, path: str) -> bool:
        """Whether the server has something at an address; it need not be sent."""
        return self._client.head(path, secure=True, follow=True).status_code == 200

    def send(self, page: str, to: str, **fields: str | list[str]) -> Any:
        """Fill in the form that a page has for an address."""
        shown = self.follow(page)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', text_of(shown))
        assert token, text_of(shown)
        fields["csrfmiddlewaretoken"] = token[1]
        return self._client.post(
            to, fields, secure=True, headers={"referer": f"https://testserver{page}"}
        )

    def cookie(self, name: str) -> str:
        """What a cookie holds, which somebody has stolen."""
        return str(self._client.cookies[name].value)

    def take_cookie(self, name: str, value: str) -> None:
        """Hold a cookie that another browser was given."""
        self._client.cookies[name] = value

    def post_without_token(self, to: str, host: str = "testserver", **fields: str) -> Any:
        """Send what another site could make a browser send."""
        return self._client.post(to, fields, secure=True, headers={"host": host})

    def log_in(self, username: str, password: str = PASSWORD, **fields: str) -> Any:
        """Log in by the form."""
        return self.send("/login/", "/login/", username=username, password=password, **fields)


def text_of(response: HttpResponse) -> str:
    """What a page says."""
    return html.unescape(response.content.decode())


def _headers(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
