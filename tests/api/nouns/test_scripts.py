"""Scripts over the API: switched on by options, and told of in the logs of backups."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import Estate
from tests.engine.server_scripts import Scripts


@pytest.fixture
def scripts(estate: Estate, settings: Any, tmp_path: Path) -> Scripts:
    """The folder of the scripts of the user, whose policy protects a volume and runs scripts."""
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, scripts=tmp_path / "scripts")
    estate.target("volumes", estate.cloud.volume())
    choose(estate, enable_agent_scripts=True, retry_count=0)
    assert estate.caller.user is not None
    return Scripts.of(estate.caller.user, tmp_path)


def choose(estate: Estate, **options: object) -> None:
    assert estate.caller.put(f"{estate.path}options/", options).status == 200


def lines(estate: Estate, backup: Any) -> list[tuple[str, str]]:
    """Severity and text of the log of a backup."""
    log = estate.caller.get(f"/backups/{backup['id']}/logs/").json
    return [(line["severity"], line["message"]) for line in log]


def test_scripts_run_in_their_order_and_the_log_says_so(estate: Estate, scripts: Scripts) -> None:
    scripts.write_all("nightly")
    backup = estate.run()
    assert backup["status"] == "B"
    assert scripts.told() == ["before_nightly", "after_nightly 1", "complete_nightly 1"]
    said = [text for _, text in lines(estate, backup) if "script" in text]
    assert [text.split()[1] for text in said] == ["before", "after", "complete"]


def test_a_failing_script_makes_the_backup_partial_and_the_log_says_why(
    estate: Estate, scripts: Scripts
) -> None:
    scripts.write("before_nightly", "echo the tables are locked; exit 3")
    backup = estate.run()
    assert backup["status"] == "A"
    failed = ("E", "The before script failed: exit status 3: the tables are locked")
    assert failed in lines(estate, backup)
    assert len(estate.caller.get(f"/backups/{backup['id']}/snapshots/").json) == 1
    choose(estate, backup_success_indication="L")
    again = estate.run()
    assert again["status"] == "B"
    assert failed in lines(estate, again)


def test_a_script_that_hangs_is_ended_in_its_time(estate: Estate, scripts: Scripts) -> None:
    scripts.write("after_nightly", "sleep 300")
    choose(estate, agent_script_timeout=1)
    backup = estate.run()
    assert backup["status"] == "A"
    ended = ("E", "The after script failed: it was ended after 1 seconds")
    assert ended in lines(estate, backup)


def test_output_that_is_collected_is_in_the_log_in_both_forms(
    estate: Estate, scripts: Scripts
) -> None:
    scripts.write("before_nightly", "echo one; echo '=two,\"three\"'")
    choose(estate, collect_script_output=True)
    backup = estate.run()
    text = 'Output of the before script:\none\n=two,"three"\n'
    assert ("I", text) in lines(estate, backup)
    answer = estate.caller.get(f"/backups/{backup['id']}/logs/", accept="text/csv")
    rows = list(csv.reader(io.StringIO(answer.body.decode(), newline="")))
    assert text in [row[2] for row in rows]


def test_scripts_of_an_instance_and_vss_are_switched_on_by_its_target(
    estate: Estate, cloud: Cloud
) -> None:
    (instance_id,) = cloud.seed(instances=1, volumes_per=2, platform="windows")["instances"]
    cloud.simulator.agents(cloud.number)
    target = estate.target("instances", instance_id, backup_option="S")
    path = f"{estate.path}targets/instances/{target['id']}/"
    wanted = {"agent_enabled": True, "scripts_enabled": True, "vss_enabled": True}
    assert estate.caller.put(path, {**wanted, "script_timeout": 20}).status == 200
    choose(estate, retry_count=0, collect_script_output=True)
    cloud.simulator.commands(
        cloud.number, {"contains": "before_nightly", "output": "halted"}, {"contains": "unknown"}
    )
    backup = estate.run()
    assert backup["status"] == "B"
    output = f"Output of before_script of {instance_id}:\nhalted"
    assert ("I", output) in lines(estate, backup)
    found = cloud.ec2.describe_snapshots(
        Filters=[{"Name": "tag:cpm_backup_id", "Values": [str(backup["id"])]}]
    )["Snapshots"]
    tags = [{tag["Key"]: tag["Value"] for tag in each["Tags"]} for each in found]
    assert [each["AppConsistent"] for each in tags] == ["True", "True"]
    shown = estate.caller.get(f"/backups/{backup['id']}/snapshots/volumes/").json
    assert {each["snapshot_id"] for each in shown} == {each["SnapshotId"] for each in found}


def test_what_the_agent_fails_at_makes_the_backup_partial_and_says_where(
    estate: Estate, cloud: Cloud
) -> None:
    instance_id = cloud.instance()
    cloud.simulator.agents(cloud.number)
    cloud.simulator.commands(
        cloud.number,
        {"contains": "after_", "status": "Failed", "exit_code": 4, "error": "no such database"},
    )
    estate.target("instances", instance_id, agent_enabled=True, scripts_enabled=True)
    choose(estate, retry_count=0)
    backup = estate.run()
    assert backup["status"] == "A"
    (text,) = [text for severity, text in lines(estate, backup) if severity == "E"]
    assert text.startswith(f"after_script of {instance_id} failed: ")
    assert text.endswith("exit status 4: no such database")
    assert estate.caller.get("/alerts/").json[0]["severity"] == "Warning"
