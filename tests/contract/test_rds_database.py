"""RDS databases: what snapshots carry and cost, and what becomes of recoveries."""

import re
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from cpm.aws import tags
from cpm.kernel.faults import FaultKind
from cpm.resources.contract import Json, OptionRefused, Resource, State, Where, Whole
from cpm.resources.copied import Source
from cpm.testing.copy_suite import Journey
from cpm.testing.stage import OTHER_REGION, CopyCase, Stage, fault_of
from tests.contract.conftest import Staging
from tests.contract.rds_rigs import (
    database_of,
    make_cluster,
    make_database,
    make_member,
    option_group,
    parameter_group,
    plant_database,
    rds,
    remains,
    security_group,
)
from tests.contract.test_ebs_volume import counted, refusal_of


@pytest.fixture
def stage(staged: Staging) -> Stage:
    return staged("rds_database")


@pytest.fixture
def source(stage: Stage) -> Source:
    return stage.back_up(stage.plant())


def described(stage: Stage, name: str) -> Resource:
    (found,) = stage.driver.describe(stage.aws, [name])
    return found


def recovered(stage: Stage, source: Source, options: Json) -> Json:
    """The database that a recovery makes."""
    restore, *_ = stage.carry_out(stage.plan_recovery(source, options))
    return database_of(stage, restore.refs["instance"])


def drop(stage: Stage, name: str) -> None:
    """Delete a database, protected or not."""
    rds(stage, "ModifyDBInstance", DBInstanceIdentifier=name, DeletionProtection=False)
    rds(stage, "DeleteDBInstance", DBInstanceIdentifier=name, SkipFinalSnapshot=True)


class TestSnapshots:
    """What protecting a database does."""

    def test_a_fleet_costs_one_call_each_and_one_for_a_hundred_to_read(self, stage: Stage) -> None:
        seeded = stage.simulator.seed(account=stage.account_number, databases=120)["databases"]

        def protect() -> None:
            for database in stage.driver.describe(stage.aws, seeded[:100]):
                for order in stage.plan(database):
                    stage.begin(order)

        assert counted(stage, protect) == {"DescribeDBInstances": 1, "CreateDBSnapshot": 100}
        assert counted(stage, lambda: list(stage.driver.discover(stage.aws))) == {
            "DescribeDBInstances": 2
        }

    def test_a_hundred_snapshots_are_watched_with_one_call(self, stage: Stage) -> None:
        (begun,) = stage.carry_out(stage.plan(described(stage, make_database(stage))))
        (known,) = begun.refs.values()
        refs = [known, *(f"cpm-{number}" for number in range(99))]
        assert counted(stage, lambda: stage.watch("db_snapshot", refs)) == {
            "DescribeDBSnapshots": 1
        }
        assert stage.driver.watch("db_snapshot").batch == 100
        verdicts = dict(stage.watch("db_snapshot", refs))
        assert verdicts.pop(known).state is State.DONE
        assert {verdict.state for verdict in verdicts.values()} == {State.GONE}

    def test_names_say_what_they_are_of_and_are_legal_however_long(self, stage: Stage) -> None:
        for name in ("shop", "a-" + "b" * 60, f"{'c' * 21}-d"):
            database = described(stage, make_database(stage, DBInstanceIdentifier=name))
            (begun,) = stage.carry_out(stage.plan(database))
            ref = begun.refs[name]
            assert re.fullmatch("[a-z](-?[a-z0-9])*", ref)
            assert len(ref) <= 63
            assert ref.startswith(f"cpm-{name[:21]}")
            assert ref.endswith(begun.ask.token)

    def test_that_the_name_is_taken_means_that_it_was_made_before(self, stage: Stage) -> None:
        (order,) = stage.plan(described(stage, make_database(stage)))
        effect, ask = stage.driver.effect(order.effect), stage.ask(order)
        refs = effect.start(stage.aws, ask)
        assert effect.start(stage.aws, ask) == refs
        assert stage.rig.copies_with(stage, ask.token) == list(refs.values())

    def test_ours_fit_where_a_database_has_as_many_tags_as_aws_allows(self, stage: Stage) -> None:
        many = {f"key-{number:02}": "value" for number in range(48)} | {"Name": "shop"}
        name = make_database(stage, Tags=tags.to_aws(many))
        (begun,) = stage.carry_out(stage.plan(described(stage, name)))
        carried = stage.rig.tags_of(stage, begun.refs[name])
        assert len(carried) == tags.MOST_TAGS
        assert begun.ask.marks.items() <= carried.items()
        assert carried["Name"] == "shop"

    def test_a_database_that_is_not_available_is_locked(self, stage: Stage) -> None:
        stage.simulator.config(pending=36000)
        (order,) = stage.plan(described(stage, make_database(stage)))
        fault = fault_of(partial(stage.begin, order))
        assert (fault.kind, fault.code) == (FaultKind.LOCKED, "InvalidDBInstanceState")

    def test_more_snapshots_than_the_account_may_have_wait(self, stage: Stage) -> None:
        (order,) = stage.plan(described(stage, make_database(stage)))
        rule = {"op": "rds:CreateDBSnapshot", "kind": "denied", "code": "SnapshotQuotaExceeded"}
        with stage.faults(rule):
            fault = fault_of(partial(stage.begin, order))
        assert fault.kind is FaultKind.QUOTA
        assert fault.worth_another_try

    def test_a_filter_that_fails_for_one_name_answers_for_the_others(self, stage: Stage) -> None:
        name = make_database(stage)
        rule = {
            "op": "rds:DescribeDBInstances",
            "kind": "denied",
            "code": "DBInstanceNotFound",
            "times": 1,
        }
        with stage.faults(rule):
            found = list(stage.driver.describe(stage.aws, [name, "nothing"]))
        assert [each.resource_id for each in found] == [name]


