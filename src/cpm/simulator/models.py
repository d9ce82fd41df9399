"""botocore's descriptions of AWS's services, as moto loads them: the truth about names and shapes.

Everything that must agree with a real client (which operations exist, how parameters are laid
out, how answers are spelt) is read from here, so that it cannot drift from botocore.
"""

from functools import cache
from typing import Any

from botocore.exceptions import UnknownServiceError
from botocore.loaders import Loader
from moto.core.model import OperationModel, ServiceModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request as MotoRequest
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model
from werkzeug.datastructures import Headers, MultiDict
from werkzeug.exceptions import NotFound

from cpm.simulator.web import Request

# Where the name in a signature is not the name of botocore's model.
_MODEL_NAMES = {
    "email": "ses",
    "monitoring": "cloudwatch",
    "states": "stepfunctions",
    "tag": "resourcegroupstaggingapi",
}


@cache
def service(signing_name: str) -> ServiceModel | None:
    """The description of the service that signs as `signing_name`, None when there is none."""
    name = _MODEL_NAMES.get(signing_name, signing_name)
    if name not in _service_names():
        return None
    try:
        return get_service_model(name)
    except UnknownServiceError:
        return None


@cache
def operation(signing_name: str, name: str) -> OperationModel:
    """The description of one operation; raises KeyError when there is none."""
    found = service(signing_name)
    if found is None or name not in found.operation_names:
        raise KeyError(f"{signing_name}:{name}")
    model: OperationModel = found.operation_model(name)
    return model


def protocol_of(signing_name: str) -> str:
    """The protocol that clients speak with this service (`ec2`, `query`, `json`, ...)."""
    found = service(signing_name)
    if found is None:
        return "json"
    # Of several that a service speaks, clients choose one that moto reads as well.
    spoken = found.metadata.get("protocols", [found.protocol])
    return next((str(name) for name in spoken if name in PROTOCOL_PARSERS), "json")


def parse(signing_name: str, name: str, request: Request) -> dict[str, Any]:
    """The parameters of `request`, by the names and types of the API reference."""
    model = operation(signing_name, name)
    parser = PROTOCOL_PARSERS[protocol_of(signing_name)](model, map_type=dict)
    parsed: dict[str, Any] = parser.parse(
        {
            "method": request.method,
            "values": MultiDict(request.parameters()),
            "headers": Headers(request.headers.items()),
            "body": request.body,
            "url_path": request.path,
            "url_params": {},
        }
    )
    return parsed


def routed_operation(signing_name: str, request: Request) -> str | None:
    """The operation that a REST request means by its method and path, None when nothing fits."""
    found = service(signing_name)
    if found is None:
        return None
    try:
        router = get_service_router(str(found.service_name))
        matched, _ = router.match(MotoRequest(request.environment))
    except (NotFound, NotImplementedError):
        return None
    return str(matched.name)


@cache
def _service_names() -> frozenset[str]:
    return frozenset(Loader().list_available_services("service-2"))
