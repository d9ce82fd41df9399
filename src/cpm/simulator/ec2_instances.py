"""Instances: moto's own objects, found by id at once and listed in AWS's pages."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from moto.ec2.models import EC2Backend
from moto.ec2.models.instances import Instance, InstanceBackend

from cpm.simulator import ec2_instance_view, ec2_listing, ec2_state, ec2_tags
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.ec2_errors import malformed
from cpm.simulator.ec2_filters import matching
from cpm.simulator.ec2_paging import page, refuse_ids_with_pages
from cpm.simulator.errors import AwsError
from cpm.simulator.patches import replace

_DEFAULT_PAGE = 1000


def install(handlers: Handlers) -> None:
    """List instances as EC2 does; find one by id without a search."""
    handlers.add("ec2", {"DescribeInstances": describe_instances})
    replace(InstanceBackend, "get_instance", _get_instance)
    replace(InstanceBackend, "get_instance_by_id", find)


def find(ec2: EC2Backend, instance_id: str) -> Instance | None:
    """The instance with this id in one account and region."""
    known = ec2_state.table(ec2, "instances_by_id")
    if instance_id not in known:
        for reservation in ec2.reservations.values():
            known.update((instance.id, instance) for instance in reservation.instances)
    return known.get(instance_id)


def own(call: Call, instance_id: str) -> Instance:
    """An instance of the caller's; raises InvalidInstanceID.NotFound."""
    return several(call, [instance_id])[0]


def several(
    call: Call, instance_ids: Iterable[str], accepts: Callable[[Instance], bool] = lambda _: True
) -> list[Instance]:
    """Instances of the caller's that `accepts` lets pass; raises InvalidInstanceID.NotFound."""
    ec2 = ec2_state.backend(call.account, call.region)
    found, unknown = [], []
    for instance_id in dict.fromkeys(instance_ids):
        if not instance_id.startswith("i-"):
            raise malformed("InvalidInstanceID.Malformed", instance_id, "i")
        instance = find(ec2, instance_id)
        if instance is None or not accepts(instance):
            unknown.append(instance_id)
        else:
            found.append(instance)
    if unknown:
        raise _missing(unknown)
    return found


def describe_instances(call: Call) -> Mapping[str, Any]:
    """The caller's instances in pages of instances, grouped by the call that started them."""
    refuse_ids_with_pages(call, "InstanceIds", "instancesSet")
    ec2 = ec2_state.backend(call.account, call.region)
    owners = {
        instance.id: reservation.id
        for reservation in ec2.reservations.values()
        for instance in reservation.instances
    }
    instance_ids = call.get("InstanceIds")
    candidates = _listed_by_ids(call, instance_ids) if instance_ids else _listed(ec2)
    found = matching(
        candidates,
        call.get("Filters", []),
        ec2_instance_view.FIELDS,
        lambda instance: ec2_tags.of(ec2, instance.id),
    )
    default = None if instance_ids else _DEFAULT_PAGE
    instances, token = page(call, found, lambda instance: instance.id, default)
    reservations: dict[str, list[Any]] = {}
    for instance in instances:
        reservations.setdefault(owners[instance.id], []).append(ec2_instance_view.shown(instance))
    return {
        "Reservations": [
            {"ReservationId": reservation_id, "OwnerId": call.account, "Instances": shown}
            for reservation_id, shown in reservations.items()
        ],
        "NextToken": token,
    }


def _listed(ec2: EC2Backend) -> list[Instance]:
    instances = (
        instance for reservation in ec2.reservations.values() for instance in reservation.instances
    )
    return ec2_listing.listed(ec2, instances)


def _listed_by_ids(call: Call, instance_ids: Iterable[str]) -> list[Instance]:
    ec2 = ec2_state.backend(call.account, call.region)
    return several(call, instance_ids, lambda found: ec2_listing.is_listed(ec2, found.id))


def _missing(instance_ids: list[str]) -> AwsError:
    listed = ", ".join(instance_ids)
    text = (
        f"The instance ID '{listed}' does not exist"
        if len(instance_ids) == 1
        else f"The instance IDs '{listed}' do not exist"
    )
    return AwsError("InvalidInstanceID.NotFound", text)


def _get_instance(ec2: EC2Backend, instance_id: str) -> Instance:
    found = find(ec2, instance_id)
    if found is None:
        raise _missing([instance_id])
    return found
