"""Scans of tags take place when they should, with few calls, through whatever goes wrong."""

from datetime import timedelta

import pytest
from django.db import connection, transaction

from cpm.engine import accounts, jobs, queue, sweep, tag_wishes, tagscan, tick
from cpm.engine.queue import Overtaken
from cpm.engine.settings import TagScanning
from cpm.engine.tag_report import Report
from cpm.engine.tag_rows import Known
from cpm.engine.tag_wishes import Wishes
from cpm.models.accounts import Account
from cpm.models.alerts import Alert, AlertCategory
from cpm.models.events import Event
from cpm.models.policies import Target
from cpm.models.tagscan import TagScan
from tests.engine.tagging import EU_WEST_1, US_EAST_1, Tagging, by_tag, is_under_way, targets_of
from tests.engine.world import (
    OTHER_REGION,
    REGION,
    World,
    at_once,
    open_alerts,
    volume_target,
)

NOTHING = {"added": 0, "removed": 0, "changed": 0, "problems": 0}
HOUR = timedelta(hours=1)


@pytest.fixture
def tagging(world: World) -> Tagging:
    """The world's account, with its tags scanned."""
    return Tagging(world)


def finished() -> int:
    """How many scans of single places have ended well."""
    return Event.objects.filter(code="scan_finished").count()


# --- when -------------------------------------------------------------------------------------


def test_a_round_begins_by_itself_and_comes_again_after_the_interval(tagging: Tagging) -> None:
    TagScanning.change(interval_hours=2)
    tagging.world.work()
    tagging.world.work()
    first = TagScanning.current().last_scan_time
    assert (finished(), is_under_way()) == (1, False)
    assert first is not None
    tagging.wait(HOUR * 1.9)
    assert finished() == 1
    tagging.wait(HOUR * 0.2)
    assert finished() == 2
    tagging.world.work()
    assert TagScanning.current().last_scan_time > first  # type: ignore[operator]  # both are there


def test_none_begins_by_itself_when_scanning_is_off_but_who_asks_is_served(
    tagging: Tagging,
) -> None:
    TagScanning.change(enabled=False)
    tagging.wait(HOUR * 30)
    assert finished() == 0
    assert tagging.scan() == NOTHING
    assert finished() == 1


def test_a_round_is_over_when_all_its_places_are(tagging: Tagging) -> None:
    tagging.world.account.scan_regions = [US_EAST_1, EU_WEST_1]
    tagging.world.account.save()
    tagscan.start()
    assert queue.run_next()
    sweep.sweep()
    assert is_under_way()
    assert TagScanning.current().last_scan_time is None
    tagging.world.work()
    tagging.world.work()
    assert not is_under_way()
    assert TagScanning.current().last_scan_time is not None
    assert finished() == 2


def test_a_round_without_any_place_is_over_at_once(world: World) -> None:
    world.work()
    world.work()
    assert TagScanning.current().last_scan_time is not None
    assert finished() == 0


def test_who_asks_while_a_round_is_under_way_starts_no_second_scan(tagging: Tagging) -> None:
    for _ in range(3):
        tagscan.start()
    tagging.world.work()
    assert finished() == 1


def test_only_accounts_that_scan_are_scanned_and_only_in_their_regions(tagging: Tagging) -> None:
    tagging.policy("gold")
    (elsewhere,) = tagging.world.seed(region=OTHER_REGION, standalone=1)["standalone"]
    tags = [{"Key": "cpm backup", "Value": "gold"}]
    tagging.world.ec2(OTHER_REGION).create_tags(Resources=[elsewhere], Tags=tags)
    assert tagging.scan() == NOTHING
    tagging.world.account.scan_regions = [EU_WEST_1]
    tagging.world.account.save()
    assert tagging.scan() == {**NOTHING, "added": 1}
    assert targets_of("gold")[elsewhere].region == OTHER_REGION
    # What a region that is scanned no longer has brought stays.
    tagging.world.account.scan_regions = [US_EAST_1]
    tagging.world.account.save()
    assert tagging.scan() == NOTHING
    tagging.world.account.scan_tagged_resources = False
    tagging.world.account.save()
    before = finished()
    tagging.scan()
    assert finished() == before
    assert by_tag("gold") == {"gold": [elsewhere]}


def test_a_place_that_is_not_to_be_scanned_any_longer_is_let_go(tagging: Tagging) -> None:
    tagscan.start()
    Account.objects.filter(pk=tagging.world.account.pk).update(scan_tagged_resources=False)
    tagging.world.work()
    assert (finished(), TagScan.objects.exclude(due_at=None).count()) == (0, 0)


# --- how few calls ----------------------------------------------------------------------------


