"""What answers are promised to look like: the OpenAPI document, asked in tests."""

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # has no types

from cpm.api.openapi import document
from cpm.api.routes import OPERATIONS
from cpm.api.shapes import encode
from cpm.api.versions import Version

_STRICT = {"additionalProperties": False}


def of_version(version: str) -> Any:
    """The document as clients get it."""
    return json.loads(encode(document(OPERATIONS, Version(version))))


def check(answer: Any, schema_name: str, version: str = "1.2.0") -> None:
    """Fail unless `answer` is what the document calls by this name, and nothing more."""
    described = of_version(version)
    for schema in described["components"]["schemas"].values():
        if "properties" in schema:
            schema.update(_STRICT)
    schema = {"$ref": f"#/components/schemas/{schema_name}", **described}
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(schema, format_checker=checker).validate(answer)
