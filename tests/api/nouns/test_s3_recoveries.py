"""Recovery from S3 over the API: what comes back is what was there, wherever it is wanted."""

from datetime import timedelta
from typing import Any

import pytest

from cpm.kernel import clock
from cpm.models.s3_restores import S3Restore
from cpm.models.snapshots import Snapshot
from tests.api import document
from tests.api.nouns.cloud import REGION, Cloud
from tests.api.nouns.estate import Estate, connect, create, drain, work_on

ELSEWHERE = "eu-west-1"
# Images of AWS's own, of the emulated one too.
WINDOWS, LINUX = "ami-0fedcba0987654321", "ami-0abcdef1234567890"


@pytest.fixture
def volume_id(cloud: Cloud) -> str:
    """A volume with some data, among it blocks far apart and a page of zeros."""
    volume_id = cloud.volume(size_gib=5, Name="data", owner="shop")
    cloud.simulator.fill(
        volume_id,
        {"pattern": "random", "start": 0, "count": 3},
        {"pattern": "text", "start": 4095, "count": 2, "seed": 7},
        {"pattern": "text", "start": 10239, "count": 1, "seed": 8},
    )
    return volume_id


@pytest.fixture
def copy(estate: Estate, volume_id: str) -> Snapshot:
    """The volume's copy in S3."""
    estate.target("volumes", volume_id)
    copy_to_s3(estate)
    return Snapshot.objects.get(backup=estate.run()["id"], collection="copy_to_s3")


def copy_to_s3(estate: Estate, **settings: object) -> None:
    """Have the estate's policy copy to S3."""
    bucket = {"name": "vault", "account": estate.account, "bucket_name": estate.cloud.bucket()}
    repository = create(estate.caller, "/s3_repositories/", bucket)["id"]
    wanted = {"enabled": True, "repository": repository, **settings}
    assert estate.caller.put(f"{estate.path}copy_to_s3/", wanted).status == 200


def path_of(copy: Snapshot) -> str:
    return f"/backups/{copy.backup_id}/snapshots/copy_to_s3/{copy.pk}/recover/"


def recovery_of_instance(estate: Estate) -> str:
    """Run the policy; where the one instance of that backup is recovered."""
    path = f"/backups/{estate.run()['id']}/snapshots/instances/"
    (instance,) = estate.caller.get(path).json
    return f"{path}{instance['id']}/recover/"


def recovered(estate: Estate, path: str, asked: dict[str, Any]) -> Any:
    """The record of a recovery that is over."""
    recovery = create(estate.caller, path, asked)
    drain()
    return estate.caller.get(f"/recoveries/{recovery['id']}/").json


def tags_of(resource: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in resource["Tags"]}


def ours(cloud: Cloud, copy: Snapshot, region: str = REGION) -> list[str]:
    """The snapshots of a place, but for that which the backup has made."""
    return sorted(cloud.snapshots(region).keys() - {copy.s3_copy.original_ref})


def test_a_volume_comes_back_from_s3_as_it_was(
    estate: Estate, cloud: Cloud, volume_id: str, copy: Snapshot
) -> None:
    recovery = create(estate.caller, path_of(copy), {})
    assert (recovery["recovery_type"], recovery["status"], recovery["progress"]) == ("S", "P", 0)
    assert (recovery["resource_id"], recovery["region"]) == (volume_id, REGION)
    assert estate.caller.delete(f"/backups/{copy.backup_id}/").status == 409
    drain()
    done = estate.caller.get(f"/recoveries/{recovery['id']}/").json
    assert (done["status"], done["progress"], done["error"]) == ("S", 100, None)
    result = done["result_resource_id"]
    assert done["result_resource_ids"] == [result]
    assert cloud.simulator.differing(volume_id, result) == []
    made = cloud.volume_of(result)
    assert (made["Size"], made["AvailabilityZone"]) == (5, f"{REGION}a")
    assert tags_of(made).items() >= {"Name": "data", "owner": "shop"}.items()
    assert ours(cloud, copy) == []
    lines = [line["message"] for line in estate.caller.get(f"/recoveries/{done['id']}/logs/").json]
    assert any(line.startswith(f"All 3.0 MiB of {volume_id} are in snap-") for line in lines)
    assert lines[-1] == f"Recovered as {result}."