class TestMembers:
    """Instances of a cluster go with the cluster."""

    @pytest.fixture
    def member(self, stage: Stage) -> Resource:
        return described(stage, make_member(stage, make_cluster(stage), 1))

    def test_a_member_is_refused_naming_its_cluster(self, stage: Stage, member: Resource) -> None:
        check = stage.driver.check_target
        assert check is not None
        for work in (
            lambda: check(stage.aws, member, None),
            lambda: stage.plan(member),
        ):
            with pytest.raises(OptionRefused, match=member.facts["cluster"]) as refused:
                work()
            assert (refused.value.field, refused.value.code) == ("resource_id", "invalid")

    def test_a_tag_on_a_member_means_its_cluster(self, stage: Stage, member: Resource) -> None:
        alone = described(stage, make_database(stage))
        found = {each.resource_id: each for each in stage.driver.discover(stage.aws)}
        assert found == {each.resource_id: each for each in (alone, member)}
        rules = stage.driver.tag_rules
        assert rules is not None
        assert rules.stands_for is not None
        assert rules.stands_for(alone) is None
        assert rules.stands_for(member) == Whole("rds_cluster", member.facts["cluster"])
        for each in (alone, member):
            arn = database_of(stage, each.resource_id)["DBInstanceArn"]
            assert rules.resource_id(arn) == each.resource_id


