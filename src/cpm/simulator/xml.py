"""Answers in XML, written by the shapes of botocore's models.

A writer is compiled once per shape; a key that the API does not have is an error here, not a
silently missing element at the client. Fast enough for a thousand instances in tens of
milliseconds, which moto's serializer is not.
"""

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from cpm.simulator import models
from cpm.simulator.web import Answer

Writer = Callable[[list[str], Any], None]

_EC2_NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"


def answer(service: str, operation: str, result: Mapping[str, Any]) -> Answer:
    """`result`, by the names of the API reference, as the service writes it."""
    out: list[str] = ['<?xml version="1.0" encoding="UTF-8"?>']
    request_id = str(uuid.uuid4())
    if models.protocol_of(service) == "ec2":
        out.append(f'<{operation}Response xmlns="{_EC2_NAMESPACE}">')
        out.append(f"<requestId>{request_id}</requestId>")
        _write_output(out, service, operation, result)
    else:
        out.append(f"<{operation}Response><{operation}Result>")
        _write_output(out, service, operation, result)
        out.append(f"</{operation}Result><ResponseMetadata>")
        out.append(f"<RequestId>{request_id}</RequestId></ResponseMetadata>")
    out.append(f"</{operation}Response>")
    return Answer(200, "".join(out).encode(), [("Content-Type", "text/xml;charset=UTF-8")])


def _write_output(out: list[str], service: str, operation: str, result: Mapping[str, Any]) -> None:
    shape = models.operation(service, operation).output_shape
    if shape is not None:
        _writer(_Shape(service, shape))(out, result)
    elif service == "ec2":
        out.append("<return>true</return>")


class _Shape:
    """A botocore shape that can be a cache key."""

    def __init__(self, service: str, shape: Any) -> None:
        self.service = service
        self.shape = shape

    def __hash__(self) -> int:
        return hash((self.service, self.shape.name))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Shape)
            and self.service == other.service
            and self.shape.name == other.shape.name
        )


@cache
def _writer(shape: _Shape) -> Writer:
    match shape.shape.type_name:
        case "structure":
            return _structure_writer(shape)
        case "list":
            return _list_writer(shape)
        case "boolean":
            return lambda out, value: out.append("true" if value else "false")
        case "timestamp":
            return lambda out, value: out.append(iso(value))
        case "string":
            return lambda out, value: out.append(escape(str(value)))
        case _:
            return lambda out, value: out.append(str(value))


def _structure_writer(shape: _Shape) -> Writer:
    members: dict[str, tuple[str, str, Writer]] = {}
    for name, member in shape.shape.members.items():
        element = member.serialization.get("name", name)
        flattened = bool(member.serialization.get("flattened"))
        opening, closing = ("", "") if flattened else (f"<{element}>", f"</{element}>")
        members[name] = (opening, closing, _late_writer(_Shape(shape.service, member)))

    def write(out: list[str], value: Mapping[str, Any]) -> None:
        for name, item in value.items():
            if item is None:
                continue
            opening, closing, write_member = members[name]
            out.append(opening)
            write_member(out, item)
            out.append(closing)

    return write


def _late_writer(shape: _Shape) -> Writer:
    # Shapes may contain themselves: a structure's members are compiled when first written.
    compiled: list[Writer] = []

    def write(out: list[str], value: Any) -> None:
        if not compiled:
            compiled.append(_writer(shape))
        compiled[0](out, value)

    return write


def _list_writer(shape: _Shape) -> Writer:
    member = shape.shape.member
    default = "item" if models.protocol_of(shape.service) == "ec2" else "member"
    element = member.serialization.get("name", default)
    opening, closing = f"<{element}>", f"</{element}>"
    write_item = _late_writer(_Shape(shape.service, member))

    def write(out: list[str], values: Any) -> None:
        for value in values:
            out.append(opening)
            write_item(out, value)
            out.append(closing)

    return write


def iso(moment: datetime) -> str:
    """A time as EC2 writes it: UTC, milliseconds. Times without a zone are in UTC already."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds") + "Z"
