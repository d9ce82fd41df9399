"""AWS as the owner of an account sees it, beside the product.

To make a client of the SDK takes longer than most tests call AWS: all accounts share those of a
service and region.
"""

from functools import lru_cache
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from cpm.aws.callers import Caller, signed_by
from cpm.aws.credentials import Keys
from cpm.simulator.process import Credentials

_sdk = botocore.session.Session()
_sdk.register_component("credential_provider", Caller())
_session = boto3.session.Session(botocore_session=_sdk)


class Owned:
    """What makes a client that all share one of somebody's."""

    keys: Keys

    def _make_api_call(self, name: str, parameters: Any) -> Any:
        with signed_by(self.keys):
            return super()._make_api_call(name, parameters)  # type: ignore[misc]  # a client's


def client(
    endpoint: str,
    service: str,
    keys: Credentials,
    region: str = "us-east-1",
    *,
    token: str = "",
    config: Config | None = None,
) -> Any:
    """A client for whoever has these keys; a `config` is to be the same one each time."""
    shared, kind = _shared(endpoint, service, region, config)
    made: Any = object.__new__(kind)
    known = Keys(keys.access_key_id, keys.secret_access_key, token or None)
    vars(made).update(vars(shared), keys=known)
    return made


@lru_cache(maxsize=100)
def _shared(endpoint: str, service: str, region: str, config: Config | None) -> tuple[Any, type]:
    made: Any = _session.client(
        service,  # type: ignore[call-overload]  # whichever the test wants
        region_name=region,
        endpoint_url=endpoint,
        config=config,
    )
    return made, type(f"Owned{type(made).__name__}", (Owned, type(made)), {})