def test_a_recovery_tells_how_far_it_is_how_fast_and_for_how_long(
    estate: Estate, cloud: Cloud, copy: Snapshot
) -> None:
    # AWS does not let the first of three ranges in, at first.
    cloud.simulator.faults([{"op": "ebs:PutSnapshotBlock", "kind": "denied", "times": 1}])
    recovery = create(estate.caller, path_of(copy), {})
    path = f"/recoveries/{recovery['id']}/"
    assert (recovery["mib_per_second"], recovery["seconds_left"]) == (0, None)
    while not estate.caller.get(path).json["progress"]:
        assert work_on()
    began_at = S3Restore.objects.get().began_at or clock.now()
    clock.set_offset(clock._offset + (began_at - clock.now()) + timedelta(seconds=0.5))
    before = clock.now() - began_at
    told = estate.caller.get(path).json
    after = clock.now() - began_at
    done = round(told["progress"] * 6 / 100)
    assert 0 < done < 6
    assert told["progress"] == 100 * done // 6
    left = (6 - done) / done
    assert left * before.total_seconds() - 1 < told["seconds_left"]
    assert told["seconds_left"] < left * after.total_seconds() + 1
    rates = [round(done * 0.5 / each.total_seconds()) for each in (after, before)]
    assert rates[0] <= told["mib_per_second"] <= rates[1]
    document.check(told, "Recovery")
    older = estate.caller.using("1.1.0").get(path).json
    assert not {"progress", "mib_per_second", "seconds_left"} & older.keys()
    drain()
    over = estate.caller.get(path).json
    assert (over["status"], over["mib_per_second"], over["seconds_left"]) == ("S", None, None)


def test_a_copy_comes_back_as_a_snapshot(
    estate: Estate, cloud: Cloud, volume_id: str, copy: Snapshot
) -> None:
    asked = {"recover_as": "S", "size_gib": 6, "additional_tags": {"ticket": "4711"}}
    done = recovered(estate, path_of(copy), asked)
    assert (done["status"], done["error"]) == ("S", None)
    (result,) = ours(cloud, copy)
    assert done["result_resource_ids"] == [result]
    assert cloud.simulator.differing(volume_id, result) == []
    made = cloud.snapshots()[result]
    assert (made["State"], made["VolumeSize"], made["Encrypted"]) == ("completed", 6, False)
    assert tags_of(made).items() >= {"owner": "shop", "ticket": "4711"}.items()
    assert tags_of(made)["cpm_backup_id"] == str(copy.backup_id)


def test_a_snapshot_has_none_of_the_options_of_a_volume(estate: Estate, copy: Snapshot) -> None:
    of_volumes = {
        "volume_type": "gp3",
        "iops": 3000,
        "throughput": 250,
        "availability_zone": f"{REGION}a",
        "attach_to_instance": "i-0123456789abcdef0",
        "device": "/dev/sdf",
        "attach_behavior": "S",
    }
    for name, value in of_volumes.items():
        answer = estate.caller.post(path_of(copy), {"recover_as": "S", name: value})
        assert (answer.status, answer.codes) == (400, {name: ["invalid"]})
    all_of_them = estate.caller.post(path_of(copy), {"recover_as": "S", **of_volumes})
    assert all_of_them.codes == {key: ["invalid"] for key in of_volumes}
    assert estate.caller.get("/recoveries/").json == []


def test_a_volume_comes_back_in_another_region_and_account_under_its_key(
    estate: Estate, other_cloud: Cloud, volume_id: str, copy: Snapshot
) -> None:
    account = connect(estate.caller, other_cloud, name="other")["id"]
    key = other_cloud.client("kms", ELSEWHERE).create_key()["KeyMetadata"]
    asked = {"region": ELSEWHERE, "account": account, "kms_key": key["KeyId"]}
    done = recovered(estate, path_of(copy), {**asked, "keep_snapshots": True, "size_gib": 8})
    assert (done["status"], done["error"]) == ("S", None)
    assert (done["account"], done["region"]) == (account, ELSEWHERE)
    result, kept = done["result_resource_ids"]
    assert other_cloud.simulator.differing(volume_id, result) == []
    ec2 = other_cloud.client("ec2", ELSEWHERE)
    (made,) = ec2.describe_volumes(VolumeIds=[result])["Volumes"]
    assert (made["Size"], made["KmsKeyId"]) == (8, key["Arn"])
    assert made["AvailabilityZone"].startswith(ELSEWHERE)
    (snapshot,) = other_cloud.snapshots(ELSEWHERE).values()
    assert (snapshot["SnapshotId"], snapshot["KmsKeyId"]) == (kept, key["Arn"])


