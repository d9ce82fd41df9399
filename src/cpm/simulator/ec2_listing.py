"""Eventual listing: what a call has just made is missing from every Describe for a while."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol, TypeVar

from moto.ec2.models import EC2Backend

from cpm.kernel import clock
from cpm.simulator import ec2_state


class _Identified(Protocol):
    id: str


T = TypeVar("T", bound=_Identified)


def hide(ec2: EC2Backend, resource_id: str, listed_at: datetime) -> None:
    """Leave a resource out of every listing until `listed_at`."""
    if listed_at > clock.now():
        _hidden(ec2)[resource_id] = listed_at


def is_listed(ec2: EC2Backend, resource_id: str) -> bool:
    """Whether listings show the resource yet."""
    hidden = _hidden(ec2)
    listed_at = hidden.get(resource_id)
    if listed_at is None:
        return True
    if clock.now() < listed_at:
        return False
    del hidden[resource_id]
    return True


def listed(ec2: EC2Backend, resources: Iterable[T]) -> list[T]:
    """Those of `resources` that listings show yet."""
    if not _hidden(ec2):
        return list(resources)
    return [resource for resource in resources if is_listed(ec2, resource.id)]


def _hidden(ec2: EC2Backend) -> dict[str, datetime]:
    return ec2_state.table(ec2, "unlisted_until")
