"""Recoveries of instances over the API: each option, as AWS sees what came of it."""

import base64
from dataclasses import dataclass
from typing import Any

import pytest

from tests.api.nouns.cloud import REGION, Cloud
from tests.api.nouns.estate import Estate, create, drain

WINDOWS = "ami-0fedcba0987654321"
ROOT, DATA = "/dev/xvda", "/dev/sdf"


@dataclass(frozen=True)
class Lost:
    """An instance that was backed up, and how it is brought back."""

    estate: Estate
    cloud: Cloud
    instance_id: str
    backup: int
    path: str

    def recover(self, **asked: Any) -> Any:
        """Bring it back; the record when it is over."""
        recovery = create(self.estate.caller, f"{self.path}recover/", asked)
        assert recovery["options"] == asked
        drain()
        return self.estate.caller.get(f"/recoveries/{recovery['id']}/").json

    def recovered(self, **asked: Any) -> Any:
        """Bring it back; the instance as AWS has it."""
        record = self.recover(**asked)
        assert (record["status"], record["error"]) == ("S", None)
        return self.cloud.instance_of(record["result_resource_id"])

    def codes(self, **asked: Any) -> Any:
        """Why it is not even tried."""
        answer = self.estate.caller.post(f"{self.path}recover/", asked)
        assert answer.status == 400, answer.body
        assert self.estate.caller.get("/recoveries/").json == []
        return answer.codes

    def log(self, record: Any) -> list[str]:
        """What the log of a recovery says."""
        lines = self.estate.caller.get(f"/recoveries/{record['id']}/logs/").json
        return [line["message"] for line in lines]


def lose(estate: Estate, cloud: Cloud, instance_id: str, **target: Any) -> Lost:
    estate.target("instances", instance_id, **target)
    backup = estate.run()["id"]
    many = f"/backups/{backup}/snapshots/instances/"
    (row,) = estate.caller.get(many).json
    assert row["status"] == "S"
    return Lost(estate, cloud, instance_id, backup, f"{many}{row['id']}/")


@pytest.fixture
def lost(estate: Estate, cloud: Cloud) -> Lost:
    """An instance with a root volume and another."""
    return lose(estate, cloud, cloud.instance(volumes=2))


def attribute(cloud: Cloud, instance_id: str, name: str) -> Any:
    told = cloud.ec2.describe_instance_attribute(InstanceId=instance_id, Attribute=name)
    return told[name[0].upper() + name[1:]]["Value"]


def test_an_empty_body_makes_it_what_it_was(lost: Lost) -> None:
    before, after = lost.cloud.instance_of(lost.instance_id), lost.recovered()
    for name in ("InstanceType", "SubnetId", "SecurityGroups", "Architecture", "RootDeviceName"):
        assert after[name] == before[name]
    assert after["State"]["Name"] == "running"
    assert {tag["Key"] for tag in after["Tags"]} >= {"Name", "cpm_backup_id", "cpm_token"}


def test_everything_can_be_asked_to_be_otherwise(lost: Lost) -> None:
    ec2, iam = lost.cloud.ec2, lost.cloud.client("iam")
    ec2.create_key_pair(KeyName="ops")
    iam.create_instance_profile(InstanceProfileName="web")
    other_zone = [{"Name": "availability-zone", "Values": [f"{REGION}b"]}]
    (subnet,) = ec2.describe_subnets(Filters=other_zone)["Subnets"]
    group = ec2.create_security_group(GroupName="web", Description="web", VpcId=subnet["VpcId"])[
        "GroupId"
    ]
    address = subnet["CidrBlock"].partition("/")[0].rpartition(".")[0] + ".77"
    made = lost.recovered(
        instance_type="m5.large",
        key_pair="ops",
        vpc_assign_ip=address,
        source="backup",
        launch_from="S",
        number_of_instances=1,
        subnet=subnet["SubnetId"],
        security_groups=[group],
        iam_role="web",
        user_data="#!/bin/sh\n",
        shutdown_behavior="terminate",
        ebs_optimized=True,
        monitoring=True,
        preserve_tags=False,
        additional_tags={"ticket": "4711"},
    )
    assert made["InstanceType"] == "m5.large"
    assert made["KeyName"] == "ops"
    assert made["PrivateIpAddress"] == address
    assert made["SubnetId"] == subnet["SubnetId"]
    assert made["Placement"]["AvailabilityZone"] == f"{REGION}b"
    assert [each["GroupId"] for each in made["SecurityGroups"]] == [group]
    assert made["IamInstanceProfile"]["Arn"].endswith(":instance-profile/web")
    assert made["EbsOptimized"] is True
    assert made["Monitoring"]["State"] == "enabled"
    assert {tag["Key"]: tag["Value"] for tag in made["Tags"]}.items() >= {"ticket": "4711"}.items()
    assert "Name" not in {tag["Key"] for tag in made["Tags"]}
    instance_id = made["InstanceId"]
    assert base64.b64decode(attribute(lost.cloud, instance_id, "userData")) == b"#!/bin/sh\n"
    behaviour = attribute(lost.cloud, instance_id, "instanceInitiatedShutdownBehavior")
    assert behaviour == "terminate"


