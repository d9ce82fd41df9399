"""Answers as each service writes them: XML, or JSON; of dictionaries of ours and objects of moto's.

EC2 and STS answer in dictionaries and have large lists: they have a writer of our own. All others
answer with moto's serializers, which find the members of a shape in moto's objects too.
"""

from collections.abc import Mapping
from typing import Any

from moto.core.serialize import XFormedAttributePicker, get_serializer_class

from cpm.simulator import models, xml
from cpm.simulator.web import Answer

_OWN_WRITER = ("ec2", "sts")


def answer(service: str, operation: str, result: Mapping[str, Any]) -> Answer:
    """`result`, by the names of the API reference, as the service writes it."""
    if service in _OWN_WRITER:
        return xml.answer(service, operation, result)
    kind = get_serializer_class(service, models.protocol_of(service))
    serializer = kind(models.operation(service, operation), value_picker=XFormedAttributePicker())
    written = serializer.serialize(result)
    body = written["body"]
    content = body.encode() if isinstance(body, str) else bytes(body)
    headers = [(name, str(value)) for name, value in written["headers"].items()]
    return Answer(written["status_code"], content, headers)
