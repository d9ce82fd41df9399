"""Tags on resources decide what policies protect."""

import pytest

from cpm.models.audit import AuditEntry
from cpm.models.policies import Policy, TargetVolume
from cpm.models.schedules import Schedule
from tests.engine.tagging import OTHER_KEY, Tagging, by_tag, left_out, targets_of
from tests.engine.world import (
    World,
    instance_target,
    make_account,
    name_volumes,
    volume_target,
)


@pytest.fixture
def tagging(world: World) -> Tagging:
    """The world's account, with its tags scanned."""
    return Tagging(world)


NOTHING = {"added": 0, "removed": 0, "changed": 0, "problems": 0}


def test_what_is_tagged_becomes_a_target_with_name_and_size(tagging: Tagging) -> None:
    tagging.policy("gold")
    instance_id = tagging.instance("gold", volumes=2, Name="web")
    volume_id = tagging.volume("gold")
    tagging.cluster("dw", "gold")
    tagging.database("db", "gold")
    tagging.aurora("aurora", "gold")
    tagging.table("orders", "gold")
    assert tagging.scan() == {**NOTHING, "added": 6}
    targets = targets_of("gold")
    assert {resource_id: each.kind for resource_id, each in targets.items()} == {
        instance_id: "ec2_instance",
        volume_id: "ebs_volume",
        "dw": "redshift_cluster",
        "db": "rds_database",
        "aurora": "rds_cluster",
        "orders": "dynamodb_table",
    }
    assert all(each.added_by_tag for each in targets.values())
    web = targets[instance_id]
    assert (web.name, web.size_gib) == ("web", 8 + 16)
    assert tagging.scan() == NOTHING


def test_both_keys_are_united_and_the_first_mention_wins(tagging: Tagging) -> None:
    for name in ("gold", "silver", "bronze"):
        tagging.policy(name)
    instance_id, other = tagging.instance("gold#only-amis silver"), tagging.instance()
    tagging.tag([instance_id], None, **{OTHER_KEY: "gold#only-snaps bronze"})
    tagging.tag([other], None, **{OTHER_KEY: "silver"})
    tagging.scan()
    assert by_tag("gold", "silver", "bronze") == {
        "gold": [instance_id],
        "silver": sorted([instance_id, other]),
        "bronze": [instance_id],
    }
    assert targets_of("gold")[instance_id].options == {"backup_option": "A"}


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("", {}),
        ("#only-snaps", {"backup_option": "S"}),
        ("#initial-ami", {"backup_option": "I"}),
        ("#only-amis", {"backup_option": "A"}),
        ("#only-amis-noreboot", {"backup_option": "N"}),
        ("#app-aware", {"agent_enabled": True, "scripts_enabled": True}),
        (
            "#initial-ami#app-aware",
            {"backup_option": "I", "agent_enabled": True, "scripts_enabled": True},
        ),
    ],
)
def test_options_of_a_tag_are_the_targets(
    tagging: Tagging, words: str, options: dict[str, object]
) -> None:
    tagging.policy("gold")
    instance_id = tagging.instance(f"gold{words}")
    tagging.scan()
    assert targets_of("gold")[instance_id].options == options


def test_windows_has_its_own_defaults_and_vss(tagging: Tagging) -> None:
    tagging.policy("gold")
    one, two = tagging.windows("gold"), tagging.windows("gold#only-snaps#app-aware-vss")
    assert tagging.scan()["problems"] == 0
    targets = targets_of("gold")
    assert targets[one].options == {"backup_option": "I"}
    assert targets[two].options == {
        "backup_option": "S",
        "agent_enabled": True,
        "scripts_enabled": True,
        "vss_enabled": True,
    }


def test_an_option_that_does_not_suit_is_a_problem_each_time_and_the_rest_holds(
    tagging: Tagging,
) -> None:
    tagging.policy("gold")
    instance_id = tagging.instance("gold#only-amis#app-aware-vss")
    assert tagging.scan() == {**NOTHING, "added": 1, "problems": 1}
    assert tagging.problems() == [("tag_option_refused", instance_id)]
    assert targets_of("gold")[instance_id].options == {"backup_option": "A"}
    assert tagging.scan() == {**NOTHING, "problems": 1}
    assert tagging.problems() == [("tag_option_refused", instance_id)]


