"""What operations share in the OpenAPI document: parameters, headers, refusals, and their shape."""

from collections.abc import Mapping
from typing import Any

from cpm.api import idempotency
from cpm.api.bodies import JSON
from cpm.api.errors import WHOLE
from cpm.api.pages import DEFAULT_SIZE, MOST_SIZE
from cpm.services.fields import Schema

SCHEMA = "#/components/schemas/{name}"

REFUSALS = {
    400: "Something in the request is wrong; every fault is named.",
    401: "No token, or none that is good.",
    403: "Not allowed.",
    404: "Not there, or not for you to see.",
    406: "The Accept header asks for a form or a version that there is not.",
    409: "Work in progress stands in the way, or the same request is under way.",
    412: "It has changed since.",
    413: "The body is too large.",
    415: "Bodies are JSON or forms.",
    422: "The idempotency key belongs to another request.",
    429: "Too many bad attempts.",
    503: "The database is away.",
}
_LATER = {409, 429, 503}


def refusal(status: int) -> dict[str, Any]:
    """The answer to what is refused with this status."""
    content = {JSON: {"schema": {"$ref": SCHEMA.format(name="Errors")}}}
    headers = {"headers": header("Retry-After")} if status in _LATER else {}
    return {"description": REFUSALS[status], **headers, "content": content}


def header(name: str) -> dict[str, Any]:
    """A header of an answer, by what `HEADERS` say of it."""
    return {name: {"$ref": f"#/components/headers/{name}"}}


def common(name: str) -> dict[str, Any]:
    """A parameter, by what `PARAMETERS` say of it."""
    return {"$ref": f"#/components/parameters/{name}"}


def query(name: str, schema: Schema, description: str = "") -> dict[str, Any]:
    """A parameter of the query."""
    return _parameter(name, "query", schema, description)


def _parameter(name: str, place: str, schema: Schema, description: str) -> dict[str, Any]:
    described = {"description": description} if description else {}
    return {"name": name, "in": place, "schema": schema, **described}


HEADERS: Mapping[str, Any] = {
    "ETag": {
        "description": "Changes with what is shown; lists that are not paged have none.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds after which it may go well, where that is known.",
        "schema": {"type": "integer", "minimum": 1},
    },
}
# `NotModified` is the phrase of 304.
NOT_MODIFIED: Mapping[str, Any] = {
    "NotModified": {"description": "It is what you have already.", "headers": header("ETag")}
}

PAGING: Mapping[str, Any] = {
    "page": query("page", {"type": "integer", "minimum": 1}, f"{DEFAULT_SIZE} to the page."),
    "page_size": query(
        "page_size",
        {"type": ["integer", "string"]},
        f"0 turns paging off, more than {MOST_SIZE} is cut to it, nonsense is left out.",
    ),
}
PARAMETERS: Mapping[str, Any] = {
    **PAGING,
    "idempotency_key": _parameter(
        idempotency.HEADER,
        "header",
        {"type": "string", "pattern": idempotency.PATTERN},
        "Made up by the client: the same request with the same key has its effect once, and"
        f" for 24 hours the same answer, marked `{idempotency.REPLAYED}: true`.",
    ),
    "if_none_match": _parameter(
        "If-None-Match",
        "header",
        {"type": "string"},
        "ETags of what you have, or `*`: what is still so is answered 304, without a body.",
    ),
    "if_match": _parameter(
        "If-Match",
        "header",
        {"type": "string"},
        "ETags of what you have seen, or `*`: it happens only to what is still so.",
    ),
}

ERRORS: Mapping[str, Any] = {
    "Errors": {
        "type": "object",
        "description": f"What is wrong, by field; `{WHOLE}` for what is about no field.",
        "required": ["errors"],
        "properties": {
            "errors": {
                "type": "array",
                "minItems": 1,
                "maxItems": 1,
                "items": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["message", "code"],
                            "properties": {
                                "message": {"type": "string"},
                                "code": {"type": "string"},
                            },
                        },
                    },
                },
            }
        },
    }
}
