"""The server's numbers, and who may read them."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from cpm.kernel import clock
from cpm.models.backups import Backup
from cpm.models.notifications import Delivery
from cpm.queries import metrics as queries
from cpm.server import certificate
from cpm.server.data import DataDirectory
from cpm.simulator.process import Simulator
from tests.api.cast import Caller
from tests.api.nouns.estate import Estate, create, drain
from tests.receivers import receiver

SAMPLE = re.compile(r'(\w+(?:\{(?:\w+="[^"]*",?)+\})?) (\S+)')
TOKEN = "only for the watchman"


def read(client: Client | None = None, **headers: str) -> Any:
    return (client or Client()).get("/metrics", secure=True, headers=headers)


def numbers() -> dict[str, float]:
    """The samples by series; fails on what is not Prometheus's text format."""
    answer = read()
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: dict[str, float] = {}
    family = ""
    for line in answer.content.decode().splitlines():
        if line.startswith("#"):
            family = line.split()[2]
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        assert sample[1].startswith(family)
        assert sample[1] not in found
        found[sample[1]] = float(sample[2])
    return found


def test_a_run_is_seen_in_the_numbers(estate: Estate) -> None:
    before = numbers()
    estate.target("volumes", estate.cloud.volume())
    create(estate.caller, f"{estate.path}backups/", {})
    waiting = numbers()
    assert waiting['cpm_queue_jobs{queue="engine"}'] >= 1
    assert waiting['cpm_queue_oldest_job_seconds{queue="engine"}'] >= 0
    assert waiting['cpm_backups{status="P"}'] == 1
    estate.caller.get("/nowhere/")
    drain()
    done = numbers()
    more = {name: value - before.get(name, 0) for name, value in done.items()}
    operation = 'operation="post_policies_id_backups"'
    assert more[f'cpm_http_requests_total{{{operation},status="201"}}'] == 1
    assert more['cpm_http_requests_total{operation="none",status="404"}'] == 1
    made = 'service="ec2",action="CreateSnapshot",outcome="ok"'
    assert more[f"cpm_aws_calls_total{{{made}}}"] >= 1
    assert done["cpm_database_bytes"] > 1_000_000
    assert done["cpm_workers"] == 0


def test_durations_are_a_histogram(root: Caller) -> None:
    numbers()
    root.get("/regions/")
    name, label = "cpm_http_request_duration_seconds", 'operation="get_regions"'
    found = numbers()
    buckets = [
        found.get(f'{name}_bucket{{{label},le="{bound}"}}', 0) for bound in ("0.1", "5.0", "+Inf")
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == found[f"{name}_count{{{label}}}"] >= 1
    assert found[f"{name}_sum{{{label}}}"] > 0


def test_throttles_are_counted_also_where_the_call_succeeds_in_the_end(estate: Estate) -> None:
    def throttles() -> float:
        name = 'cpm_aws_throttles_total{service="ec2",action="DescribeVolumes"}'
        return numbers().get(name, 0)

    before = throttles()
    estate.cloud.simulator.faults([{"op": "ec2:DescribeVolumes", "kind": "throttle", "times": 1}])
    estate.target("volumes", estate.cloud.volume())
    assert throttles() == before + 1


@pytest.mark.parametrize("name", ["engine", "scripts", "notices"])
def test_every_queue_is_counted_though_nothing_waits(db: None, name: str) -> None:
    told = numbers()
    assert told[f'cpm_queue_jobs{{queue="{name}"}}'] == 0
    assert told[f'cpm_queue_oldest_job_seconds{{queue="{name}"}}'] == 0


def test_the_end_of_the_certificate_is_known(db: None, settings: Any) -> None:
    data = DataDirectory(settings.ENVIRONMENT.data)
    certificate.ensure(data.certificate, data.private_key, [])
    ends_at = clock.now() + certificate.LIFETIME
    told = numbers()["cpm_certificate_expiry_timestamp_seconds"]
    assert abs(told - ends_at.timestamp()) < timedelta(hours=1).total_seconds()


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("192.0.2.7", {}),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.7"}),
        ("127.0.0.1", {"Forwarded": "for=192.0.2.7"}),
        ("", {}),
    ],
)
def test_without_a_token_only_this_machine_reads_them(
    db: None, address: str, headers: dict[str, str]
) -> None:
    answer = read(Client(REMOTE_ADDR=address), **headers)
    assert answer.status_code == 403
    assert b"cpm_http" not in answer.content
    assert read(Client(REMOTE_ADDR="::1")).status_code == 200


def test_with_a_token_whoever_has_it_reads_them(db: None, settings: Any) -> None:
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, metrics_token=TOKEN)
    far = Client(REMOTE_ADDR="192.0.2.7")
    assert read(far, Authorization=f"Bearer {TOKEN}").status_code == 200
    for wrong in ("", "Bearer ", "Bearer wrong", TOKEN, "Bearer \u00fc"):
        assert read(far, Authorization=wrong).status_code == 403
    assert read(Client()).status_code == 403


def test_the_server_is_ready_when_its_tables_are(db: None) -> None:
    answer = Client().get("/readyz", secure=True)
    assert (answer.status_code, answer.content) == (200, b"ok\n")


@pytest.fixture
def slowly(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted once a minute is counted every 20: a minute may pass in a test."""
    monkeypatch.setattr(queries, "_KEEP_COUNTS", timedelta(minutes=20))


@pytest.mark.usefixtures("slowly")
def test_messages_are_counted_by_what_became_of_them(root: Caller, settings: Any) -> None:
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, webhook_networks=("127.0.0.0/8",))
    clock.set_offset(timedelta(minutes=21))  # whatever other tests have counted is old

    def states() -> dict[str, float]:
        found = numbers()
        return {name: found[name] for name in found if name.startswith("cpm_deliveries")}

    with receiver() as there:
        hook = {"channel_type": "webhook", "url": there.url, "secret": "0123456789abcdef"}
        channel = create(root, "/notifications/channels/", {"name": "pager", **hook})
        create(root, f"/notifications/channels/{channel['id']}/test/", {})
        assert states() == {'cpm_deliveries{state="waiting"}': 1}
        drain()
    over = {'cpm_deliveries{state="waiting"}': 0, 'cpm_deliveries{state="delivered"}': 1}
    clock.set_offset(timedelta(minutes=42))
    assert states() == over
    Delivery.objects.all().delete()
    assert states() == over
    clock.set_offset(timedelta(minutes=63))
    assert states() == {'cpm_deliveries{state="waiting"}': 0}


def test_messages_that_wait_are_found_without_reading_those_that_are_over(db: None) -> None:
    with CaptureQueriesContext(connection) as asked:
        numbers()
    (waiting,) = [each["sql"] for each in asked if 'cpm_delivery"."due_at"' in each["sql"]]
    with connection.cursor() as cursor:
        # Where there are hardly any rows, every index is a detour.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {waiting}")
        plan = " ".join(line for (line,) in cursor.fetchall())
    assert "delivery_due" in plan


@pytest.mark.usefixtures("slowly")
def test_how_records_have_ended_is_counted_once_a_minute(estate: Estate) -> None:
    clock.set_offset(timedelta(minutes=21))  # whatever other tests have counted is old
    estate.target("volumes", estate.cloud.volume())
    ended = 'cpm_backups{status="B"}'
    assert ended not in numbers()
    estate.run()
    clock.set_offset(timedelta(minutes=42))
    assert numbers()[ended] == 1
    Backup.objects.all().delete()
    assert numbers()[ended] == 1
    clock.set_offset(timedelta(minutes=63))
    assert ended not in numbers()