def test_250_instances_are_found_in_pages_of_100_and_described_once(tagging: Tagging) -> None:
    tagging.policy("gold")
    planted = tagging.world.seed(
        instances=250, volumes_per=1, tags={"cpm backup": "gold#only-snaps"}
    )
    volumes = [each for some in planted["volumes"].values() for each in some]
    for first in range(0, 250, 50):
        tagging.untag(*volumes[first : first + 50])
    tagging.world.simulator.reset_counts()
    assert tagging.scan() == {**NOTHING, "added": 250}
    # Three pages of the one key, and one that says that nothing has the other.
    assert tagging.world.simulator.counts() == {
        "tag:GetResources": 3 + 1,
        "ec2:DescribeImages": 1,
        "ec2:DescribeInstances": 1,
        "ec2:DescribeVolumes": 1,
    }
    tagging.world.simulator.reset_counts()
    assert tagging.scan() == NOTHING
    assert tagging.world.simulator.counts() == {"tag:GetResources": 3 + 1}


# --- what goes wrong --------------------------------------------------------------------------


def test_a_region_that_fails_is_one_line_and_one_alert_and_the_others_go_on(
    tagging: Tagging,
) -> None:
    tagging.world.account.scan_regions = [US_EAST_1, EU_WEST_1]
    tagging.world.account.save()
    gold = tagging.policy("gold", volume_target("vol-0123456789abcdef0", OTHER_REGION))
    Target.objects.filter(policy=gold).update(added_by_tag=True, tag="gold")
    instance_id = tagging.instance("gold")
    fault = {"op": "tag:GetResources", "kind": "500", "region": OTHER_REGION}
    tagging.world.simulator.faults([fault])
    assert tagging.scan() == {**NOTHING, "added": 1}
    assert set(targets_of("gold")) == {instance_id, "vol-0123456789abcdef0"}
    tagging.wait(HOUR)
    codes = tagging.codes()
    assert codes.count("scan_delayed") == codes.count("scan_failed") == 1
    (alert,) = Alert.objects.filter(resolved_at=None)
    assert (alert.category, alert.user) == (AlertCategory.TAG_SCAN, tagging.world.user)
    assert OTHER_REGION in alert.title
    assert not is_under_way()

    tagging.scan()
    tagging.wait(HOUR)
    assert Alert.objects.get().count == 2
    tagging.world.simulator.faults([])
    assert tagging.scan() == {**NOTHING, "removed": 1}
    assert open_alerts() == set()


def test_a_region_that_is_away_for_a_moment_is_scanned_a_little_later(tagging: Tagging) -> None:
    tagging.policy("gold")
    tagging.instance("gold")
    # The SDK asks three times.
    tagging.world.simulator.faults([{"op": "tag:GetResources", "kind": "503", "times": 3}])
    assert tagging.scan() == NOTHING
    tagging.wait(timedelta(minutes=2))
    assert tagging.codes().count("scan_delayed") == 1
    assert "scan_failed" not in tagging.codes()
    assert len(targets_of("gold")) == 1
    assert open_alerts() == set()


def test_credentials_that_open_nothing_fail_at_once_and_remove_nothing(tagging: Tagging) -> None:
    tagging.policy("gold")
    tagging.instance("gold")
    tagging.scan()
    world = tagging.world
    world.simulator.config(revoked=[world.credentials.access_key_id])
    assert tagging.scan() == NOTHING
    assert tagging.codes() == ["scan_started", "scan_failed"]
    assert len(targets_of("gold")) == 1
    assert open_alerts() == {f"tagscan:account:{world.account.pk}:{REGION}"}


def test_without_the_tagging_api_every_resource_is_looked_at(tagging: Tagging) -> None:
    tagging.policy("gold")
    instance_id, volume_id = tagging.instance("gold#only-amis"), tagging.volume("gold")
    tagging.instance()
    cluster = tagging.cluster("dw", "gold")
    tagging.world.simulator.faults([{"op": "tag:GetResources", "kind": "denied"}])
    assert tagging.scan() == {**NOTHING, "added": 3}
    assert set(targets_of("gold")) == {instance_id, volume_id, cluster}
    assert tagging.scan() == NOTHING
    tagging.untag(volume_id)
    assert tagging.scan() == {**NOTHING, "removed": 1}


def test_types_that_are_denied_remove_nothing_and_the_others_are_added(tagging: Tagging) -> None:
    tagging.policy("gold")
    instance_id, volume_id = tagging.instance("gold"), tagging.volume("gold")
    tagging.scan()
    tagging.untag(instance_id, volume_id)
    newer = tagging.volume("gold")
    tagging.world.simulator.faults(
        [
            {"op": "tag:GetResources", "kind": "denied"},
            {"op": "redshift:DescribeClusters", "kind": "denied"},
        ]
    )
    assert tagging.scan() == {**NOTHING, "added": 1}
    assert tagging.codes().count("scan_incomplete") == 1
    assert set(targets_of("gold")) == {instance_id, volume_id, newer}
    tagging.world.simulator.faults([])
    assert tagging.scan() == {**NOTHING, "removed": 2}