def test_volumes_can_be_asked_to_be_otherwise(lost: Lost) -> None:
    devices = [
        {"device": ROOT, "size_gib": 30, "volume_type": "gp3", "iops": 4000, "throughput": 200},
        {
            "device": DATA,
            "volume_type": "io2",
            "size_gib": 50,
            "iops": 500,
            "encrypted": True,
            "delete_on_termination": True,
        },
    ]
    made = lost.recovered(block_devices=devices)
    mappings = {each["DeviceName"]: each["Ebs"] for each in made["BlockDeviceMappings"]}
    root, data = (lost.cloud.volume_of(mappings[device]["VolumeId"]) for device in (ROOT, DATA))
    assert (root["Size"], root["Iops"], root["Throughput"]) == (30, 4000, 200)
    assert (data["VolumeType"], data["Size"], data["Iops"]) == ("io2", 50, 500)
    assert (data["Encrypted"], mappings[DATA]["DeleteOnTermination"]) == (True, True)
    without = lost.recovered(block_devices=[{"device": DATA, "skip": True}])
    assert [each["DeviceName"] for each in without["BlockDeviceMappings"]] == [ROOT]


def test_several_come_back_and_all_are_named(lost: Lost) -> None:
    record = lost.recover(number_of_instances=3, start=False)
    results = record["result_resource_ids"]
    assert len(set(results)) == 3
    assert record["result_resource_id"] == results[0]
    states = {lost.cloud.instance_of(each)["State"]["Name"] for each in results}
    assert states == {"stopped"}


def test_what_was_asked_for_and_is_not_there_is_refused_at_once(lost: Lost) -> None:
    taken = lost.cloud.instance_of(lost.instance_id)["PrivateIpAddress"]
    free = taken.rpartition(".")[0] + ".200"
    for asked, codes in (
        ({"instance_type": "t3.nonsense"}, {"instance_type": ["invalid_choice"]}),
        ({"instance_type": "m6g.large"}, {"instance_type": ["invalid"]}),
        ({"key_pair": "nobodys"}, {"key_pair": ["does_not_exist"]}),
        ({"subnet": "subnet-0123456789abcdef0"}, {"subnet": ["does_not_exist"]}),
        ({"security_groups": ["sg-0123456789abcdef0"]}, {"security_groups": ["does_not_exist"]}),
        ({"iam_role": "nobodys"}, {"iam_role": ["does_not_exist"]}),
        ({"vpc_assign_ip": taken}, {"vpc_assign_ip": ["invalid"]}),
        ({"vpc_assign_ip": "8.8.8.8"}, {"vpc_assign_ip": ["invalid"]}),
        ({"vpc_assign_ip": "elsewhere"}, {"vpc_assign_ip": ["invalid"]}),
        ({"vpc_assign_ip": free, "number_of_instances": 2}, {"vpc_assign_ip": ["invalid"]}),
        ({"launch_from": "I"}, {"launch_from": ["invalid"]}),
        ({"launch_from": "X"}, {"launch_from": ["invalid_choice"]}),
        (
            {"block_devices": [{"device": ROOT, "skip": True}]},
            {"block_devices.0.skip": ["invalid"]},
        ),
        (
            {"block_devices": [{"device": DATA, "size_gib": 1}]},
            {"block_devices.0.size_gib": ["min_value"]},
        ),
        ({"number_of_instances": 0}, {"number_of_instances": ["min_value"]}),
        ({"shutdown_behavior": "sleep"}, {"shutdown_behavior": ["invalid_choice"]}),
    ):
        assert lost.codes(**asked) == codes, asked


def test_with_the_original_gone_it_comes_back_where_it_was(lost: Lost) -> None:
    before = lost.cloud.instance_of(lost.instance_id)
    lost.cloud.ec2.terminate_instances(InstanceIds=[lost.instance_id])
    record = lost.recover()
    after = lost.cloud.instance_of(record["result_resource_id"])
    assert record["status"] == "S"
    for name in ("PrivateIpAddress", "SubnetId", "InstanceType"):
        assert after[name] == before[name]


