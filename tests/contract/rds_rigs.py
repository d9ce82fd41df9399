"""What the suites have to know of RDS: how databases and clusters are made, lost and shown."""

import itertools
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.resources.contract import Json, Refs, Resource
from cpm.testing.stage import REGION, SHARING_KEY, CopyCase, RecoveryCase, Rig, Stage

ZONES = (f"{REGION}a", f"{REGION}b")
Plant = Callable[[Stage], str]
# How a database shows what it is tied to.
TIES = (
    *("MonitoringInterval", "MonitoringRoleArn", "PerformanceInsightsEnabled"),
    *("PerformanceInsightsRetentionPeriod", "DomainMemberships", "AssociatedRoles"),
)
_RED = {"team": "red", "Name": "shop"}
_numbers = itertools.count(1)


def rds(stage: Stage, operation: str, **parameters: Any) -> Json:
    """A call as the owner of the account makes it."""
    return stage.hand.call("rds", operation, **parameters)


def database_of(stage: Stage, name: str) -> Json:
    """A database as RDS describes it."""
    (found,) = rds(stage, "DescribeDBInstances", DBInstanceIdentifier=name)["DBInstances"]
    return dict(found)


def cluster_of(stage: Stage, name: str) -> Json:
    """A cluster as RDS describes it."""
    (found,) = rds(stage, "DescribeDBClusters", DBClusterIdentifier=name)["DBClusters"]
    return dict(found)


def subnet_group(stage: Stage) -> Json:
    """A new subnet group over the zones."""
    in_zones = {"Name": "availability-zone", "Values": list(ZONES)}
    subnets = stage.hand.call("ec2", "DescribeSubnets", Filters=[in_zones])["Subnets"]
    made = rds(
        stage,
        "CreateDBSubnetGroup",
        DBSubnetGroupName=f"nets-{next(_numbers)}",
        DBSubnetGroupDescription="x",
        SubnetIds=[subnet["SubnetId"] for subnet in subnets],
    )
    return dict(made["DBSubnetGroup"])


def security_group(stage: Stage) -> str:
    """A new security group of the default VPC."""
    made = stage.hand.call(
        "ec2", "CreateSecurityGroup", GroupName=f"web-{next(_numbers)}", Description="web"
    )
    return str(made["GroupId"])


def parameter_group(stage: Stage, family: str = "mysql8.0") -> str:
    """A new parameter group of instances."""
    name = f"parameters-{next(_numbers)}"
    wanted = {"DBParameterGroupFamily": family, "Description": "x"}
    rds(stage, "CreateDBParameterGroup", DBParameterGroupName=name, **wanted)
    return name


def cluster_parameter_group(stage: Stage) -> str:
    """A new parameter group of clusters."""
    name = f"parameters-{next(_numbers)}"
    wanted = {"DBParameterGroupFamily": "aurora-mysql8.0", "Description": "x"}
    rds(stage, "CreateDBClusterParameterGroup", DBClusterParameterGroupName=name, **wanted)
    return name


def option_group(stage: Stage, engine: str = "mysql", version: str = "8.0") -> str:
    """A new option group."""
    name = f"options-{next(_numbers)}"
    rds(
        stage,
        "CreateOptionGroup",
        OptionGroupName=name,
        EngineName=engine,
        MajorEngineVersion=version,
        OptionGroupDescription="x",
    )
    return name


def key(stage: Stage) -> str:
    """A new key of the customer's that the other account may use; its ARN."""
    principals = [f"arn:aws:iam::{n}:root" for n in (stage.account_number, stage.other_number)]
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": principals},
        "Action": "kms:*",
        "Resource": "*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return str(stage.hand.call("kms", "CreateKey", Policy=policy)["KeyMetadata"]["Arn"])


def make_sharing_key(stage: Stage) -> None:
    """Let the account have the key under which is copied what AWS's own key encrypts."""
    aliases = stage.hand.call("kms", "ListAliases")["Aliases"]
    if SHARING_KEY not in [each["AliasName"] for each in aliases]:
        stage.hand.call("kms", "CreateAlias", AliasName=SHARING_KEY, TargetKeyId=key(stage))


