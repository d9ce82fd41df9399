"""Where EC2's things are kept: moto's backends, one per account and region.

Instances, networks and tags are moto's own objects. Snapshots, volumes and images are ours and
stand in moto's tables, so that moto's other operations find them; what is ours alone hangs on
the backend too, and is saved and reset with it.
"""

import secrets
from collections.abc import Iterator
from typing import Any

from moto.ec2.models import EC2Backend, ec2_backends


def backend(account: str, region: str) -> EC2Backend:
    """The EC2 of one account in one region, made when it is first asked for."""
    return ec2_backends[account][region]


def neighbours(account: str, region: str) -> Iterator[EC2Backend]:
    """The EC2s of all other accounts that have something in `region`."""
    for other, regions in list(ec2_backends.items()):
        if other != account and region in list(regions.keys()):
            yield regions[region]


def everywhere() -> Iterator[EC2Backend]:
    """Every EC2 that there is."""
    for regions in list(ec2_backends.values()):
        yield from list(regions.values())


def table(ec2: EC2Backend, name: str) -> dict[str, Any]:
    """A table of ours on moto's backend: its own by that name, or a new one."""
    holder: Any = ec2
    if not hasattr(holder, name):
        setattr(holder, name, {})
    found: dict[str, Any] = getattr(holder, name)
    return found


def new_id(prefix: str) -> str:
    """A fresh id as EC2 makes them: `snap-` and 17 hexadecimal digits."""
    return f"{prefix}-{secrets.token_hex(9)[:17]}"


def zones(ec2: EC2Backend) -> list[str]:
    """The availability zones of the region."""
    return sorted(zone.name for zone in ec2.describe_availability_zones())