def test_a_resource_that_no_option_of_its_tag_suits_is_protected_without_them(
    tagging: Tagging,
) -> None:
    tagging.policy("gold")
    # Without a root volume there is no AMI.
    instance_id = tagging.instance("gold#only-amis", volumes=0)
    assert tagging.scan() == {**NOTHING, "added": 1, "problems": 1}
    assert tagging.problems() == [("tag_option_refused", instance_id)]
    assert targets_of("gold")[instance_id].options == {}


def test_each_problem_is_one_line_that_names_the_resource(tagging: Tagging, world: World) -> None:
    tagging.policy("gold")
    other = make_account(world.user, world.simulator.account("399999999999"))
    Policy.objects.create(
        user=world.user, account=other, name="theirs", modified_at=world.policy().modified_at
    )
    volume_id = tagging.volume("gold#only-snaps gold#odd nowhere theirs new:nowhere new2:theirs")
    empty = tagging.volume("   ")
    bad = tagging.instance("gold#only-snaps#only-amis #only b@d good:b@d", volumes=1)
    totals = tagging.scan()
    lines = tagging.problems()
    assert totals == {**NOTHING, "added": 2, "problems": len(lines)}
    assert sorted(lines) == sorted(
        [
            *((code, volume_id) for code in (
                "tag_foreign_option",
                "tag_unknown_option",
                "tag_unknown_policy",
                "tag_other_account",
                "tag_unknown_template",
                "tag_other_template",
            )),
            ("tag_empty", empty),
            *((code, bad) for code in (
                "tag_second_backup_option",
                "tag_no_policy",
                "tag_bad_policy_name",
                "tag_bad_template_name",
                "tag_unknown_policy",
            )),
        ]
    )  # fmt: skip
    assert by_tag("gold", "theirs") == {"gold": sorted([volume_id, bad]), "theirs": []}
    assert set(Policy.objects.filter(account=world.account).values_list("name", flat=True)) >= {
        "gold"
    }


def test_a_template_makes_a_policy_with_all_of_its_settings_and_none_of_its_targets(
    tagging: Tagging, world: World
) -> None:
    columns = {
        "description": "of gold",
        "generations": 7,
        "auto_remove_resource": "A",
        "retry_count": 2,
        "dr_enabled": True,
        "dr_frequency": 3,
        "dr_regions": [1],
        "dr_successes": 4,
    }
    gold = tagging.policy("gold", volume_target(world.volume()), **columns)
    schedule = world.schedule(gold, every_unit="D", every_how_many=1)
    one, two = tagging.volume("new:gold"), tagging.volume("new:gold")
    assert tagging.scan() == {**NOTHING, "added": 2}
    new = Policy.objects.get(name="new")
    assert by_tag("new") == {"new": sorted([one, two])}
    assert len(targets_of("gold")) == 1
    own = {"id", "name", "modified_at", "dr_successes"}
    for field in Policy._meta.concrete_fields:
        if field.attname not in own:
            assert getattr(new, field.attname) == getattr(gold, field.attname)
    assert new.dr_successes == 0
    (link,) = new.links.all()
    assert link.schedule == Schedule.objects.get(pk=schedule.pk)
    assert link.next_run_at == gold.links.get().next_run_at
    # It is a policy like any other now.
    tagging.untag(one, two)
    assert tagging.scan() == {**NOTHING, "removed": 2}
    assert Policy.objects.filter(name="new").exists()


def test_all_that_belongs_to_a_policy_is_copied_or_known_not_to_be() -> None:
    """A row of settings beside the policy would be missed by its copies."""
    beside = {relation.name for relation in Policy._meta.related_objects}
    assert beside == {"alerts", "backups", "links", "recoveries", "targets"}


