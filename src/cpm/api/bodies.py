"""Request bodies: bytes of one of three types become the plain values that services read.

JSON is taken as it is. Forms are flat lists of texts, so what a service declares about its fields
says how to read them: repeated keys are an array, dotted keys or a JSON text an object.
"""

from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, UnreadablePostError
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from cpm.api.refusals import TooLarge, UnsupportedMediaType
from cpm.kernel.invalid import Invalid, Problem
from cpm.services.fields import Field, Fields, Kind
from cpm.services.kinds import type_name

MOST_DEPTH = 64
MOST_FORM_KEYS = 1000

_MOST_DRAINED = 64 * 1024 * 1024
_DRAINED_AT_ONCE = 64 * 1024

JSON = "application/json"
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"

Data = Mapping[str, object]
_Form = dict[str, list[str]]


def read(request: HttpRequest, fields: Fields) -> Data:
    """The values of a body. Raises `UnsupportedMediaType`, `TooLarge`, and `Invalid` for what
    cannot be understood at all; what is wrong with single values is for the services to say.
    """
    content_type = (request.content_type or "").lower()
    raw = None if _length(request) else _bytes(request)
    if raw == b"":
        return {}
    if content_type not in {JSON, URLENCODED, MULTIPART}:
        raise UnsupportedMediaType(content_type)
    raw = raw or _bytes(request)
    if content_type == JSON:
        return from_json(raw)
    return _from_form(
        _multipart(request, raw) if content_type == MULTIPART else _pairs(raw), fields
    )


def read_leniently(request: HttpRequest, fields: Fields) -> Data:
    """The values of a body whatever it says it is: JSON if it looks like it, else a form."""
    raw = _bytes(request)
    if (request.content_type or "").lower() == MULTIPART:
        return _from_form(_multipart(request, raw), fields)
    if raw.lstrip()[:1] in {b"{", b"["}:
        return from_json(raw)
    return _from_form(_pairs(raw), fields)


def keep(request: HttpRequest) -> bytes:
    """The whole body, which whoever comes next can read as if nobody had. Raises `TooLarge`."""
    raw = _bytes(request)
    request._stream = request.META["wsgi.input"] = BytesIO(raw)  # noqa: SLF001 - as Django does
    return raw


def drain(request: HttpRequest) -> None:
    """Take in what nobody has read: many clients listen for an answer only after their last byte.

    What is beyond all measure is left, and the connection with it.
    """
    if not _length(request) and "Transfer-Encoding" not in request.headers:
        return
    stream = _stream(request)
    with suppress(UnreadablePostError):
        for _ in range(_MOST_DRAINED // _DRAINED_AT_ONCE):
            if not stream.read(_DRAINED_AT_ONCE):
                return


def from_json(raw: bytes) -> Data:
    """The object that a JSON text holds."""
    if not raw:
        return {}
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(f"JSON parse error - {error}") from None
    if _is_deeper_than(MOST_DEPTH, value):
        raise _unreadable(f"JSON parse error - nested deeper than {MOST_DEPTH}")
    if not isinstance(value, dict):
        message = f"Invalid data. Expected a dictionary, but got {type_name(value)}."
        raise Invalid(Problem("invalid", message))
    return value


def _length(request: HttpRequest) -> int | None:
    """How long the body says it is."""
    length = request.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _bytes(request: HttpRequest) -> bytes:
    """The whole body; one that says it is too long is not read at all."""
    most = settings.ENVIRONMENT.max_body_bytes
    length = _length(request)
    if length is not None and length > most:
        raise TooLarge(most)
    try:
        raw: bytes = _stream(request).read(most + 1)
    except UnreadablePostError as error:
        raise _unreadable(f"The body broke off - {error}") from None
    if len(raw) > most:
        raise TooLarge(most)
    return raw


def _stream(request: HttpRequest) -> Any:
    """The body to read from; Django takes one that does not tell its length for an empty one."""
    return request if _length(request) is not None else request.META["wsgi.input"]


def _pairs(raw: bytes) -> _Form:
    form: _Form = {}
    try:
        text = raw.decode()
        pairs = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FORM_KEYS
        )
    except ValueError as error:
        raise _unreadable(f"Form parse error - {error}") from None
    for key, value in pairs:
        form.setdefault(key, []).append(value)
    return form


def _multipart(request: HttpRequest, raw: bytes) -> _Form:
    try:
        meta = {**request.META, "CONTENT_LENGTH": str(len(raw))}
        parser = MultiPartParser(meta, BytesIO(raw), request.upload_handlers, "utf-8")
        values, _files = parser.parse()
    except (MultiPartParserError, SuspiciousOperation) as error:
        raise _unreadable(f"Multipart form parse error - {error}") from None
    return {key: [str(value) for value in values.getlist(key)] for key in values}


def _from_form(form: _Form, fields: Fields) -> Data:
    """The values that a form holds for these fields; what is not there is not there."""
    data: dict[str, object] = {}
    for field in fields:
        name = field.sent_as(form)
        if name is not None:
            data[field.name] = _value(field, form[name])
        elif field.kind.nested:
            _set_nested(data, field, field.kind.nested, form)
    return data


def _set_nested(data: dict[str, object], field: Field, inner: Fields, form: _Form) -> None:
    """Gather the dotted keys of one object."""
    prefix = f"{field.name}."
    dotted = {key.removeprefix(prefix): form[key] for key in form if key.startswith(prefix)}
    if dotted:
        data[field.name] = _from_form(dotted, inner)


def _value(field: Field, texts: list[str]) -> object:
    schema = field.kind.schema
    match schema["type"]:
        case "array":
            return _array(field.kind, texts)
        case "object":
            return _json_text(texts[-1])
        case "string" if not {"format", "enum"}.intersection(schema):
            return texts[-1]
        case _:
            return None if field.nullable and not texts[-1].strip() else texts[-1]


def _array(kind: Kind, texts: list[str]) -> Any:
    """Repeated keys are the items; a single text may also be nothing, or the array in JSON."""
    if texts == [""]:
        return []
    if len(texts) == 1 and texts[0].lstrip().startswith("["):
        return _json_text(texts[0])
    if kind.schema["items"]["type"] == "object":
        return [_json_text(text) for text in texts]
    return texts


def _json_text(text: str) -> object:
    """The value that a text holds in JSON, or the text itself, which is then told to be wrong."""
    try:
        value: object = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return text
    return text if _is_deeper_than(MOST_DEPTH, value) else value


def _is_deeper_than(most: int, value: object) -> bool:
    layer = [value]
    for _ in range(most):
        layer = [item for one in layer for item in _containers(one)]
    return bool(layer)


def _containers(value: object) -> list[object]:
    """The objects and arrays that lie directly in a value."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, dict | list)]


def _unreadable(message: str) -> Invalid:
    return Invalid(Problem("parse_error", message))
