"""RDS clusters: what they cost to read and protect, and how they come back with their members."""

from dataclasses import replace

import pytest

from cpm.resources.contract import Json, Resource, Where
from cpm.resources.copied import Source
from cpm.testing.copy_suite import Journey
from cpm.testing.stage import OTHER_REGION, CopyCase, Stage
from tests.contract.conftest import Staging
from tests.contract.rds_rigs import (
    cluster_of,
    database_of,
    make_cluster,
    make_database,
    make_member,
    plant_cluster,
    rds,
    remains,
)
from tests.contract.test_ebs_volume import counted, refusal_of


@pytest.fixture
def stage(staged: Staging) -> Stage:
    return staged("rds_cluster")


@pytest.fixture
def source(stage: Stage) -> Source:
    return stage.back_up(stage.plant())


def described(stage: Stage, name: str) -> Resource:
    (found,) = stage.driver.describe(stage.aws, [name])
    return found


def drop(stage: Stage, name: str) -> None:
    """Delete a cluster with its members."""
    for member in cluster_of(stage, name)["DBClusterMembers"]:
        identifier = member["DBInstanceIdentifier"]
        rds(stage, "DeleteDBInstance", DBInstanceIdentifier=identifier, SkipFinalSnapshot=True)
    rds(stage, "ModifyDBCluster", DBClusterIdentifier=name, DeletionProtection=False)
    rds(stage, "DeleteDBCluster", DBClusterIdentifier=name, SkipFinalSnapshot=True)


def recovered(stage: Stage, source: Source, options: Json) -> Json:
    """The cluster that a recovery makes."""
    cluster, *_ = stage.carry_out(stage.plan_recovery(source, options))
    return cluster_of(stage, cluster.refs["cluster"])


def test_a_hundred_clusters_are_read_with_their_members_in_two_calls(stage: Stage) -> None:
    ids = stage.simulator.seed(account=stage.account_number, clusters=30)["clusters"]

    def protect() -> None:
        for cluster in stage.driver.describe(stage.aws, ids):
            assert len(cluster.facts["members"]) == 1
            for order in stage.plan(cluster):
                stage.begin(order)

    assert counted(stage, protect) == {
        "DescribeDBClusters": 1,
        "DescribeDBInstances": 1,
        "CreateDBClusterSnapshot": 30,
    }


def test_clusters_of_other_services_are_not_protected(stage: Stage) -> None:
    graph = make_cluster(stage, Engine="neptune", EngineVersion="1.3.2.1")
    aurora = make_cluster(stage)
    assert [each.resource_id for each in stage.driver.discover(stage.aws)] == [aurora]
    assert [each.resource_id for each in stage.driver.describe(stage.aws, [graph, aurora])] == [
        aurora
    ]


def test_clusters_are_known_by_their_arns(stage: Stage) -> None:
    name, rules = make_cluster(stage), stage.driver.tag_rules
    assert rules is not None
    assert rules.resource_id(cluster_of(stage, name)["DBClusterArn"]) == name


def test_a_member_s_tags_are_known_with_its_cluster(stage: Stage) -> None:
    cluster = make_cluster(stage)
    make_member(stage, cluster, 1)
    (member,) = described(stage, cluster).facts["members"]
    assert member["tags"] == {"role": "member-1"}


def test_a_cluster_whose_original_is_gone_gets_all_its_names(stage: Stage, source: Source) -> None:
    drop(stage, source.resource_id)
    assert remains(stage) == set()
    now = recovered(stage, source, {})
    assert now["DBClusterIdentifier"] == source.resource_id
    writer = next(each for each in now["DBClusterMembers"] if each["IsClusterWriter"])
    assert writer["DBInstanceIdentifier"] == f"{source.resource_id}-1"
    assert remains(stage) == {source.resource_id} | {
        f"{source.resource_id}-{number}" for number in (1, 2, 3)
    }


def test_a_writer_that_takes_a_reader_s_name_leaves_the_reader_another(
    stage: Stage, source: Source
) -> None:
    drop(stage, source.resource_id)
    wanted = f"{source.resource_id}-2"
    now = recovered(stage, source, {"instance_identifier": wanted})
    roles = {
        each["DBInstanceIdentifier"]: each["IsClusterWriter"] for each in now["DBClusterMembers"]
    }
    assert roles[wanted] is True
    assert len(roles) == 3


def test_a_cluster_without_members_needs_a_class_for_its_first(stage: Stage) -> None:
    source = stage.back_up(described(stage, make_cluster(stage)))
    assert refusal_of(stage, source, {}) == ("instance_class", "required")
    now = recovered(stage, source, {"instance_class": "db.r5.large"})
    (member,) = now["DBClusterMembers"]
    assert database_of(stage, member["DBInstanceIdentifier"])["DBInstanceClass"] == "db.r5.large"


