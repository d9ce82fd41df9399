"""Launching an initial AMI with the volumes of a backup: its root volume is exchanged.

AWS does not let a launch give the root volume another snapshot than the AMI's, and does not make
AMIs of Windows from snapshots. So the AMI is launched with nothing but its own root volume, and
stopped; then that is detached, and the backup's volumes, the root among them, are attached in its
place. What is in the AMI never runs beside the backup's data. See docs/adr.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _ec2, _instances, _volumes
from cpm.resources._instance_adjustments import meant, put_off
from cpm.resources._launching import Launching
from cpm.resources._recovery import to_create, wanted_tags
from cpm.resources.contract import Ask, Effect, Json, Order, Refs


@dataclass(frozen=True)
class Exchange:
    """An AMI, and the volumes (by device, in the words of `EbsBlockDevice`) to exchange its for."""

    launching: Launching
    image: Json
    volumes: Mapping[str, Json]
    zone: str

    def orders(self, run: Json) -> Iterator[Order]:
        """The chain: launch, stop, and for each instance a branch of its own."""
        parameters = run["parameters"] | {"BlockDeviceMappings": list(self._mappings())}
        user_data = parameters.pop("UserData", None)
        later = put_off(parameters, self.launching.facts, stops=True)
        spec = run | {
            "image_id": self.image["ImageId"],
            "parameters": parameters,
            "volume_tags": {},
        }
        yield Order("run_instances", spec, step="run")
        yield Order("find_root_volumes", {"device": self._root}, step="roots", after="run")
        yield Order("stop_instances", {}, step="stop", after="roots")
        for number in range(self.launching.options.number_of_instances):
            yield from self._branch(_instances.ref_name(number), user_data, later)

    @property
    def _root(self) -> str:
        """Where instances of the AMI have their root volume."""
        device: str = self.image["RootDeviceName"]
        return device

    def _mappings(self) -> Iterator[Json]:
        """The AMI's devices: its root alone, which goes with the instance if all fails."""
        yield {"DeviceName": self._root, "Ebs": {"DeleteOnTermination": True}}
        for mapping in self.image.get("BlockDeviceMappings", ()):
            if mapping["DeviceName"] != self._root:
                yield {"DeviceName": mapping["DeviceName"], "NoDevice": ""}

    def _branch(self, name: str, user_data: str | None, later: Json) -> Iterator[Order]:
        """What is done to one of the launched instances."""
        this = {"instance_id": {"step": "run", "ref": name}}
        old = {"volume_id": {"step": "roots", "ref": name}}
        steps = _Steps(name, "stop")
        yield steps.order("detach_volume", this | old | {"device": self._root})
        for place, device in enumerate(self.volumes):
            yield steps.order("create_volume", self._volume(device), f"volume{place}")
        for place, device in enumerate(self.volumes):
            new = {"volume_id": {"step": f"{name} volume{place}", "ref": "volume"}}
            where = {"device": self._device(device)}
            yield steps.order("attach_volume", this | new | where, f"attach{place}")
        yield steps.order("modify_instances", self._attributes(name, user_data))
        if self.launching.options.start:
            yield steps.order("start_instances", {"instance": name})
        yield Order("delete_volume", old, step=f"{name} tidy", after=steps.last)
        if later:
            spec = later | {"instance": name}
            yield Order("adjust_instances", spec, step=f"{name} adjust", after=steps.last)

    def _volume(self, device: str) -> Json:
        copies = {copy.device: copy for copy in self.launching.source.copies}
        theirs = copies[device].facts.get("tags", {})
        return {
            "parameters": to_create(self.volumes[device], self.zone),
            "tags": wanted_tags(self.launching.options, theirs),
        }

    def _device(self, device: str) -> str:
        return self._root if device == self.launching.root_device else device

    def _attributes(self, name: str, user_data: str | None) -> Json:
        """What a launch would have been told of the volumes, and what their system is told."""
        mappings = [
            {
                "DeviceName": self._device(device),
                "Ebs": {"DeleteOnTermination": volume["DeleteOnTermination"]},
            }
            for device, volume in self.volumes.items()
        ]
        attributes: list[Json] = [{"BlockDeviceMappings": mappings}]
        if user_data:
            attributes.append({"UserData": {"Value": user_data}})
        return {"instance": name, "attributes": attributes}


class _Steps:
    """The steps of one branch, each after the last."""

    def __init__(self, name: str, last: str) -> None:
        self._name = name
        self.last = last

    def order(self, effect: str, spec: Json, step: str = "") -> Order:
        """The next order of the branch."""
        order = Order(effect, spec, step=f"{self._name} {step or effect}", after=self.last)
        self.last = order.step
        return order


def _find_roots(aws: Aws, ask: Ask) -> Refs:
    """What the AMI brought, so that it can be detached, and deleted in the end."""
    launched = {instance_id: name for name, instance_id in ask.earlier["run"].items()}
    found = {
        launched[instance["InstanceId"]]: _ec2.device_mappings(instance).get(ask.spec["device"])
        for instance in _ec2.instances(aws, launched)
    }
    roots = {name: volume_id for name, volume_id in found.items() if volume_id}
    if len(roots) < len(launched):
        text = f"an instance has no volume at {ask.spec['device']}"
        raise Fault(FaultKind.MISSING, text, operation="ec2:DescribeInstances")
    return roots


def _delete_loose(aws: Aws, refs: Refs) -> None:
    """Delete what is attached to nothing; the rest goes with its instance."""
    for volume in _ec2.by_ids(aws, _ec2.VOLUMES, refs.values()):
        if not _volumes.attachment(volume):
            _volumes.delete_volume(aws, volume["VolumeId"])


def _start(aws: Aws, ask: Ask) -> Refs:
    instance_ids = meant(ask)
    aws.call("ec2", "StartInstances", InstanceIds=instance_ids)
    return {_instances.ref_name(number): each for number, each in enumerate(instance_ids)}


_UNDO = ("ec2:DeleteVolume", "ec2:DescribeVolumes")

FIND_ROOTS = Effect(
    name="find_root_volumes",
    operation="ec2:DescribeInstances",
    permissions=("ec2:DescribeInstances",),
    start=_find_roots,
    undo=_delete_loose,
    undo_permissions=_UNDO,
)
DETACH = replace(_volumes.DETACH, undo=None, undo_permissions=(), undo_watch="")
CREATE = replace(_volumes.CREATE, undo=_delete_loose, undo_permissions=_UNDO, makes_result=False)
ATTACH = replace(_volumes.ATTACH, undo=None, undo_permissions=(), undo_watch="")
START = Effect(
    name="start_instances",
    operation="ec2:StartInstances",
    permissions=("ec2:StartInstances",),
    start=_start,
    watch=_instances.STARTED.name,
)
EFFECTS = (FIND_ROOTS, DETACH, CREATE, ATTACH, START, _volumes.DELETE)
