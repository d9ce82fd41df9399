"""The OpenAPI document of the API: what the operations declare, in the words of OpenAPI 3.1.

Each version of the API has its own, without what came later. Nothing in it is written twice: paths
and bodies are what the router and the services read, answers are the structs that are sent.
"""

import inspect
from collections.abc import Iterable, Iterator
from datetime import datetime
from http import HTTPStatus
from typing import Any, get_args, get_type_hints

import msgspec
from django.db.models import TextChoices
from msgspec import Struct, UnsetType

from cpm.api import links
from cpm.api.bodies import JSON, MULTIPART, URLENCODED
from cpm.api.lists import Listing
from cpm.api.negotiation import CSV
from cpm.api.openapi_parts import (
    ERRORS,
    HEADERS,
    NOT_MODIFIED,
    PAGING,
    PARAMETERS,
    REFUSALS,
    SCHEMA,
    common,
    header,
    query,
    refusal,
)
from cpm.api.operations import Operation
from cpm.api.shapes import since
from cpm.api.versions import Version
from cpm.services.fields import Field, Fields, Schema

_TITLE = "Cloud Protection Manager"
_DESCRIPTION = (
    "Protects AWS accounts: policies, schedules, snapshots, recovery.\n\n"
    "The version is chosen by the Accept header: application/json; version={version}."
)

_SUCCESSES = {
    200: "Done.",
    201: "Created, or begun.",
    204: "Done; nothing to say.",
}
_DRY_RUN = "A dry run: what would be done."


def document(operations: Iterable[Operation], version: Version) -> dict[str, Any]:
    """The document of one version of the API."""
    known = [operation for operation in operations if operation.since <= version]
    paths: dict[str, dict[str, Any]] = {}
    for operation in known:
        described = _operation(operation)
        if leads_to := links.of(operation, known):
            described["responses"][str(operation.status)]["links"] = leads_to
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": _TITLE,
            "version": version.value,
            "description": _DESCRIPTION.format(version=version.value),
        },
        "servers": [{"url": "/api"}],
        "security": [{"token": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {**_structs(known, version), **_pages(known), **_bodies(known), **ERRORS},
            "responses": {**NOT_MODIFIED, **{_phrase(one): refusal(one) for one in REFUSALS}},
            "headers": HEADERS,
            "parameters": PARAMETERS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    summary, _, description = (inspect.getdoc(operation.view) or "").partition("\n")
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.path.split("/")[1]],
        "summary": summary.strip().removesuffix("."),
        "x-since": operation.since.value,
    }
    if description.strip():
        described["description"] = description.strip()
    if parameters := list(_parameters(operation)):
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = _request_body(operation)
    if operation.action is None:
        described["security"] = []
    return {**described, "responses": _responses(operation)}


def _parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    for part in operation.path.split("/"):
        if part.startswith("{"):
            schema = {"type": "integer", "format": "int64"}
            yield {"name": part[1:-1], "in": "path", "required": True, "schema": schema}
    if _may_be_keyed(operation):
        yield common("idempotency_key")
    if _is_tagged(operation):
        yield common("if_none_match")
    if _may_depend(operation):
        yield common("if_match")
    for name, schema in operation.parameters.items():
        yield query(name, schema)
    if operation.listing is not None:
        yield from _list_parameters(operation.listing)


def _list_parameters(listing: Listing[Any]) -> Iterator[dict[str, Any]]:
    for name, one in listing.filters.items():
        default = {"default": one.default} if one.default else {}
        yield query(name, {**one.schema, **default})
    if listing.search:
        found = "Words that must all be found, whatever their case."
        yield query("search", {"type": "string"}, found)
    if listing.ordering:
        keys = f"Comma-separated, `-` for descending: {', '.join(listing.ordering)}."
        yield query("ordering", {"type": "string"}, keys)
    yield from map(common, PAGING)


def _may_be_keyed(operation: Operation) -> bool:
    """Whether an idempotency key is heeded: of those whom the server knows."""
    return operation.method == "POST" and operation.action is not None


def _is_tagged(operation: Operation) -> bool:
    """Whether what it shows has an ETag: an object, or a page."""
    return operation.method == "GET" and JSON in operation.produces


def _may_depend(operation: Operation) -> bool:
    """Whether it happens only to what `If-Match` names: what can be read at the same address."""
    is_about_one = operation.path.endswith("}/")
    return operation.method == "PUT" or (operation.method == "DELETE" and is_about_one)


def _request_body(operation: Operation) -> dict[str, Any]:
    schema = _ref(_body_name(operation))
    required = any(field.required for field in operation.body or ()) and operation.method == "POST"
    content = {media: {"schema": schema} for media in (JSON, URLENCODED, MULTIPART)}
    return {"required": required, "content": content}


def _body_name(operation: Operation) -> str:
    return "".join(word.capitalize() for word in operation.name.split("_")) + "Body"


def _bodies(operations: Iterable[Operation]) -> dict[str, Schema]:
    return {
        _body_name(operation): _object(operation.body, is_partial=operation.method == "PUT")
        for operation in operations
        if operation.body is not None
    }


def _object(fields: Fields, *, is_partial: bool) -> Schema:
    used = [field for field in fields if not (is_partial and field.fixed)]
    required = [field.name for field in used if field.required and not is_partial]
    schema: Schema = {
        "type": "object",
        "properties": {field.name: _property(field) for field in used},
    }
    return {**schema, "required": required} if required else schema


