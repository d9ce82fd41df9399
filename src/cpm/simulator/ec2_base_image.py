"""One public AMI of Amazon's in every region, so that there is something to start from."""

from cpm.kernel import clock
from cpm.simulator import ec2_images, ec2_snapshots, ec2_state
from cpm.simulator.lives import Life, State

ID = "ami-0abcdef1234567890"
ROOT_DEVICE = "/dev/xvda"
_SIZE_GIB = 8


def ensure(region: str) -> None:
    """Make the AMI and its snapshot where they are not yet."""
    ec2 = ec2_state.backend(ec2_images.AMAZON, region)
    if ID in ec2_images.table(ec2):
        return
    snapshot = ec2_snapshots.Snapshot(
        id=ec2_state.new_id("snap"),
        ec2_backend=ec2,
        volume_id="vol-ffffffff",
        volume_size=_SIZE_GIB,
        life=Life(clock.now(), clock.now(), State.DONE),
        description="Amazon Linux",
        is_public=False,
    )
    ec2_snapshots.table(ec2)[snapshot.id] = snapshot
    root = ec2_images.Device(
        ROOT_DEVICE, _SIZE_GIB, snapshot.id, volume_type="gp3", delete_on_termination=True
    )
    ec2_images.table(ec2)[ID] = ec2_images.Image(
        id=ID,
        ec2_backend=ec2,
        name="al2023-ami-x86_64",
        description="Amazon Linux",
        devices=[root],
        creation_date=clock.now(),
        root_device_name=ROOT_DEVICE,
        state="available",
        is_public=True,
    )