def test_a_volume_from_s3_takes_the_place_of_another(
    estate: Estate, cloud: Cloud, volume_id: str, copy: Snapshot
) -> None:
    instance_id = cloud.instance(volumes=2)
    (device, old) = max(cloud.volumes_of(instance_id).items())
    asked = {"attach_to_instance": instance_id, "device": device}
    assert estate.caller.post(path_of(copy), asked).codes == {"device": ["invalid"]}
    cloud.ec2.stop_instances(InstanceIds=[instance_id])
    done = recovered(estate, path_of(copy), {**asked, "attach_behavior": "S"})
    assert (done["status"], done["error"]) == ("S", None)
    assert cloud.volumes_of(instance_id)[device] == done["result_resource_id"]
    assert cloud.volume_of(old)["State"] == "available"
    assert cloud.simulator.differing(volume_id, done["result_resource_id"]) == []


def test_an_instance_comes_back_from_s3_with_the_data_of_all_its_volumes(
    estate: Estate, cloud: Cloud, other_cloud: Cloud
) -> None:
    instance_id = cloud.instance(volumes=3)
    volumes = cloud.volumes_of(instance_id)
    for seed, volume_id in enumerate(volumes.values()):
        cloud.simulator.fill(volume_id, {"pattern": "text", "count": 2, "seed": seed})
    estate.target("instances", instance_id)
    path = recovery_of_instance(estate)
    assert estate.caller.post(path, {"source": "s3"}).codes == {"source": ["invalid"]}
    assert estate.caller.post(path, {"keep_snapshots": True}).codes == {
        "keep_snapshots": ["invalid"]
    }
    copy_to_s3(estate)
    path = recovery_of_instance(estate)
    before = cloud.snapshots().keys()
    done = recovered(estate, path, {"source": "s3"})
    assert (done["recovery_type"], done["status"], done["error"]) == ("S", "S", None)
    new = cloud.volumes_of(done["result_resource_id"])
    assert new.keys() == volumes.keys()
    for device, volume_id in volumes.items():
        assert cloud.simulator.differing(volume_id, new[device]) == []
    assert cloud.snapshots().keys() == before

    account = connect(estate.caller, other_cloud, name="other")["id"]
    elsewhere = {"source": "s3", "account": account, "region": ELSEWHERE}
    skipped = [{"device": min(volumes), "skip": True}]
    done = recovered(estate, path, {**elsewhere, "block_devices": skipped})
    assert (done["status"], done["error"]) == ("S", None)
    ec2 = other_cloud.client("ec2", ELSEWHERE)
    made = {
        each["Attachments"][0]["Device"]: each["VolumeId"]
        for each in ec2.describe_volumes()["Volumes"]
    }
    assert made.keys() == volumes.keys() - {min(volumes)}
    for device, volume_id in made.items():
        assert cloud.simulator.differing(volumes[device], volume_id) == []
    assert other_cloud.snapshots(ELSEWHERE) == {}


def test_a_copy_that_is_deleted_or_about_to_be_is_not_recovered(
    estate: Estate, cloud: Cloud
) -> None:
    instance_id = cloud.instance(volumes=2)
    estate.target("instances", instance_id)
    copy_to_s3(estate)
    path = recovery_of_instance(estate)
    snapshots, _, _ = path.partition("instances/")
    copies = [each["id"] for each in estate.caller.get(f"{snapshots}copy_to_s3/").json]
    assert estate.caller.delete(f"{snapshots}?include_s3=true").status == 204
    is_going = refusals(estate, snapshots, copies)
    drain()
    assert is_going == refusals(estate, snapshots, copies)
    assert is_going == [{"non_field_errors": ["invalid"]}] * 2
    assert estate.caller.post(path, {"source": "s3"}).codes == {"source": ["invalid"]}
    assert estate.caller.get("/recoveries/").json == []


