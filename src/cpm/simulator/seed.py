"""Estates in bulk: thousands of instances with their volumes, in seconds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from moto.ec2.models import EC2Backend
from moto.ec2.models.instances import Instance

from cpm.simulator import (
    ec2_attachments,
    ec2_base_image,
    ec2_state,
    ec2_tags,
    ec2_traits,
    ec2_volumes,
    rds_seed,
)

_INSTANCES_PER_ZONE = 1000
_CHUNK = 250
_SMALLEST_GIB = 8


class BadSeed(ValueError):
    """An estate that cannot be; the text says why."""


@dataclass(frozen=True)
class Estate:
    """What to make, in one account and region; `tags` go on everything."""

    account: str
    region: str = "us-east-1"
    instances: int = 0
    volumes_per: int = 1
    standalone: int = 0
    databases: int = 0
    clusters: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    name: str = "server"
    # Of the instances: `windows`, or nothing.
    platform: str = ""


def parse(value: Any) -> Estate:
    """The estate in a JSON object; raises BadSeed."""
    known = {item.name for item in fields(Estate)}
    if not isinstance(value, dict) or not set(value) <= known:
        raise BadSeed(f"a seed is an object with {', '.join(sorted(known))}")
    if not str(value.get("account", "")).isdigit():
        raise BadSeed("a seed needs the number of an account")
    for name in ("instances", "volumes_per", "standalone", "databases", "clusters"):
        if not isinstance(value.get(name, 0), int) or value.get(name, 0) < 0:
            raise BadSeed(f"{name} is a number, 0 or more")
    return Estate(**{**value, "account": str(value["account"])})


def plant(estate: Estate) -> dict[str, Any]:
    """Make the estate and answer its ids, by what they are; `volumes` are by instance."""
    ec2 = ec2_state.backend(estate.account, estate.region)
    zones = ec2_state.zones(ec2)
    volumes = {
        instance.id: _equip(ec2, instance, estate, number)
        for number, instance in enumerate(_launch(ec2, estate, zones), start=1)
    }
    standalone = [_standalone(ec2, estate, zones[0], n) for n in range(1, estate.standalone + 1)]
    where = (estate.account, estate.region)
    return {
        "instances": list(volumes),
        "volumes": volumes,
        "standalone": standalone,
        "databases": rds_seed.plant_databases(*where, estate.databases, estate.name, estate.tags),
        "clusters": rds_seed.plant_clusters(*where, estate.clusters, estate.name, estate.tags),
    }


def _launch(ec2: EC2Backend, estate: Estate, zones: list[str]) -> Iterator[Instance]:
    subnets = {zone: subnet.id for zone, subnet in ec2.get_default_subnets().items()}
    for first in range(0, estate.instances, _CHUNK):
        zone = zones[first // _INSTANCES_PER_ZONE % len(zones)]
        reservation = ec2.run_instances(
            image_id=ec2_base_image.ID,
            count=min(_CHUNK, estate.instances - first),
            user_data=None,
            security_group_names=[],
            instance_type="t3.micro",
            is_instance_type_default=False,
            placement=zone,
            region_name=estate.region,
            subnet_id=subnets[zone],
            block_device_mappings=[],
        )
        yield from reservation.instances


def _equip(ec2: EC2Backend, instance: Instance, estate: Estate, number: int) -> list[str]:
    name = f"{estate.name}-{number:05d}"
    ec2_tags.put(ec2, instance.id, {"Name": name, **estate.tags})
    instance.root_device_name = ec2_base_image.ROOT_DEVICE
    ec2_traits.give(instance, ec2_base_image.TRAITS)
    for nic in instance.nics.values():
        nic.delete_on_termination = True
    if estate.platform:
        instance.platform = estate.platform
    ids = []
    for position in range(estate.volumes_per):
        device = (
            ec2_base_image.ROOT_DEVICE if position == 0 else f"/dev/sd{chr(ord('e') + position)}"
        )
        size = _SMALLEST_GIB * (position + 1)
        zone = str(instance.availability_zone)
        volume = ec2_volumes.make_blank(ec2, zone, size, "gp3")
        ec2_attachments.attach(volume, instance, device, delete=position == 0)
        ec2_tags.put(ec2, volume.id, {"Name": f"{name} {device}", **estate.tags})
        ids.append(volume.id)
    return ids


def _standalone(ec2: EC2Backend, estate: Estate, zone: str, number: int) -> str:
    volume = ec2_volumes.make_blank(ec2, zone, _SMALLEST_GIB, "gp3")
    ec2_tags.put(ec2, volume.id, {"Name": f"{estate.name}-volume-{number:05d}", **estate.tags})
    return volume.id