def make_database(stage: Stage, **chosen: Any) -> str:
    """A database; its name."""
    name = f"shop-{next(_numbers)}"
    wanted = {
        "DBInstanceIdentifier": name,
        "DBInstanceClass": "db.m5.large",
        "Engine": "mysql",
        "EngineVersion": "8.0.35",
        "AllocatedStorage": 100,
        "StorageType": "gp3",
        "MasterUsername": "admin",
        "MasterUserPassword": "secret-secret",
        "Tags": tags.to_aws(_RED),
    }
    made = {**wanted, **chosen}
    rds(stage, "CreateDBInstance", **made)
    return str(made["DBInstanceIdentifier"])


def role(stage: Stage, name: str) -> str:
    """The ARN of a role of the account."""
    return f"arn:aws:iam::{stage.account_number}:role/{name}"


def monitoring(stage: Stage) -> Json:
    """What a database is asked to tell of itself."""
    return {
        "MonitoringInterval": 30,
        "MonitoringRoleArn": role(stage, "monitoring"),
        "EnablePerformanceInsights": True,
        "PerformanceInsightsRetentionPeriod": 31,
    }


def directory() -> Json:
    """A directory of AWS's that a database is a member of."""
    return {"Domain": "d-1234567890", "DomainIAMRoleName": "directory"}


def plant_database(stage: Stage) -> str:
    """A database with everything that can be chosen."""
    name = make_database(
        stage,
        **monitoring(stage),
        **directory(),
        StorageType="io1",
        Iops=2000,
        MaxAllocatedStorage=500,
        StorageEncrypted=True,
        KmsKeyId=key(stage),
        AvailabilityZone=ZONES[1],
        DBSubnetGroupName=subnet_group(stage)["DBSubnetGroupName"],
        VpcSecurityGroupIds=[security_group(stage)],
        DBParameterGroupName=parameter_group(stage),
        OptionGroupName=option_group(stage),
        Port=3307,
        PubliclyAccessible=True,
        AutoMinorVersionUpgrade=False,
        PreferredMaintenanceWindow="sun:03:00-sun:04:00",
        DeletionProtection=True,
        EnableIAMDatabaseAuthentication=True,
        CopyTagsToSnapshot=True,
        EnableCloudwatchLogsExports=["error"],
    )
    for feature in ("S3_INTEGRATION", "LAMBDA"):
        own = {"RoleArn": role(stage, feature.lower()), "FeatureName": feature}
        rds(stage, "AddRoleToDBInstance", DBInstanceIdentifier=name, **own)
    return name


def _plant_under_own_key(stage: Stage) -> str:
    """A database that AWS's own key encrypts, where there is another key to share it under."""
    make_sharing_key(stage)
    return make_database(stage, StorageEncrypted=True, OptionGroupName=option_group(stage))


def _listed(aws: Aws, noun: str) -> dict[str, dict[str, str]]:
    found = aws.pages("rds", f"Describe{noun}s", f"{noun}s", SnapshotType="manual")
    return {each[f"{noun}Identifier"]: tags.from_aws(each.get("TagList")) for each in found}


def _tags_of(stage: Stage, ref: str, noun: str) -> dict[str, str]:
    return _listed(stage.hand, noun)[ref]


def _copies_with(stage: Stage, token: str, noun: str) -> list[str]:
    carried = _listed(stage.hand, noun)
    return [ref for ref, own in carried.items() if own.get(tags.TOKEN) == token]


def _lose(stage: Stage, ref: str, noun: str) -> object:
    return rds(stage, f"Delete{noun}", **{f"{noun}Identifier": ref})


def _shared_with(aws: Aws, ref: str, noun: str) -> set[str]:
    answer = aws.call("rds", f"Describe{noun}Attributes", **{f"{noun}Identifier": ref})
    attributes = answer[f"{noun}AttributesResult"][f"{noun}Attributes"]
    return {account for each in attributes for account in each.get("AttributeValues", ())}


def remains(stage: Stage) -> set[str]:
    """Databases and clusters."""
    instances = stage.hand.pages("rds", "DescribeDBInstances", "DBInstances")
    clusters = stage.hand.pages("rds", "DescribeDBClusters", "DBClusters")
    return {each["DBInstanceIdentifier"] for each in instances} | {
        each["DBClusterIdentifier"] for each in clusters
    }