def refusals(estate: Estate, snapshots: str, copies: list[int]) -> list[dict[str, list[str]]]:
    """Why copies are not recovered."""
    answers = [estate.caller.post(f"{snapshots}copy_to_s3/{one}/recover/", {}) for one in copies]
    assert {each.status for each in answers} == {400}
    return [each.codes for each in answers]


def test_a_copy_that_somebody_took_out_of_the_bucket_is_not_recovered(
    estate: Estate, cloud: Cloud, copy: Snapshot
) -> None:
    key = f"vault/manifests/{copy.aws_ref}"
    cloud.client("s3").delete_object(Bucket=f"archive-{cloud.number}", Key=key)
    answer = estate.caller.post(path_of(copy), {})
    assert (answer.status, answer.codes) == (400, {"non_field_errors": ["invalid"]})
    assert "is not in repository vault any longer" in str(answer.json)


@pytest.mark.parametrize(
    ("image_id", "launch_from"), [(WINDOWS, None), (LINUX, "I")], ids=["windows", "linux"]
)
def test_an_instance_comes_back_from_s3_through_its_initial_ami(
    estate: Estate, cloud: Cloud, image_id: str, launch_from: str | None
) -> None:
    launched = cloud.ec2.run_instances(
        ImageId=image_id,
        MinCount=1,
        MaxCount=1,
        InstanceType="t3.large",
        BlockDeviceMappings=[{"DeviceName": "xvdf", "Ebs": {"VolumeSize": 20}}],
    )["Instances"][0]["InstanceId"]
    volumes = cloud.volumes_of(launched)
    estate.target("instances", launched, backup_option="I")
    copy_to_s3(estate, delete_original_snapshots=True)
    recovery_of_instance(estate)
    for seed, volume_id in enumerate(volumes.values()):
        cloud.simulator.fill(volume_id, {"pattern": "text", "count": 2, "seed": seed})
    # The AMI of the first run has other data than this one has.
    path = recovery_of_instance(estate)
    before = cloud.snapshots().keys()
    assert estate.caller.post(path, {}).status == 400
    asked = {"source": "s3"} | ({"launch_from": launch_from} if launch_from else {})
    done = recovered(estate, path, asked)
    assert (done["recovery_type"], done["status"], done["error"]) == ("S", "S", None)
    made = cloud.instance_of(done["result_resource_id"])
    image = estate.caller.get(path.removesuffix("recover/")).json["image_id"]
    assert (made["ImageId"], made["State"]["Name"]) == (image, "running")
    new = cloud.volumes_of(done["result_resource_id"])
    assert new.keys() == volumes.keys()
    for device, volume_id in volumes.items():
        assert cloud.simulator.differing(volume_id, new[device]) == []
    assert cloud.snapshots().keys() == before
    loose = [each for each in cloud.ec2.describe_volumes()["Volumes"] if not each["Attachments"]]
    assert loose == []


def test_what_a_policy_has_copied_comes_back_when_ebs_has_nothing_left(
    estate: Estate, cloud: Cloud, volume_id: str
) -> None:
    estate.target("volumes", volume_id)
    copy_to_s3(estate, delete_original_snapshots=True)
    first = estate.run()["id"]
    cloud.simulator.fill(volume_id, {"pattern": "text", "start": 1, "count": 1, "seed": 9})
    second = estate.run()["id"]
    assert cloud.snapshots() == {}
    for backup, changed in ((second, []), (first, [1])):
        (copy,) = estate.caller.get(f"/backups/{backup}/snapshots/copy_to_s3/").json
        path = f"/backups/{backup}/snapshots/copy_to_s3/{copy['id']}/recover/"
        done = recovered(estate, path, {})
        assert (done["status"], done["error"]) == ("S", None)
        assert cloud.simulator.differing(volume_id, done["result_resource_id"]) == changed