def test_aws_makes_the_members_of_a_multi_az_cluster_itself(stage: Stage) -> None:
    name = make_cluster(
        stage,
        Engine="mysql",
        EngineVersion="8.0.35",
        DBClusterInstanceClass="db.r5.large",
        AllocatedStorage=100,
        StorageType="io1",
        Iops=2000,
    )
    cluster = described(stage, name)
    assert cluster.size_gib == 100
    source = stage.back_up(cluster)
    (restore,) = stage.plan_recovery(source, {"instance_class": "db.r5.xlarge"})
    parameters = restore.spec["parameters"]
    assert parameters["DBClusterInstanceClass"] == "db.r5.xlarge"
    assert (parameters["StorageType"], parameters["Iops"]) == ("io1", 2000)
    stage.carry_out([restore])
    for field in ("instance_identifier", "availability_zone"):
        assert refusal_of(stage, source, {field: "us-east-1a"}) == (field, "invalid")


def test_a_serverless_cluster_has_no_members(stage: Stage) -> None:
    scaling = {"MinCapacity": 2, "MaxCapacity": 8}
    name = make_cluster(stage, EngineMode="serverless", ScalingConfiguration=scaling)
    source = stage.back_up(described(stage, name))
    (restore,) = stage.plan_recovery(source, {})
    assert restore.spec["parameters"]["EngineMode"] == "serverless"
    assert restore.spec["parameters"]["ScalingConfiguration"].items() >= scaling.items()
    assert refusal_of(stage, source, {"instance_class": "db.r5.large"}) == (
        *("instance_class", "invalid"),
    )


def test_a_copy_elsewhere_comes_back_without_what_means_nothing_there(stage: Stage) -> None:
    journey = Journey(stage, CopyCase("elsewhere", plant_cluster, crosses_accounts=True))
    *_, copy = journey.carry_out(journey.plan())
    (copied,) = stage.copies(copy)
    source = Source(copied.resource_id, None, copied.facts, [copied], is_elsewhere=True)
    plan, options = stage.driver.plan_recovery, stage.driver.recover_options
    assert plan is not None
    assert options is not None
    begun = stage.carry_out(plan(journey.target, source, options()), {Where.TARGET: journey.target})
    assert begun[0].refs == {"cluster": source.resource_id}
    members = [each for each in begun if each.effect.name.startswith("create_")]
    assert [each.refs["instance"] for each in members] == [
        f"{source.resource_id}-{number}" for number in (1, 3, 2)
    ]
    name = {"DBClusterIdentifier": source.resource_id}
    (now,) = journey.target.call("rds", "DescribeDBClusters", **name)["DBClusters"]
    assert now["Port"] == 3307
    assert now["AvailabilityZones"][0].startswith(OTHER_REGION)
    assert (now["DomainMemberships"], now["AssociatedRoles"]) == ([], [])


def test_groups_that_are_gone_are_dropped_and_the_log_says_so(stage: Stage, source: Source) -> None:
    gone = {"db_subnet_group": "nets-gone", "parameter_group": "parameters-gone"}
    restore, writer, *_ = stage.plan_recovery(replace(source, facts=source.facts | gone), {})
    text = "\n".join(restore.notes)
    assert all(name in text for name in gone.values())
    assert source.facts["security_groups"][0] in text
    # Nothing is known of the zones of another network.
    assert "AvailabilityZone" not in writer.spec["parameters"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"cluster_identifier": "a--b"}, "invalid"),
        ({"instance_identifier": "1st"}, "invalid"),
        ({"instance_class": "db.m5.enormous"}, "invalid_choice"),
        ({"availability_zone": "us-east-1c"}, "invalid"),
        ({"db_subnet_group": "nothing"}, "does_not_exist"),
        ({"parameter_group": "nothing"}, "does_not_exist"),
        ({"vpc_security_groups": ["sg-0123456789abcdef0"]}, "does_not_exist"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    stage: Stage, source: Source, options: Json, code: str
) -> None:
    before = remains(stage)
    (field,) = options
    assert refusal_of(stage, source, options) == (field, code)
    assert remains(stage) == before


def test_names_that_are_taken_are_refused(stage: Stage, source: Source) -> None:
    cluster, alone = make_cluster(stage), make_database(stage)
    for field, name in (("cluster_identifier", cluster), ("instance_identifier", alone)):
        assert refusal_of(stage, source, {field: name}) == (field, "unique")
