"""AWS's errors, and how each family of services words and wraps them on the wire."""

import json
import uuid
from collections.abc import Mapping
from enum import StrEnum
from xml.sax.saxutils import escape

from cpm.simulator import models
from cpm.simulator.web import Answer


class AwsError(Exception):
    """An error as AWS answers it: a stable code, a message, an HTTP status.

    `details` are further members that a JSON service's error has.
    """

    def __init__(
        self,
        code: str,
        message: str,
        status: int = 400,
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.details = details or {}


class Family(StrEnum):
    """Services that word their common errors alike."""

    EC2 = "ec2"
    QUERY = "query"
    S3 = "s3"
    JSON = "json"


def family_of(service: str) -> Family:
    """The family of the service with this signing name."""
    if service == "ec2":
        return Family.EC2
    match models.protocol_of(service):
        case "query":
            return Family.QUERY
        case "rest-xml":
            return Family.S3
        case _:
            return Family.JSON


def answer(error: AwsError, service: str) -> Answer:
    """`error` in the wire format of `service`."""
    request_id = str(uuid.uuid4())
    code, message = escape(error.code), escape(error.message)
    match family_of(service):
        case Family.EC2:
            body = (
                '<?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error>'
                f"<Code>{code}</Code><Message>{message}</Message></Error></Errors>"
                f"<RequestID>{request_id}</RequestID></Response>"
            )
        case Family.QUERY:
            side = "Sender" if error.status < 500 else "Receiver"
            body = (
                f"<ErrorResponse><Error><Type>{side}</Type><Code>{code}</Code>"
                f"<Message>{message}</Message></Error><RequestId>{request_id}</RequestId>"
                "</ErrorResponse>"
            )
        case Family.S3:
            body = (
                '<?xml version="1.0" encoding="UTF-8"?><Error>'
                f"<Code>{code}</Code><Message>{message}</Message>"
                f"<RequestId>{request_id}</RequestId></Error>"
            )
        case Family.JSON:
            return _json_answer(error, request_id)
    return Answer(error.status, body.encode(), [("Content-Type", "text/xml;charset=UTF-8")])


def _json_answer(error: AwsError, request_id: str) -> Answer:
    headers = [
        ("Content-Type", "application/x-amz-json-1.0"),
        ("x-amzn-ErrorType", error.code),
        ("x-amzn-RequestId", request_id),
    ]
    body = json.dumps({"__type": error.code, "message": error.message, **error.details})
    return Answer(error.status, body.encode(), headers)
