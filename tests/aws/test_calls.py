"""What the gate to AWS promises: a write is sent once, every failure is a fault, all is logged."""

import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from structlog.testing import capture_logs

from cpm.aws import sessions
from cpm.aws.credentials import StaticKeys
from cpm.aws.sessions import Aws, Cloud, Proxy, identify
from cpm.kernel.faults import Fault, FaultKind
from cpm.simulator.process import Simulator
from cpm.testing.stage import fault_of
from tests.aws.conftest import REGION, Clouds
from tests.aws.wire import wire

SECRET = "a-secret-that-nobody-may-see"
KEYS = StaticKeys("AKIDEXAMPLE", SECRET)
VOLUME = {"AvailabilityZone": f"{REGION}a", "Size": 1}


def make_volume(aws: Aws) -> str:
    return str(aws.call("ec2", "CreateVolume", **VOLUME)["VolumeId"])


def fault_of_write(aws: Aws) -> Fault:
    return fault_of(lambda: make_volume(aws))


def test_operations_and_parameters_have_the_names_of_the_api(aws: Aws) -> None:
    volume_id = make_volume(aws)
    (volume,) = aws.call("ec2", "DescribeVolumes", VolumeIds=[volume_id])["Volumes"]
    assert volume["VolumeId"] == volume_id
    assert volume["CreateTime"].tzinfo is not None


@pytest.mark.parametrize("kind", ["lost", "drop", "500", "503"])
def test_a_write_is_sent_once_and_may_have_been_done_when_it_fails(
    aws: Aws, simulator: Simulator, kind: str
) -> None:
    simulator.faults([{"op": "ec2:CreateVolume", "kind": kind}])
    assert fault_of_write(aws).kind is FaultKind.UNKNOWN
    assert simulator.counts()["ec2:CreateVolume"] == 1


def test_a_write_that_takes_too_long_may_have_been_done(
    aws: Aws, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "READ_SECONDS", 1)
    simulator.faults([{"op": "ec2:CreateVolume", "kind": "delay", "seconds": 5, "times": 1}])
    assert fault_of_write(aws).kind is FaultKind.UNKNOWN
    assert simulator.counts()["ec2:CreateVolume"] == 1


@pytest.mark.parametrize("kind", ["drop", "500", "throttle"])
def test_a_read_is_repeated_until_it_succeeds(aws: Aws, simulator: Simulator, kind: str) -> None:
    simulator.faults([{"op": "ec2:DescribeVolumes", "kind": kind, "times": 2}])
    assert aws.call("ec2", "DescribeVolumes")["Volumes"] == []
    assert simulator.counts()["ec2:DescribeVolumes"] == 3


@pytest.mark.parametrize("kind", ["drop", "500"])
def test_a_read_that_keeps_failing_has_done_nothing(
    aws: Aws, simulator: Simulator, kind: str
) -> None:
    simulator.faults([{"op": "ec2:DescribeVolumes", "kind": kind}])
    fault = fault_of(lambda: aws.call("ec2", "DescribeVolumes"))
    assert fault.kind is FaultKind.TRANSIENT
    assert fault.operation == "ec2:DescribeVolumes"


def test_nothing_was_done_where_nobody_listens(clouds: Clouds) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    aws = clouds(f"http://127.0.0.1:{port}").aws(KEYS, REGION)
    assert fault_of_write(aws).kind is FaultKind.TRANSIENT


def test_a_refusal_carries_the_operation_the_code_and_the_reason(aws: Aws) -> None:
    fault = fault_of(lambda: aws.call("ec2", "DeleteVolume", VolumeId="vol-0123456789abcdef0"))
    assert fault.kind is FaultKind.MISSING
    assert fault.operation == "ec2:DeleteVolume"
    assert fault.code == "InvalidVolume.NotFound"
    assert "vol-0123456789abcdef0" in fault.message


