"""Public AMIs of Amazon's in every region, so that there is something to start from."""

from collections.abc import Mapping
from typing import Any

from moto.ec2.models import EC2Backend

from cpm.kernel import clock
from cpm.simulator import ec2_images, ec2_snapshots, ec2_state, ec2_traits
from cpm.simulator.ec2_images import Device
from cpm.simulator.lives import Life, State

ID = "ami-0abcdef1234567890"
ARM_ID = "ami-0aaaaaaaaaaaaaaa64"
ROOT_DEVICE = "/dev/xvda"
TRAITS: Mapping[str, Any] = {
    "EnaSupport": True,
    "SriovNetSupport": "simple",
    "BootMode": "uefi-preferred",
    "ImdsSupport": "v2.0",
    **ec2_traits.LINUX,
}
WINDOWS_ID = "ami-0fedcba0987654321"
_WINDOWS_TRAITS: Mapping[str, Any] = {
    "EnaSupport": True,
    "SriovNetSupport": "simple",
    "BootMode": "uefi",
    "TpmSupport": "v2.0",
    **ec2_traits.WINDOWS,
}


def ensure(region: str) -> None:
    """Make the AMIs and their snapshots where they are not yet."""
    ec2 = ec2_state.backend(ec2_images.AMAZON, region)
    if ID in ec2_images.table(ec2):
        return
    linux = _device(ec2, ROOT_DEVICE, 8)
    _add(ec2, ID, linux, name="al2023-ami-x86_64", traits=TRAITS)
    arm = _device(ec2, ROOT_DEVICE, 8)
    _add(ec2, ARM_ID, arm, name="al2023-ami-arm64", traits=TRAITS, architecture="arm64")
    windows = _device(ec2, "/dev/sda1", 30)
    name = "Windows_Server-2022-English-Full-Base"
    _add(ec2, WINDOWS_ID, windows, name=name, traits=_WINDOWS_TRAITS, platform="windows")


def _device(ec2: EC2Backend, name: str, size_gib: int) -> Device:
    snapshot = ec2_snapshots.Snapshot(
        id=ec2_state.new_id("snap"),
        ec2_backend=ec2,
        volume_id="vol-ffffffff",
        volume_size=size_gib,
        life=Life(clock.now(), clock.now(), State.DONE),
        description="Amazon's own",
        is_public=False,
    )
    ec2_snapshots.table(ec2)[snapshot.id] = snapshot
    return Device(name, size_gib, snapshot.id, volume_type="gp3", delete_on_termination=True)


def _add(ec2: EC2Backend, image_id: str, root: Device, **facts: Any) -> None:
    ec2_images.table(ec2)[image_id] = ec2_images.Image(
        id=image_id,
        ec2_backend=ec2,
        devices=[root],
        creation_date=clock.now(),
        root_device_name=root.name,
        state="available",
        is_public=True,
        **facts,
    )
