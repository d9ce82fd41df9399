"""What the driver suite has to know of each resource type: how AWS gets, loses and shows things."""

from collections.abc import Mapping

from cpm.aws import tags
from cpm.resources.contract import Json, Refs, Resource
from cpm.testing.stage import REGION, RecoveryCase, Rig, Stage
from tests.contract import instance_rigs
from tests.contract.dynamodb_rig import DYNAMODB_TABLE
from tests.contract.ec2 import (
    KEY,
    RED,
    ZONE,
    describe,
    lose_snapshot,
    nothing,
    remains,
    seed,
    snapshots_with,
    stopped_instance,
    tags_of,
    volume_of,
)
from tests.contract.ec2_copies import (
    VOLUME_COPIES,
    snapshot_shared_with,
    snapshots_at,
)
from tests.contract.rds_rigs import RDS_CLUSTER, RDS_DATABASE
from tests.contract.redshift_rig import REDSHIFT_CLUSTER

# EBS volumes


def plant_volume(stage: Stage) -> str:
    """A standalone volume with everything that can be chosen."""
    made = stage.hand.call(
        "ec2",
        "CreateVolume",
        AvailabilityZone=ZONE,
        Size=11,
        VolumeType="gp3",
        Iops=4000,
        Throughput=200,
        TagSpecifications=[tags.specification("volume", RED | {"Name": "data"})],
    )
    return str(made["VolumeId"])


def _check_same(stage: Stage, original: Resource, made: Mapping[str, Refs]) -> None:
    volume = volume_of(stage, made["create"]["volume"])
    assert volume["Size"] == original.size_gib
    assert volume["VolumeType"] == "gp3"
    assert (volume["Iops"], volume["Throughput"]) == (4000, 200)
    assert volume["AvailabilityZone"] == ZONE
    assert volume["State"] == "available"
    carried = tags_of(stage, volume["VolumeId"])
    assert RED.items() <= carried.items()
    assert carried["Name"] == "data"
    assert carried[tags.BACKUP_ID] == "7"


def _other(_stage: Stage, _original: Resource) -> Json:
    return {
        "availability_zone": f"{REGION}b",
        "volume_type": "io2",
        "size_gib": 20,
        "iops": 1000,
        "encrypted": True,
        "kms_key": KEY,
        "preserve_tags": False,
        "additional_tags": {"who": "me"},
    }


def _check_other(stage: Stage, _original: Resource, made: Mapping[str, Refs]) -> None:
    volume = volume_of(stage, made["create"]["volume"])
    assert (volume["VolumeType"], volume["Size"], volume["Iops"]) == ("io2", 20, 1000)
    assert volume["AvailabilityZone"] == f"{REGION}b"
    assert volume["Encrypted"]
    assert volume["KmsKeyId"] == KEY
    carried = tags_of(stage, volume["VolumeId"])
    assert carried["who"] == "me"
    assert "team" not in carried


def _switch(stage: Stage, _original: Resource) -> Json:
    return {
        "attach_to_instance": stopped_instance(stage),
        "device": "/dev/sdf",
        "attach_behavior": "S",
    }


def _check_switched(stage: Stage, _original: Resource, made: Mapping[str, Refs]) -> None:
    volume = volume_of(stage, made["create"]["volume"])
    (attached,) = volume["Attachments"]
    assert attached["Device"] == "/dev/sdf"
    old, *_ = made["detach"]["attachment"].split()
    assert volume_of(stage, old)["State"] == "available"


def _replace(stage: Stage, original: Resource) -> Json:
    return _switch(stage, original) | {"attach_behavior": "D"}


def _check_replaced(stage: Stage, _original: Resource, made: Mapping[str, Refs]) -> None:
    old, *_ = made["detach"]["attachment"].split()
    assert old not in {
        volume["VolumeId"] for volume in describe(stage, "DescribeVolumes", "Volumes")
    }
    (attached,) = volume_of(stage, made["create"]["volume"])["Attachments"]
    assert attached["Device"] == "/dev/sdf"


EBS_VOLUME = Rig(
    plant=plant_volume,
    plant_many=lambda stage, count: seed(stage, standalone=count),
    lose=lose_snapshot,
    tags_of=tags_of,
    copies_with=snapshots_with,
    remains=remains,
    absent_id="vol-0123456789abcdef0",
    absent_ref="snap-0123456789abcdef0",
    recoveries=(
        RecoveryCase("as it was", nothing, _check_same),
        RecoveryCase("otherwise", _other, _check_other),
        RecoveryCase("switched", _switch, _check_switched),
        RecoveryCase("replaced", _replace, _check_replaced),
    ),
    copying=VOLUME_COPIES,
    copies_at=snapshots_at,
    shared_with=snapshot_shared_with,
)

# Each type, in each of the ways in which it protects.
RIGS: Mapping[str, Mapping[str, Rig]] = {
    "ebs_volume": {"": EBS_VOLUME},
    "ec2_instance": instance_rigs.WAYS,
    "dynamodb_table": {"": DYNAMODB_TABLE},
    "rds_cluster": {"": RDS_CLUSTER},
    "rds_database": {"": RDS_DATABASE},
    "redshift_cluster": {"": REDSHIFT_CLUSTER},
}