def test_a_scan_whose_worker_dies_is_done_again_as_a_whole(tagging: Tagging) -> None:
    tagging.policy("gold")
    tagging.instance("gold")
    tagscan.start()
    (scan,) = TagScan.objects.all()
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM procrastinate_fetch_job_v2(NULL, NULL)")
    # Dead after its first line.
    tagscan._begin(tagscan._due(scan.pk))  # type: ignore[arg-type]  # it is there
    sweep.sweep()
    while queue.run_next():
        pass
    assert finished() == 0
    assert queue.take_over_stalled(0) == 1
    tagging.world.work()
    assert len(targets_of("gold")) == 1
    assert tagging.codes().count("scan_started") == 1


def test_of_two_scans_of_a_place_at_once_one_changes_it(tagging: Tagging) -> None:
    tagging.policy("gold")
    tagging.instance("gold")
    tagscan.start()
    (scan,) = TagScan.objects.all()

    def look() -> bool:
        try:
            tagscan.look(scan.pk)
        except Overtaken:
            return False
        return True

    at_once(3, look)
    assert (finished(), len(targets_of("gold"))) == (1, 1)
    assert Event.objects.filter(code="tag_added").count() == 1


def test_rows_that_have_changed_since_aws_was_asked_let_the_scan_begin_again(
    tagging: Tagging,
) -> None:
    gold = tagging.policy("gold")
    instance_id = tagging.instance("gold")
    tagging.scan()
    tagscan.start()
    (scan,) = TagScan.objects.all()
    known = Known.of(scan.account, scan.region)
    report = Report(scan.account, scan.region)
    wishes = tag_wishes.read(accounts.aws_of(scan.account, scan.region), known, report)
    Target.objects.filter(policy=gold).delete()
    with pytest.raises(Overtaken):
        tagscan._follow(scan, wishes, report)
    assert targets_of("gold") == {}
    tagging.world.work()
    assert by_tag("gold") == {"gold": [instance_id]}


def test_a_scan_that_fails_by_a_defect_gives_up_with_a_line_and_an_alert(
    tagging: Tagging,
) -> None:
    tagscan.start()
    (scan,) = TagScan.objects.all()
    jobs.SCAN_TAGS.perform({"scan_id": scan.pk}, attempts=queue.MOST_ATTEMPTS)
    assert "scan_failed" in tagging.codes()
    assert len(open_alerts()) == 1
    sweep.sweep()
    assert not is_under_way()


def test_an_owner_who_is_deleted_meanwhile_takes_the_scan_with_him(tagging: Tagging) -> None:
    tagscan.start()
    scan = TagScan.objects.select_related("account__user").get()
    report = Report(scan.account, scan.region)
    tagging.world.user.delete()
    with pytest.raises(Overtaken), transaction.atomic():
        tagscan._follow(scan, Wishes({}), report)
    tagging.world.work()


# --- beside a running policy ------------------------------------------------------------------


def test_a_policy_that_runs_meanwhile_is_not_harmed(tagging: Tagging) -> None:
    gone, kept = tagging.instance("gold"), tagging.volume("gold")
    gold = tagging.policy("gold")
    tagging.scan()
    backup = tick.run_now(gold)
    tagging.tag([gone], "no-backup")
    added = tagging.volume("gold")
    for _ in range(3):
        queue.run_next()
    tagscan.start()
    tagging.world.drain()
    backup.refresh_from_db()
    assert backup.outcome == "B"
    assert set(backup.targets.values_list("resource_id", flat=True)) == {gone, kept}
    assert set(targets_of("gold")) == {kept, added}


def test_runs_and_scans_that_change_many_targets_at_once_do_not_wait_for_each_other(
    tagging: Tagging,
) -> None:
    planted = tagging.world.seed(standalone=40, tags={"cpm backup": "gold"})["standalone"]
    gold = tagging.policy("gold")
    tagging.scan()
    for volume_id in planted:
        tagging.tag([volume_id], "gold", Name="renamed")
    Target.objects.filter(policy=gold).update(tag="")
    tick.run_now(gold)
    tagscan.start()

    def work() -> None:
        while queue.run_next():
            pass

    at_once(3, work)
    tagging.world.drain()
    assert set(gold.backups.values_list("outcome", flat=True)) == {"B"}
    assert {each.name for each in targets_of("gold").values()} == {"renamed"}