def test_targets_follow_their_tag(tagging: Tagging) -> None:
    for name in ("gold", "silver"):
        tagging.policy(name)
    instance_id = tagging.instance("gold#only-amis")
    tagging.scan()
    tagging.tag([instance_id], "silver gold#only-snaps")
    assert tagging.scan() == {**NOTHING, "added": 1, "changed": 1}
    assert targets_of("gold")[instance_id].options == {"backup_option": "S"}
    tagging.tag([instance_id], "silver")
    assert tagging.scan() == {**NOTHING, "removed": 1}
    assert by_tag("gold", "silver") == {"gold": [], "silver": [instance_id]}
    tagging.untag(instance_id)
    assert tagging.scan() == {**NOTHING, "removed": 1}


def test_what_tags_do_not_speak_of_stays_as_somebody_has_set_it(tagging: Tagging) -> None:
    tagging.policy("gold")
    instance_id = tagging.instance("gold#only-amis")
    tagging.scan()
    target = targets_of("gold")[instance_id]
    target.options = {"backup_option": "S", "script_timeout": 60}
    target.tag = ""
    target.save()
    assert tagging.scan() == {**NOTHING, "changed": 1}
    assert targets_of("gold")[instance_id].options == {"backup_option": "A", "script_timeout": 60}


def test_targets_added_by_hand_stay_as_they_are(tagging: Tagging) -> None:
    tagged, untagged = tagging.instance("gold#only-amis"), tagging.instance()
    tagging.policy(
        "gold",
        instance_target(tagged, backup_option="N"),
        instance_target(untagged),
    )
    assert tagging.scan() == NOTHING
    targets = targets_of("gold")
    assert not any(each.added_by_tag for each in targets.values())
    assert targets[tagged].options == {"backup_option": "N"}


def test_no_backup_takes_a_resource_out_of_every_policy_also_where_it_was_added_by_hand(
    tagging: Tagging,
) -> None:
    instance_id, other = tagging.instance("gold"), tagging.instance("gold")
    tagging.policy("gold")
    tagging.policy("silver", instance_target(instance_id))
    tagging.scan()
    tagging.tag([instance_id], "gold no-backup")
    assert tagging.scan() == {**NOTHING, "removed": 2, "problems": 1}
    assert tagging.problems() == [("tag_beside_no_backup", instance_id)]
    assert set(targets_of("gold")) == {other}
    assert targets_of("silver") == {}


def test_a_volume_is_left_out_of_its_instances_backups(tagging: Tagging, world: World) -> None:
    gold = tagging.policy("gold")
    instance_id = tagging.instance("gold", volumes=3)
    root, *data = tagging.volumes_of(instance_id)
    tagging.tag([data[0]], "gold#exclude")
    assert tagging.scan() == {**NOTHING, "added": 1, "changed": 1}
    target = targets_of("gold")[instance_id]
    assert left_out(target) == [data[0]]
    assert target.options["volumes_mode"] == "E"
    assert tagging.scan() == NOTHING
    backup = world.backup(gold)
    assert set(backup.snapshots.values_list("resource_id", flat=True)) == {root, data[1]}
    tagging.untag(data[0])
    assert tagging.scan() == {**NOTHING, "changed": 1}
    target = targets_of("gold")[instance_id]
    assert left_out(target) == []
    assert target.options["volumes_mode"] == "A"


def test_exclude_alone_is_for_every_policy_also_where_the_instance_was_added_by_hand(
    tagging: Tagging,
) -> None:
    instance_id = tagging.instance("gold", volumes=2)
    _, volume_id = tagging.volumes_of(instance_id)
    tagging.tag([volume_id], "#exclude")
    tagging.policy("gold")
    tagging.policy("silver", instance_target(instance_id, backup_option="N"))
    tagging.scan()
    for name in ("gold", "silver"):
        assert left_out(targets_of(name)[instance_id]) == [volume_id]
    assert targets_of("silver")[instance_id].options["backup_option"] == "N"


def test_a_volume_may_be_left_out_of_one_policy_and_be_in_another(tagging: Tagging) -> None:
    for name in ("gold", "silver"):
        tagging.policy(name)
    instance_id = tagging.instance("gold silver", volumes=2)
    _, volume_id = tagging.volumes_of(instance_id)
    tagging.tag([volume_id], "gold#exclude silver lost#exclude")
    assert tagging.scan()["problems"] == 1
    assert tagging.problems() == [("tag_unknown_policy", volume_id)]
    assert left_out(targets_of("gold")[instance_id]) == [volume_id]
    assert left_out(targets_of("silver")[instance_id]) == []
    assert by_tag("silver") == {"silver": sorted([instance_id, volume_id])}