def _property(field: Field) -> Schema:
    inner = field.kind.nested
    schema = _object(inner, is_partial=True) if inner else dict(field.kind.schema)
    if field.nullable:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        schema["type"] = [*types, "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    if field.description:
        schema["description"] = field.description
    return schema


def _responses(operation: Operation) -> dict[str, Any]:
    responses = {str(operation.status): _success(operation)}
    if operation.status == HTTPStatus.NO_CONTENT and operation.answer is not None:
        content = {JSON: {"schema": _answer(operation)}}
        responses = {"200": {"description": _DRY_RUN, "content": content}, **responses}
    for status in _refusals(operation):
        responses[str(status)] = {"$ref": f"#/components/responses/{_phrase(status)}"}
    return responses


def _success(operation: Operation) -> dict[str, Any]:
    response: dict[str, Any] = {"description": _SUCCESSES[operation.status]}
    if _is_tagged(operation) or operation.method == "PUT":
        response["headers"] = header("ETag")
    if operation.status == HTTPStatus.NO_CONTENT:
        return response
    content: dict[str, Any] = {}
    for media in operation.produces:
        if media == CSV:
            content[CSV] = {"schema": {"type": "string"}}
        elif (schema := _answer(operation)) is not None:
            content[media] = {"schema": schema}
    return {**response, "content": content} if content else response


def _answer(operation: Operation) -> Schema | None:
    if operation.listing is not None:
        name = operation.listing.shape.struct.__name__
        return {"anyOf": [{"type": "array", "items": _ref(name)}, _ref(_page_name(name))]}
    if operation.answer is None:
        return None
    one = _ref(operation.answer.__name__)
    return {"type": "array", "items": one} if operation.is_array else one


def _page_name(name: str) -> str:
    return f"{name}Page"


def _pages(operations: Iterable[Operation]) -> dict[str, Schema]:
    names = {one.listing.shape.struct.__name__ for one in operations if one.listing}
    return {_page_name(name): _page(_ref(name)) for name in sorted(names)}


def _page(item: Schema) -> Schema:
    address = {"type": ["string", "null"], "format": "uri"}
    return {
        "type": "object",
        "required": ["count", "next", "previous", "results"],
        "properties": {
            "count": {"type": "integer"},
            "next": address,
            "previous": address,
            "results": {"type": "array", "items": item},
        },
    }


def _refusals(operation: Operation) -> Iterator[int]:
    is_read = operation.method == "GET"
    if _is_tagged(operation):
        yield 304
    if not is_read or operation.listing is not None or operation.parameters:
        yield 400
    yield 401
    yield 429 if operation.action is None else 403
    if "{" in operation.path or operation.listing is not None:
        yield 404
    yield 406
    if not is_read and operation.action is not None:
        yield 409
    if _may_depend(operation):
        yield 412
    if operation.body is not None:
        yield from (413, 415)
    if _may_be_keyed(operation):
        yield 422
    yield 503


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")


def _ref(name: str) -> Schema:
    return {"$ref": SCHEMA.format(name=name)}


def _structs(operations: Iterable[Operation], version: Version) -> dict[str, Schema]:
    """Every struct that is sent, by name, as this version shows it."""
    operations = list(operations)
    sent = {one.answer for one in operations if one.answer}
    sent |= {one.listing.shape.struct for one in operations if one.listing}
    ordered = sorted(sent, key=lambda struct: struct.__name__)
    _refs, components = msgspec.json.schema_components(
        ordered, ref_template=SCHEMA, schema_hook=_choices
    )
    for struct in _with_inner(ordered):
        # A name that is not there has been taken twice: then each needs one of its own.
        _adapt(components[struct.__name__], struct, version)
    return dict(sorted(components.items()))


def _choices(kind: type) -> Schema:
    """What the letters of a column stand for."""
    if not issubclass(kind, TextChoices):
        raise NotImplementedError
    meanings = ", ".join(f"`{value}` {label}" for value, label in kind.choices)
    return {"type": "string", "enum": list(kind.values), "description": meanings}


def _with_inner(structs: Iterable[type[Struct]]) -> Iterator[type[Struct]]:
    """The structs and those that they hold."""
    for struct in structs:
        yield struct
        for hint in get_type_hints(struct).values():
            yield from _with_inner(_structs_in(hint))


def _structs_in(hint: object) -> Iterator[type[Struct]]:
    if isinstance(hint, type) and issubclass(hint, Struct):
        yield hint
    for inner in get_args(hint):
        yield from _structs_in(inner)


def _adapt(schema: Schema, struct: type[Struct], version: Version) -> None:
    """Take out what came later, do not require what may be left out, and tell times from texts."""
    hints = get_type_hints(struct, include_extras=True)
    bare = get_type_hints(struct)
    later = {name for name, hint in hints.items() if since(hint) > version}
    optional = {name for name, hint in bare.items() if UnsetType in get_args(hint)}
    for name in later:
        schema["properties"].pop(name, None)
    for name in bare.keys() - later:
        if datetime in (bare[name], *get_args(bare[name])):
            shown = schema["properties"][name]
            shown.get("anyOf", [shown])[0]["format"] = "date-time"
    schema["required"] = [name for name in hints if name not in later | optional]