def _nothing(_stage: Stage, _original: Resource) -> Json:
    return {}


def _check_same(stage: Stage, original: Resource, made: Mapping[str, Refs]) -> None:
    name = made["restore"]["instance"]
    # The original is still there, so the name is a fresh one.
    assert name != original.resource_id
    assert name.startswith(f"{original.resource_id}-")
    was, now = database_of(stage, original.resource_id), database_of(stage, name)
    for member in (
        *("DBInstanceClass", "Engine", "EngineVersion", "AllocatedStorage", "StorageType", "Iops"),
        *("MaxAllocatedStorage", "AvailabilityZone", "MultiAZ", "PubliclyAccessible"),
        *("VpcSecurityGroups", "DBParameterGroups", "OptionGroupMemberships", "LicenseModel"),
        *("AutoMinorVersionUpgrade", "PreferredMaintenanceWindow", "DeletionProtection"),
        *("IAMDatabaseAuthenticationEnabled", "CopyTagsToSnapshot", "StorageEncrypted"),
        *("KmsKeyId", "EnabledCloudwatchLogsExports", *TIES),
    ):
        assert now[member] == was[member], member
    assert now["DBSubnetGroup"]["DBSubnetGroupName"] == was["DBSubnetGroup"]["DBSubnetGroupName"]
    assert now["Endpoint"]["Port"] == 3307
    carried = tags.from_aws(now["TagList"])
    assert _RED.items() <= carried.items()
    assert carried[tags.BACKUP_ID] == "7"


def _all_options(stage: Stage, _original: Resource) -> Json:
    return {
        "db_instance_identifier": f"Restored-{next(_numbers)}",
        "db_instance_class": "db.r5.xlarge",
        "multi_az": True,
        "db_subnet_group": subnet_group(stage)["DBSubnetGroupName"],
        "publicly_accessible": False,
        "port": 4406,
        "storage_type": "io2",
        "iops": 3000,
        "parameter_group": parameter_group(stage),
        "option_group": option_group(stage),
        "vpc_security_groups": [security_group(stage)],
        "license_model": "general-public-license",
        "auto_minor_version_upgrade": True,
        "deletion_protection": False,
        "preserve_tags": False,
        "additional_tags": {"who": "me"},
    }


def _check_options(stage: Stage, _original: Resource, made: Mapping[str, Refs]) -> None:
    now = database_of(stage, made["restore"]["instance"])
    assert now["DBInstanceIdentifier"].startswith("restored-")
    assert now["DBInstanceClass"] == "db.r5.xlarge"
    assert (now["StorageType"], now["Iops"]) == ("io2", 3000)
    assert now["MultiAZ"] is True
    assert now["PubliclyAccessible"] is False
    assert now["Endpoint"]["Port"] == 4406
    assert now["AutoMinorVersionUpgrade"] is True
    assert now["DeletionProtection"] is False
    carried = tags.from_aws(now["TagList"])
    assert carried["who"] == "me"
    assert "team" not in carried


def _in_a_zone(stage: Stage, original: Resource) -> Json:
    return {"availability_zone": ZONES[0], "db_subnet_group": original.facts["db_subnet_group"]}


def _check_zone(stage: Stage, _original: Resource, made: Mapping[str, Refs]) -> None:
    assert database_of(stage, made["restore"]["instance"])["AvailabilityZone"] == ZONES[0]


def _copy_cases(plant: Plant, in_the_clear: Plant, under_own_key: Plant) -> tuple[CopyCase, ...]:
    return (
        CopyCase("to another region", plant),
        CopyCase("in the clear to another account and region", in_the_clear, crosses_accounts=True),
        CopyCase("to another account", plant, crosses_accounts=True, region=REGION),
        CopyCase("to another account and region", plant, crosses_accounts=True),
        CopyCase("from under AWS's own key", under_own_key, crosses_accounts=True),
        CopyCase(
            "from under AWS's own key in its region",
            under_own_key,
            crosses_accounts=True,
            region=REGION,
        ),
    )


