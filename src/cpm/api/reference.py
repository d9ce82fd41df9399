"""The OpenAPI document as a page to read: plain HTML without scripts, from this server alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.template import Context, Engine

from cpm.api.negotiation import JSON

_PAGE = Engine(dirs=[str(Path(__file__).parent / "templates")]).get_template("reference.html")


def page(document: Mapping[str, Any]) -> str:
    """The page of one version's document."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            shown = _operation(method, path, _resolved(operation, document["components"]))
            groups.setdefault(operation["tags"][0], []).append(shown)
    schemas = document["components"]["schemas"]
    context = {
        "info": document["info"],
        "groups": dict(sorted(groups.items())),
        "schemas": {name: _fields(schema) for name, schema in schemas.items()},
    }
    return _PAGE.render(Context(context))


def _resolved(operation: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """The operation with what it refers to in place, but for objects, which have their own."""

    def place(one: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
        name = str(one.get("$ref", "")).rpartition("/")[2]
        return components[kind][name] if name else one

    return {
        **operation,
        "parameters": [place(one, "parameters") for one in operation.get("parameters", ())],
        "responses": {
            status: place(one, "responses") for status, one in operation["responses"].items()
        },
    }


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
    return {
        "method": method.upper(),
        "path": f"/api{path}",
        "id": operation["operationId"],
        "summary": operation["summary"],
        "description": operation.get("description", ""),
        "since": operation["x-since"],
        "parameters": [
            _field(one["name"], one["schema"], one.get("description", ""))
            for one in operation["parameters"]
        ],
        "body": _type(body["schema"]) if body else "",
        "responses": [
            {"status": status, "says": response["description"], "shows": _shows(response)}
            for status, response in operation["responses"].items()
        ],
    }


def _fields(schema: Mapping[str, Any]) -> list[dict[str, str]]:
    required = set(schema.get("required", ()))
    return [
        _field(name, one, one.get("description", ""), is_required=name in required)
        for name, one in schema.get("properties", {}).items()
    ]


def _field(
    name: str, schema: Mapping[str, Any], description: str, *, is_required: bool = False
) -> dict[str, str]:
    mark = "*" if is_required else ""
    return {"name": f"{name}{mark}", "type": _type(schema), "description": description}


def _shows(response: Mapping[str, Any]) -> str:
    return ", ".join(_type(media["schema"]) for media in response.get("content", {}).values())


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if "count" in schema.get("properties", {}):
        return "page"
    types = schema.get("type", "any")
    known = types if isinstance(types, str) else " or ".join(types)
    return f"{known} ({schema['format']})" if "format" in schema else known