def test_lists_of_volumes_made_by_hand_stay_as_they_are(tagging: Tagging, world: World) -> None:
    instance_id = tagging.instance(volumes=4)
    _, one, two, three = tagging.volumes_of(instance_id)
    targets = {
        name: instance_target(instance_id, volumes_mode=mode)
        for name, mode in (("include", "I"), ("exclude", "E"))
    }
    for name, target in targets.items():
        tagging.policy(name, target)
    name_volumes(targets["include"], [one, two])
    name_volumes(targets["exclude"], [one])
    tagging.tag([one, three], "#exclude")
    assert tagging.scan() == {**NOTHING, "changed": 1, "problems": 2}
    assert [code for code, _ in tagging.problems()] == ["tag_exclusion_overruled"] * 2
    assert left_out(targets["include"]) == []
    assert left_out(targets["exclude"]) == [three]
    by_hand = TargetVolume.objects.filter(added_by_tag=False)
    assert set(by_hand.values_list("target", "volume_id")) == {
        (targets["include"].pk, one),
        (targets["include"].pk, two),
        (targets["exclude"].pk, one),
    }
    backup = world.backup(Policy.objects.get(name="include"))
    assert set(backup.snapshots.values_list("resource_id", flat=True)) == {one, two}
    tagging.untag(one, three)
    assert tagging.scan() == {**NOTHING, "changed": 1}
    assert targets_of("exclude")[instance_id].options["volumes_mode"] == "E"


def test_a_tag_excludes_whatever_the_mode_is_changed_to_until_the_next_scan(
    tagging: Tagging, world: World
) -> None:
    gold = tagging.policy("gold")
    instance_id = tagging.instance("gold", volumes=2)
    _, volume_id = tagging.volumes_of(instance_id)
    tagging.tag([volume_id], "#exclude")
    tagging.scan()
    target = targets_of("gold")[instance_id]
    target.options = {"volumes_mode": "A"}
    target.save()
    backup = world.backup(gold)
    assert volume_id not in backup.snapshots.values_list("resource_id", flat=True)
    assert tagging.scan() == {**NOTHING, "changed": 1}
    assert targets_of("gold")[instance_id].options["volumes_mode"] == "E"


def test_a_tag_on_a_member_of_a_cluster_means_the_cluster(tagging: Tagging) -> None:
    for name in ("gold", "silver", "bronze"):
        tagging.policy(name)
    tagging.aurora("shop", "silver")
    tagging.aurora("other")
    tagging.database("shop-1", "gold", member_of="shop")
    tagging.database("shop-2", "gold bronze#odd", member_of="shop")
    tagging.database("other-1", "bronze", member_of="other")
    assert tagging.scan() == {**NOTHING, "added": 4, "problems": 1}
    assert tagging.problems() == [("tag_unknown_option", "shop-2")]
    assert by_tag("gold", "silver", "bronze") == {
        "gold": ["shop"],
        "silver": ["shop"],
        "bronze": ["other", "shop"],
    }
    assert tagging.scan() == {**NOTHING, "problems": 1}
    tagging.tag_database("db", "shop-1", None)
    tagging.tag_database("db", "shop-2", None)
    tagging.tag_database("db", "other-1", "no-backup")
    assert tagging.scan() == {**NOTHING, "removed": 3}
    assert by_tag("gold", "silver", "bronze") == {"gold": [], "silver": ["shop"], "bronze": []}


def test_without_the_tagging_api_a_member_means_its_cluster_too(tagging: Tagging) -> None:
    tagging.policy("gold")
    tagging.aurora("shop")
    tagging.database("shop-1", "gold", member_of="shop")
    tagging.table("orders", "gold")
    tagging.world.simulator.faults([{"op": "tag:GetResources", "kind": "denied"}])
    assert tagging.scan() == {**NOTHING, "added": 2}
    assert by_tag("gold") == {"gold": ["orders", "shop"]}