RDS_DATABASE = Rig(
    plant=plant_database,
    plant_many=lambda stage, count: stage.simulator.seed(
        account=stage.account_number, region=REGION, databases=count
    ),
    lose=partial(_lose, noun="DBSnapshot"),
    tags_of=partial(_tags_of, noun="DBSnapshot"),
    copies_with=partial(_copies_with, noun="DBSnapshot"),
    copies_are_named=True,
    remains=remains,
    many=250,
    absent_id="no-such-database",
    absent_ref="cpm-no-such-snapshot",
    recoveries=(
        RecoveryCase("as it was", _nothing, _check_same),
        RecoveryCase("otherwise", _all_options, _check_options),
        RecoveryCase("in a zone", _in_a_zone, _check_zone),
    ),
    deletion_refused="InvalidDBSnapshotState",
    copying=_copy_cases(plant_database, make_database, _plant_under_own_key),
    copies_at=partial(_listed, noun="DBSnapshot"),
    shared_with=partial(_shared_with, noun="DBSnapshot"),
)


# Clusters


def make_cluster(stage: Stage, **chosen: Any) -> str:
    """An Aurora cluster without members; its name."""
    name = f"shop-{next(_numbers)}"
    wanted = {
        "DBClusterIdentifier": name,
        "Engine": "aurora-mysql",
        "EngineVersion": "8.0.mysql_aurora.3.05.2",
        "MasterUsername": "admin",
        "MasterUserPassword": "secret-secret",
        "Tags": tags.to_aws(_RED),
    }
    made = {**wanted, **chosen}
    rds(stage, "CreateDBCluster", **made)
    return str(made["DBClusterIdentifier"])


def make_member(stage: Stage, cluster: str, number: int, **chosen: Any) -> str:
    """A member of a cluster; its name."""
    name = f"{cluster}-{number}"
    wanted = {
        "DBInstanceIdentifier": name,
        "DBInstanceClass": "db.r6g.large",
        "Engine": "aurora-mysql",
        "DBClusterIdentifier": cluster,
        "Tags": tags.to_aws({"role": f"member-{number}"}),
    }
    made = {**wanted, **chosen}
    rds(stage, "CreateDBInstance", **made)
    return str(made["DBInstanceIdentifier"])


def plant_cluster(stage: Stage) -> str:
    """A cluster with everything that can be chosen, a writer and two readers."""
    parameters = parameter_group(stage, "aurora-mysql8.0")
    name = make_cluster(
        stage,
        StorageEncrypted=True,
        KmsKeyId=key(stage),
        DBSubnetGroupName=subnet_group(stage)["DBSubnetGroupName"],
        VpcSecurityGroupIds=[security_group(stage)],
        DBClusterParameterGroupName=cluster_parameter_group(stage),
        Port=3307,
        DeletionProtection=True,
        EnableIAMDatabaseAuthentication=True,
        CopyTagsToSnapshot=True,
        BacktrackWindow=3600,
        EnableCloudwatchLogsExports=["error"],
        ServerlessV2ScalingConfiguration={"MinCapacity": 0.5, "MaxCapacity": 8.0},
        **directory(),
    )
    own = {"RoleArn": role(stage, "lambda"), "FeatureName": "Lambda"}
    rds(stage, "AddRoleToDBCluster", DBClusterIdentifier=name, **own)
    zoned = {"DBParameterGroupName": parameters, "AvailabilityZone": ZONES[1]}
    make_member(stage, name, 1, **zoned, **monitoring(stage))
    make_member(stage, name, 2, DBInstanceClass="db.serverless", PromotionTier=3)
    make_member(stage, name, 3, PubliclyAccessible=True, PromotionTier=2)
    return name


def _plant_cluster_under_own_key(stage: Stage) -> str:
    make_sharing_key(stage)
    return make_cluster(stage, StorageEncrypted=True)