class TestRecovery:
    """What comes back, and where it goes."""

    def test_a_database_whose_original_is_gone_gets_its_name(
        self, stage: Stage, source: Source
    ) -> None:
        drop(stage, source.resource_id)
        now = recovered(stage, source, {})
        assert now["DBInstanceIdentifier"] == source.resource_id
        assert now["DBInstanceClass"] == "db.m5.large"
        assert now["MaxAllocatedStorage"] == 500

    def test_two_that_come_back_at_once_do_not_get_in_each_others_way(
        self, stage: Stage, source: Source
    ) -> None:
        drop(stage, source.resource_id)
        first, second = (stage.plan_recovery(source, {})[0] for _ in range(2))
        (one,), (other,) = stage.carry_out([first]), stage.carry_out([second])
        assert one.refs["instance"] == source.resource_id
        assert other.refs["instance"].startswith(f"{source.resource_id}-")
        assert other.effect.find is not None
        assert other.effect.find(stage.aws, other.ask) == other.refs

    def test_a_name_that_was_asked_for_is_used_or_refused(
        self, stage: Stage, source: Source
    ) -> None:
        wanted = {"db_instance_identifier": "wanted"}
        (restore, *_) = stage.plan_recovery(source, wanted)
        make_database(stage, DBInstanceIdentifier="wanted")
        fault = fault_of(partial(stage.begin, restore))
        assert fault.code == "DBInstanceAlreadyExists"
        assert refusal_of(stage, source, wanted) == ("db_instance_identifier", "unique")

    def test_groups_that_are_gone_are_dropped_and_the_log_says_so(
        self, stage: Stage, source: Source
    ) -> None:
        drop(stage, source.resource_id)
        facts = source.facts
        rds(stage, "DeleteDBSubnetGroup", DBSubnetGroupName=facts["db_subnet_group"])
        rds(stage, "DeleteDBParameterGroup", DBParameterGroupName=facts["parameter_group"])
        rds(stage, "DeleteOptionGroup", OptionGroupName=facts["option_group"])
        restore, *_ = stage.plan_recovery(source, {})
        text = "\n".join(restore.notes)
        for lost in ("db_subnet_group", "parameter_group", "option_group"):
            assert facts[lost] in text
        # They belong to the network that is not there any more.
        assert facts["security_groups"][0] in text
        (begun,) = stage.carry_out([restore])
        now = database_of(stage, begun.refs["instance"])
        assert now["DBParameterGroups"][0]["DBParameterGroupName"] == "default.mysql8.0"

    def test_security_groups_that_are_gone_leave_the_others(self, stage: Stage) -> None:
        kept, lost = security_group(stage), security_group(stage)
        name = make_database(stage, VpcSecurityGroupIds=[kept, lost])
        source = stage.back_up(described(stage, name))
        stage.hand.call("ec2", "DeleteSecurityGroup", GroupId=lost)
        restore, *_ = stage.plan_recovery(source, {})
        assert restore.spec["parameters"]["VpcSecurityGroupIds"] == [kept]
        assert [lost in note for note in restore.notes] == [True]

    def test_a_copy_elsewhere_comes_back_without_what_means_nothing_there(
        self, stage: Stage
    ) -> None:
        case = CopyCase("elsewhere", plant_database, crosses_accounts=True)
        journey = Journey(stage, case)
        *_, copy = journey.carry_out(journey.plan())
        (copied,) = stage.copies(copy)
        source = Source(copied.resource_id, None, copied.facts, [copied], is_elsewhere=True)
        plan = stage.driver.plan_recovery
        assert plan is not None
        assert stage.driver.recover_options is not None
        orders = plan(journey.target, source, stage.driver.recover_options())
        restore, *_ = stage.carry_out(orders, {Where.TARGET: journey.target})
        name = {"DBInstanceIdentifier": restore.refs["instance"]}
        (now,) = journey.target.call("rds", "DescribeDBInstances", **name)["DBInstances"]
        assert now["DBInstanceIdentifier"] == source.resource_id
        assert now["AvailabilityZone"].startswith(OTHER_REGION)
        assert (now["Iops"], now["Endpoint"]["Port"]) == (2000, 3307)
        assert tags.from_aws(now["TagList"])["team"] == "red"

    def test_a_database_in_two_zones_comes_back_in_two_zones(self, stage: Stage) -> None:
        source = stage.back_up(described(stage, make_database(stage, MultiAZ=True)))
        assert recovered(stage, source, {})["MultiAZ"] is True
        zone = {"availability_zone": "us-east-1a"}
        assert refusal_of(stage, source, zone) == ("availability_zone", "invalid")
        alone = recovered(stage, source, zone | {"multi_az": False})
        assert (alone["MultiAZ"], alone["AvailabilityZone"]) == (False, "us-east-1a")

    def test_small_gp3_storage_is_asked_for_without_numbers(self, stage: Stage) -> None:
        source = stage.back_up(described(stage, make_database(stage)))

        def storage(facts: Json, **options: Any) -> Json:
            changed = replace(source, facts=source.facts | facts)
            restore, *_ = stage.plan_recovery(changed, options)
            wanted = ("StorageType", "Iops", "StorageThroughput")
            parameters = restore.spec["parameters"]
            return {name: parameters[name] for name in wanted if name in parameters}

        small = {"storage_type": "gp3", "iops": 3000, "throughput": 125}
        large = {"storage_type": "gp3", "iops": 12000, "throughput": 500}
        assert storage(small) == {"StorageType": "gp3"}
        assert storage(large) == {"StorageType": "gp3", "Iops": 12000, "StorageThroughput": 500}
        assert storage(small, iops=14000) == {"StorageType": "gp3", "Iops": 14000}
        assert storage(large, storage_type="gp2") == {"StorageType": "gp2"}
        fast = {"storage_type": "io1", "iops": 2000}
        assert storage(fast, storage_type="io2") == {"StorageType": "io2", "Iops": 2000}
        assert storage(fast, storage_type="gp3") == {"StorageType": "gp3"}

    @pytest.mark.parametrize(
        ("options", "code"),
        [
            ({"db_instance_identifier": "a--b"}, "invalid"),
            ({"db_instance_identifier": "1st"}, "invalid"),
            ({"db_instance_class": "db.m5.enormous"}, "invalid_choice"),
            ({"availability_zone": "eu-west-1a"}, "invalid_choice"),
            ({"availability_zone": "us-east-1c"}, "invalid"),
            ({"db_subnet_group": "nothing"}, "does_not_exist"),
            ({"parameter_group": "nothing"}, "does_not_exist"),
            ({"option_group": "nothing"}, "does_not_exist"),
            ({"vpc_security_groups": ["sg-0123456789abcdef0"]}, "does_not_exist"),
            ({"storage_type": "gp2", "iops": 3000}, "invalid"),
            ({"additional_tags": {"what": "100%"}}, "invalid"),
            ({"additional_tags": {"aws:x": "y"}}, "invalid"),
        ],
    )
    def test_what_cannot_be_is_refused_before_anything_is_made(
        self, stage: Stage, source: Source, options: Json, code: str
    ) -> None:
        before = remains(stage)
        *_, field = options
        assert refusal_of(stage, source, options) == (field, code)
        assert remains(stage) == before

    def test_provisioned_storage_needs_a_number_of_iops(self, stage: Stage) -> None:
        source = stage.back_up(described(stage, make_database(stage)))
        assert refusal_of(stage, source, {"storage_type": "io1"}) == ("iops", "required")

    def test_groups_of_other_engines_are_refused(self, stage: Stage, source: Source) -> None:
        postgres = parameter_group(stage, "postgres15")
        options = option_group(stage, "oracle-ee", "19")
        assert refusal_of(stage, source, {"parameter_group": postgres}) == (
            *("parameter_group", "invalid"),
        )
        assert refusal_of(stage, source, {"option_group": options}) == ("option_group", "invalid")

    def test_security_groups_of_another_network_are_refused(
        self, stage: Stage, source: Source
    ) -> None:
        vpc = stage.hand.call("ec2", "CreateVpc", CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        group = stage.hand.call(
            "ec2", "CreateSecurityGroup", GroupName="x", Description="x", VpcId=vpc
        )["GroupId"]
        wanted = {"vpc_security_groups": [group]}
        assert refusal_of(stage, source, wanted) == ("vpc_security_groups", "invalid")

    def test_a_snapshot_that_is_gone_or_not_done_is_refused(
        self, stage: Stage, source: Source
    ) -> None:
        (copy,) = source.copies
        stage.simulator.config(pending=3600)
        begun = stage.begin(stage.plan(described(stage, source.resource_id))[0])
        unfinished = replace(copy, aws_ref=begun.refs[source.resource_id])
        pending = replace(source, copies=[unfinished])
        assert refusal_of(stage, pending, {}) == ("non_field_errors", "invalid")
        stage.rig.lose(stage, copy.aws_ref)
        assert refusal_of(stage, source, {}) == ("non_field_errors", "does_not_exist")


def test_what_aws_s_own_key_encrypts_needs_a_key_to_be_shared_under(stage: Stage) -> None:
    def plant(stage: Stage) -> str:
        return make_database(stage, StorageEncrypted=True)

    journey = Journey(stage, CopyCase("to another account", plant, crosses_accounts=True))
    with pytest.raises(OptionRefused, match="alias/cpm_share") as refused:
        journey.plan()
    assert refused.value.code == "does_not_exist"
    own_key = stage.hand.call("kms", "DescribeKey", KeyId=journey.original.facts["kms_key_id"])
    alias = {"AliasName": "alias/cpm_share", "TargetKeyId": own_key["KeyMetadata"]["KeyId"]}
    stage.hand.call("kms", "CreateAlias", **alias)
    with pytest.raises(OptionRefused, match="AWS's own, too") as refused:
        journey.plan()
    assert refused.value.code == "invalid"


def test_a_copy_keeps_its_option_group_where_there_is_one_of_that_name(stage: Stage) -> None:
    group = option_group(stage)
    there = stage.hand.at(OTHER_REGION)
    same = {"EngineName": "mysql", "MajorEngineVersion": "8.0", "OptionGroupDescription": "x"}
    there.call("rds", "CreateOptionGroup", OptionGroupName=group, **same)

    def plant(stage: Stage) -> str:
        return make_database(stage, OptionGroupName=group)

    journey = Journey(stage, CopyCase("to another region", plant))
    (copy,) = journey.carry_out(journey.plan())
    (found,) = there.call("rds", "DescribeDBSnapshots", SnapshotType="manual")["DBSnapshots"]
    assert found["OptionGroupName"] == group
    assert found["DBSnapshotIdentifier"] in copy.refs.values()


def test_a_deletion_that_aws_is_busy_with_is_done(stage: Stage, source: Source) -> None:
    stage.rig.lose(stage, source.copies[0].aws_ref)
    (part,) = stage.plan(described(stage, source.resource_id))[0].parts
    with stage.refused_deletions(stage.aws):
        stage.delete(part, source.copies[0].aws_ref)