def test_wrong_keys_are_denied(cloud: Cloud, keys: StaticKeys) -> None:
    for wrong in (StaticKeys("AKIAUNKNOWN", "x"), StaticKeys(keys.access_key_id, "wrong")):
        assert fault_of(partial(identify, cloud.aws(wrong, REGION))).kind is FaultKind.DENIED


def test_parameters_that_make_no_sense_are_a_fault_too(aws: Aws) -> None:
    fault = fault_of(lambda: aws.call("ec2", "CreateVolume", Nonsense=1))
    assert fault.kind is FaultKind.INVALID
    assert fault.code == "ParamValidationError"


def test_pages_are_read_to_the_end(aws: Aws, simulator: Simulator) -> None:
    made = {make_volume(aws) for _ in range(12)}
    pages = aws.pages("ec2", "DescribeVolumes", "Volumes", MaxResults=5)
    assert {volume["VolumeId"] for volume in pages} == made
    assert simulator.counts()["ec2:DescribeVolumes"] == 3


def test_another_region_is_another_place(aws: Aws) -> None:
    make_volume(aws)
    assert aws.call("ec2", "DescribeVolumes")["Volumes"]
    assert not aws.at("us-east-1").call("ec2", "DescribeVolumes")["Volumes"]


def test_the_account_behind_keys_is_told_by_sts(cloud: Cloud, simulator: Simulator) -> None:
    opened = simulator.account("499999999999")
    keys = StaticKeys(opened.access_key_id, opened.secret_access_key)
    assert identify(cloud.aws(keys, REGION)) == "499999999999"


def test_a_line_of_cloudtrail_leads_back_to_whoever_wanted_the_call(clouds: Clouds) -> None:
    with wire() as seen:
        aws = clouds(seen.url).aws(KEYS, REGION)
        identify(aws.on_behalf_of("operation-12"))
        identify(aws)
    ours, plain = (each["User-Agent"] for each in seen.headers)
    assert ours.endswith("cpm/operation-12")
    assert "cpm-server/" in plain
    assert "operation-12" not in plain


def test_all_calls_go_through_the_proxy(clouds: Clouds) -> None:
    with wire() as seen:
        proxy = Proxy("127.0.0.1", seen.port, "us er", "pa:ss@word")
        identify(clouds("http://aws.invalid", proxy=proxy).aws(KEYS, REGION))
    assert seen.paths == ["http://aws.invalid/"]
    assert seen.headers[0]["Proxy-Authorization"].startswith("Basic ")


def test_a_call_is_one_line_in_the_log_and_no_secret_is_in_it(
    aws: Aws, simulator: Simulator
) -> None:
    simulator.faults([{"op": "ec2:CreateVolume", "kind": "throttle"}])
    with capture_logs() as lines:
        aws.call("ec2", "DescribeVolumes")
        fault_of_write(aws.on_behalf_of("operation-3"))
    read, write = lines
    assert read["operation"] == "ec2:DescribeVolumes"
    assert (read["log_level"], read["code"]) == ("debug", "")
    assert (write["account"], write["region"]) == ("500000000000", REGION)
    assert (write["log_level"], write["code"]) == ("warning", "RequestLimitExceeded")
    assert write["correlation_id"] == "operation-3"
    assert write["seconds"] >= 0


def test_secrets_are_not_in_what_is_printed(cloud: Cloud) -> None:
    aws = cloud.aws(KEYS, REGION)
    keys = cloud.keys(KEYS, REGION)
    shown = f"{aws!r} {KEYS!r} {keys!r} {Proxy('proxy', 3128, 'me', SECRET)!r}"
    assert SECRET not in shown


def test_many_threads_share_a_client(aws: Aws, simulator: Simulator) -> None:
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda _: aws.call("ec2", "DescribeVolumes"), range(64)))
    assert len(found) == 64
    assert simulator.counts()["ec2:DescribeVolumes"] == 64