def _check_same_cluster(stage: Stage, original: Resource, made: Mapping[str, Refs]) -> None:
    name = made["cluster"]["cluster"]
    assert name.startswith(f"{original.resource_id}-")
    was, now = cluster_of(stage, original.resource_id), cluster_of(stage, name)
    for member in (
        *("Engine", "EngineVersion", "EngineMode", "DBSubnetGroup", "VpcSecurityGroups", "Port"),
        *("DBClusterParameterGroup", "DeletionProtection", "IAMDatabaseAuthenticationEnabled"),
        *("CopyTagsToSnapshot", "StorageEncrypted", "KmsKeyId", "BacktrackWindow"),
        *("EnabledCloudwatchLogsExports", "ServerlessV2ScalingConfiguration"),
        *("DomainMemberships", "AssociatedRoles"),
    ):
        assert now[member] == was[member], member
    assert _RED.items() <= tags.from_aws(now["TagList"]).items()
    writer, *readers = [made[step]["instance"] for step in ("writer", "reader-1", "reader-2")]
    roles = {each["DBInstanceIdentifier"]: each["IsClusterWriter"] for each in _members(now)}
    assert roles == {writer: True} | dict.fromkeys(readers, False)
    shown = [database_of(stage, each) for each in (writer, *readers)]
    assert [each["DBInstanceClass"] for each in shown] == [
        *("db.r6g.large", "db.r6g.large", "db.serverless")
    ]
    assert [each["PromotionTier"] for each in shown] == [1, 2, 3]
    assert [each["PubliclyAccessible"] for each in shown] == [False, True, False]
    assert shown[0]["AvailabilityZone"] == ZONES[1]
    assert [each["MonitoringInterval"] for each in shown] == [30, 0, 0]
    assert shown[0]["PerformanceInsightsEnabled"] is True
    assert [tags.from_aws(each["TagList"])["role"] for each in shown] == [
        *("member-1", "member-3", "member-2")
    ]


def _members(cluster: Json) -> list[Json]:
    return list(cluster["DBClusterMembers"])


def _all_cluster_options(stage: Stage, _original: Resource) -> Json:
    number = next(_numbers)
    return {
        "cluster_identifier": f"restored-{number}",
        "instance_identifier": f"writer-{number}",
        "instance_class": "db.r5.xlarge",
        "db_subnet_group": subnet_group(stage)["DBSubnetGroupName"],
        "port": 4406,
        "availability_zone": ZONES[0],
        "publicly_accessible": True,
        "parameter_group": cluster_parameter_group(stage),
        "vpc_security_groups": [security_group(stage)],
        "preserve_tags": False,
        "additional_tags": {"who": "me"},
    }


def _check_cluster_options(stage: Stage, _original: Resource, made: Mapping[str, Refs]) -> None:
    now = cluster_of(stage, made["cluster"]["cluster"])
    assert now["DBClusterIdentifier"].startswith("restored-")
    assert now["Port"] == 4406
    carried = tags.from_aws(now["TagList"])
    assert carried["who"] == "me"
    assert "team" not in carried
    writer = database_of(stage, made["writer"]["instance"])
    assert writer["DBInstanceIdentifier"].startswith("writer-")
    assert writer["AvailabilityZone"] == ZONES[0]
    for member in _members(now):
        shown = database_of(stage, member["DBInstanceIdentifier"])
        assert shown["DBInstanceClass"] == "db.r5.xlarge"
        assert shown["PubliclyAccessible"] is True
        assert "role" not in tags.from_aws(shown["TagList"])


RDS_CLUSTER = Rig(
    plant=plant_cluster,
    plant_many=lambda stage, count: stage.simulator.seed(
        account=stage.account_number, region=REGION, clusters=count
    ),
    lose=partial(_lose, noun="DBClusterSnapshot"),
    tags_of=partial(_tags_of, noun="DBClusterSnapshot"),
    copies_with=partial(_copies_with, noun="DBClusterSnapshot"),
    copies_are_named=True,
    remains=remains,
    many=250,
    absent_id="no-such-cluster",
    absent_ref="cpm-no-such-snapshot",
    recoveries=(
        RecoveryCase("as it was", _nothing, _check_same_cluster),
        RecoveryCase("otherwise", _all_cluster_options, _check_cluster_options),
    ),
    deletion_refused="InvalidDBClusterSnapshotStateFault",
    copying=_copy_cases(plant_cluster, make_cluster, _plant_cluster_under_own_key),
    copies_at=partial(_listed, noun="DBClusterSnapshot"),
    shared_with=partial(_shared_with, noun="DBClusterSnapshot"),
)