def test_types_that_share_a_limit_share_what_it_allows(tagging: Tagging, world: World) -> None:
    world.user.max_rds_gib = 20
    world.user.save()
    tagging.policy("gold")
    tagging.database("db-1", "gold")
    tagging.database("db-2", "gold")
    assert tagging.scan() == {**NOTHING, "added": 1, "problems": 1}
    assert tagging.problems() == [("tag_over_limit", "db-2")]


def test_what_is_gone_is_no_target_any_longer(tagging: Tagging) -> None:
    tagging.policy("gold")
    volume_id = tagging.volume("gold")
    tagging.scan()
    tagging.ec2.delete_volume(VolumeId=volume_id)
    assert tagging.scan() == {**NOTHING, "removed": 1}


def test_a_terminated_instance_that_is_still_listed_is_not_added(tagging: Tagging) -> None:
    tagging.policy("gold")
    instance_id = tagging.instance("gold new:gold odd:")
    tagging.ec2.terminate_instances(InstanceIds=[instance_id])
    assert tagging.scan() == NOTHING
    assert not Policy.objects.filter(name="new").exists()


def test_a_target_that_a_backup_has_missed_is_looked_at_again(
    tagging: Tagging, world: World
) -> None:
    gold = tagging.policy("gold")
    instance_id = tagging.instance("gold")
    tagging.scan()
    tagging.ec2.terminate_instances(InstanceIds=[instance_id])
    world.backup(gold)
    assert targets_of("gold")[instance_id].is_missing
    assert tagging.scan() == {**NOTHING, "removed": 1}


def test_limits_are_kept_and_named_and_the_same_ones_stay_out(
    tagging: Tagging, world: World
) -> None:
    world.user.max_instances = 2
    world.user.max_independent_ebs_gib = 20
    world.user.save()
    by_hand = tagging.instance()
    tagging.policy("gold", instance_target(by_hand))
    instances = sorted(tagging.instance("gold") for _ in range(3))
    volumes = sorted(tagging.volume("gold") for _ in range(3))
    assert tagging.scan() == {**NOTHING, "added": 3, "problems": 3}
    assert by_tag("gold") == {"gold": sorted([instances[0], *volumes[:2]])}
    assert tagging.problems() == [("tag_over_limit", each) for each in [volumes[2], *instances[1:]]]
    assert tagging.scan() == {**NOTHING, "problems": 3}
    tagging.untag(instances[0])
    assert tagging.scan() == {**NOTHING, "added": 1, "removed": 1, "problems": 2}


def test_a_resource_counts_once_against_a_limit(tagging: Tagging, world: World) -> None:
    world.user.max_instances = 1
    world.user.save()
    for name in ("gold", "silver"):
        tagging.policy(name)
    tagging.instance("gold silver")
    assert tagging.scan() == {**NOTHING, "added": 2}


def test_the_owners_trail_says_what_the_server_did(tagging: Tagging, world: World) -> None:
    tagging.policy("gold")
    instance_id = tagging.instance("gold new:gold")
    tagging.scan()
    tagging.tag([instance_id], "no-backup")
    tagging.scan()
    entries = AuditEntry.objects.filter(user=world.user).order_by("pk")
    assert [(each.event_type, each.object) for each in entries] == [
        ("create policy", "new"),
        ("create target", "gold"),
        ("create target", "new"),
        ("delete target", "gold"),
        ("delete target", "new"),
    ]
    assert {(each.user_name, each.delegate_name) for each in entries} == {("", "")}
    assert f"EC2 instance {instance_id} in us-east-1, by its tag" in {
        each.description for each in entries
    }


def test_other_accounts_are_not_concerned(tagging: Tagging, world: World) -> None:
    other = make_account(world.user, world.simulator.account("388888888888"))
    theirs = volume_target("vol-0123456789abcdef0")
    policy = Policy.objects.create(
        user=world.user, account=other, name="theirs", modified_at=world.policy().modified_at
    )
    theirs.policy, theirs.added_by_tag = policy, True
    theirs.save()
    assert tagging.scan() == NOTHING
    assert set(targets_of("theirs")) == {"vol-0123456789abcdef0"}
