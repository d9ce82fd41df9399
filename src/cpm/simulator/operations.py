"""Which call a request is: service, operation, region, and whose key signed it."""

import re
from dataclasses import dataclass

from cpm.simulator import ebs_requests, models
from cpm.simulator.web import Request

_SIGNATURE = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<key>[^/,]+)/(?P<date>\d{8})/(?P<region>[^/,]+)"
    r"/(?P<service>[^/,]+)/aws4_request,\s*SignedHeaders=(?P<headers>[^,]+),"
    r"\s*Signature=(?P<signature>[0-9a-f]+)"
)

UNKNOWN = "Unknown"

# Where IAM, and with it counts and faults, does not call a service as its signature does.
_IAM_PREFIXES = {"tagging": "tag"}


@dataclass(frozen=True)
class Signature:
    """What a request claims about its signer, before anything of it is believed."""

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str


@dataclass(frozen=True)
class Operation:
    """One operation of one service in one region, as counts and faults name it."""

    service: str
    name: str
    region: str

    def __str__(self) -> str:
        return f"{self.service}:{self.name}"


def signature_of(request: Request) -> Signature | None:
    """The signature in the Authorization header; None for unsigned and presigned requests."""
    found = _SIGNATURE.match(request.headers.get("authorization", ""))
    if found is None:
        return None
    return Signature(
        access_key_id=found["key"],
        date=found["date"],
        region=found["region"],
        service=found["service"],
        signed_headers=tuple(found["headers"].split(";")),
        signature=found["signature"],
    )


def presigner_of(request: Request) -> str | None:
    """The access key id that a presigned URL carries, None when it is not one."""
    if "X-Amz-Credential" not in request.query:
        return None
    return request.parameters()["X-Amz-Credential"].split("/")[0]


def identify(request: Request, signature: Signature | None) -> Operation:
    """The operation that `request` means; unsigned requests are taken for S3's."""
    signed_for = signature.service if signature else "s3"
    service = _IAM_PREFIXES.get(signed_for, signed_for)
    region = signature.region if signature else "us-east-1"
    return Operation(service, _name(service, request), region)


def _name(service: str, request: Request) -> str:
    if service == "ebs":
        return ebs_requests.name_of(request) or UNKNOWN
    target = request.headers.get("x-amz-target")
    if target:
        return target.rsplit(".", 1)[-1]
    if models.protocol_of(service) in ("ec2", "query"):
        return request.parameters().get("Action", UNKNOWN)
    return models.routed_operation(service, request) or UNKNOWN