def test_what_the_original_had_and_is_gone_is_told(estate: Estate, cloud: Cloud) -> None:
    cloud.ec2.create_key_pair(KeyName="ops")
    launched = cloud.ec2.run_instances(
        ImageId="ami-0abcdef1234567890", MinCount=1, MaxCount=1, KeyName="ops"
    )["Instances"][0]
    lost = lose(estate, cloud, launched["InstanceId"])
    cloud.ec2.delete_key_pair(KeyName="ops")
    record = lost.recover()
    assert record["status"] == "S"
    assert "KeyName" not in cloud.instance_of(record["result_resource_id"])
    expected = "Not as the original: without key pair ops, which does not exist any longer."
    assert expected in lost.log(record)


class TestWindows:
    """An instance that AWS starts from AMIs made as such only."""

    @pytest.fixture
    def windows(self, estate: Estate, cloud: Cloud) -> Lost:
        launched = cloud.ec2.run_instances(
            ImageId=WINDOWS,
            MinCount=1,
            MaxCount=1,
            InstanceType="t3.large",
            BlockDeviceMappings=[
                {"DeviceName": "xvdf", "Ebs": {"VolumeSize": 20, "DeleteOnTermination": True}}
            ],
        )["Instances"][0]
        lost = lose(estate, cloud, launched["InstanceId"])
        row = estate.caller.get(lost.path).json
        assert (row["backup_option"], row["image_id"][:4]) == ("I", "ami-")
        return lost

    def test_it_comes_back_from_its_initial_ami_with_this_backups_data(self, windows: Lost) -> None:
        cloud, estate = windows.cloud, windows.estate
        cloud.ec2.terminate_instances(InstanceIds=[windows.instance_id])
        made = windows.recovered(user_data="<powershell></powershell>")
        image_id = estate.caller.get(windows.path).json["image_id"]
        assert (made["ImageId"], made["Platform"]) == (image_id, "windows")
        snapshots = estate.caller.get(f"/backups/{windows.backup}/snapshots/volumes/").json
        assert {each["volume_device"]: each["snapshot_id"] for each in snapshots} == {
            mapping["DeviceName"]: cloud.volume_of(mapping["Ebs"]["VolumeId"])["SnapshotId"]
            for mapping in made["BlockDeviceMappings"]
        }
        told = attribute(cloud, made["InstanceId"], "userData")
        assert base64.b64decode(told) == b"<powershell></powershell>"
        volumes = cloud.ec2.describe_volumes()["Volumes"]
        assert [each["VolumeId"] for each in volumes if not each["Attachments"]] == []

    def test_it_is_not_launched_from_snapshots(self, windows: Lost) -> None:
        assert windows.codes(launch_from="S") == {"launch_from": ["invalid"]}

    def test_an_ami_that_records_share_is_in_use(self, windows: Lost) -> None:
        estate = windows.estate
        second = estate.run()["id"]
        (shared,) = estate.caller.get(f"/backups/{second}/snapshots/initial_amis/").json
        (first,) = estate.caller.get(f"/backups/{windows.backup}/snapshots/initial_amis/").json
        assert shared["snapshot_id"] == first["snapshot_id"]
        path = f"/backups/{second}/snapshots/initial_amis/{shared['id']}/"
        assert estate.caller.delete(path).codes == {"non_field_errors": ["in_use"]}


@pytest.mark.parametrize("launch_from", ["I", "S"])
def test_an_ami_alone_is_launched_as_it_is_or_from_its_root_snapshot(
    estate: Estate, cloud: Cloud, launch_from: str
) -> None:
    lost = lose(estate, cloud, cloud.instance(volumes=2), backup_option="N")
    image_id = estate.caller.get(lost.path).json["image_id"]
    made = lost.recovered(launch_from=launch_from)
    assert (made["ImageId"] == image_id) == (launch_from == "I")
    (image,) = cloud.ec2.describe_images(Owners=["self"])["Images"]
    assert image["ImageId"] == image_id
    behind = {
        each["DeviceName"]: each["Ebs"]["SnapshotId"] for each in image["BlockDeviceMappings"]
    }
    assert behind == {
        mapping["DeviceName"]: cloud.volume_of(mapping["Ebs"]["VolumeId"])["SnapshotId"]
        for mapping in made["BlockDeviceMappings"]
    }
