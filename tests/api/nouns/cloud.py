"""AWS as the tests see it, past the server: what there is, and what became of it."""

from dataclasses import dataclass
from typing import Any

from cpm.simulator.process import Credentials, Simulator
from tests import owners

REGION = "us-east-1"
SSE_S3: Any = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}


@dataclass
class Cloud:
    """One account, entered by its administrator."""

    simulator: Simulator
    keys: Credentials

    def client(self, service: str, region: str = REGION) -> Any:
        return owners.client(self.simulator.endpoint, service, self.keys, region)

    @property
    def number(self) -> str:
        """The account's number."""
        return self.keys.account

    @property
    def ec2(self) -> Any:
        return self.client("ec2")

    def seed(self, region: str = REGION, **estate: Any) -> dict[str, Any]:
        """An estate in bulk; returns its ids."""
        return self.simulator.seed(account=self.number, region=region, **estate)

    def volume(self, *, size_gib: int = 10, region: str = REGION, **tags: str) -> str:
        """A volume that stands alone; returns its id."""
        made = self.client("ec2", region).create_volume(
            AvailabilityZone=f"{region}a", Size=size_gib, TagSpecifications=[_tags("volume", tags)]
        )
        volume_id: str = made["VolumeId"]
        return volume_id

    def bucket(self, region: str = "eu-west-1") -> str:
        """An encrypted bucket; returns its name."""
        name = f"archive-{self.number}"
        place = {} if region == REGION else {"LocationConstraint": region}
        s3 = self.client("s3")
        s3.create_bucket(Bucket=name, **({"CreateBucketConfiguration": place} if place else {}))
        s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration=SSE_S3)
        return name

    def instance(self, volumes: int = 2) -> str:
        """A running instance with so many volumes, the root among them; returns its id."""
        (instance_id,) = self.seed(instances=1, volumes_per=volumes)["instances"]
        return str(instance_id)

    def warehouse(self, name: str = "dw-1", **more: Any) -> str:
        """A Redshift cluster of two nodes; returns its identifier."""
        wanted = {
            "ClusterIdentifier": name,
            "NodeType": "dc2.large",
            "NumberOfNodes": 2,
            "ClusterType": "multi-node",
            "MasterUsername": "admin",
            "MasterUserPassword": "Secret-secret1",
            "DBName": "shop",
            "Tags": [{"Key": "Name", "Value": "sales"}, {"Key": "team", "Value": "red"}],
        }
        self.client("redshift").create_cluster(**{**wanted, **more})
        return name

    def table(self, name: str = "orders", **more: Any) -> str:
        """A DynamoDB table with an item; returns its name."""
        dynamodb = self.client("dynamodb")
        dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 6},
            Tags=[{"Key": "Name", "Value": "sales"}, {"Key": "team", "Value": "red"}],
            **more,
        )
        dynamodb.put_item(TableName=name, Item={"id": {"S": "1"}, "sum": {"N": "42"}})
        return name

    def database(self, name: str = "orders", **more: Any) -> str:
        """An RDS database; returns its identifier."""
        wanted = {
            "DBInstanceIdentifier": name,
            "DBInstanceClass": "db.m5.large",
            "Engine": "mysql",
            "EngineVersion": "8.0.35",
            "AllocatedStorage": 20,
            "MasterUsername": "admin",
            "MasterUserPassword": "secret-secret",
            "Tags": [{"Key": "Name", "Value": "sales"}, {"Key": "team", "Value": "red"}],
        }
        self.client("rds").create_db_instance(**{**wanted, **more})
        return name

    def aurora(self, name: str = "shop", members: int = 2, **more: Any) -> str:
        """An Aurora cluster; returns its identifier, to which its members' add a number."""
        rds = self.client("rds")
        wanted = {
            "DBClusterIdentifier": name,
            "Engine": "aurora-mysql",
            "EngineVersion": "8.0.mysql_aurora.3.05.2",
            "MasterUsername": "admin",
            "MasterUserPassword": "secret-secret",
            "Tags": [{"Key": "Name", "Value": "sales"}, {"Key": "team", "Value": "red"}],
        }
        rds.create_db_cluster(**{**wanted, **more})
        for number in range(1, members + 1):
            rds.create_db_instance(
                DBInstanceIdentifier=f"{name}-{number}",
                DBInstanceClass="db.r6g.large",
                Engine="aurora-mysql",
                DBClusterIdentifier=name,
            )
        return name

    def instance_of(self, instance_id: str) -> Any:
        """An instance as AWS describes it."""
        found = self.ec2.describe_instances(InstanceIds=[instance_id])
        (instance,) = found["Reservations"][0]["Instances"]
        return instance

    def volume_of(self, volume_id: str) -> Any:
        """A volume as AWS describes it."""
        (volume,) = self.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"]
        return volume

    def volumes_of(self, instance_id: str) -> dict[str, str]:
        """The volumes of an instance, by device."""
        mappings = self.instance_of(instance_id)["BlockDeviceMappings"]
        return {each["DeviceName"]: each["Ebs"]["VolumeId"] for each in mappings}

    def snapshots(self, region: str = REGION) -> dict[str, Any]:
        """The account's own snapshots, by id."""
        found = self.client("ec2", region).describe_snapshots(OwnerIds=["self"])["Snapshots"]
        return {each["SnapshotId"]: each for each in found}


def _tags(resource_type: str, tags: dict[str, str]) -> Any:
    listed = [{"Key": key, "Value": value} for key, value in {"Name": "n", **tags}.items()]
    return {"ResourceType": resource_type, "Tags": listed}
