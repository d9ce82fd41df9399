"""The lean calls: to the same places, with the same signatures and faults as the SDK's."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cpm.aws import signing
from cpm.aws.budget import NoBudget
from cpm.aws.credentials import Keys, StaticKeys
from cpm.aws.lean import Lean, Request
from cpm.aws.sessions import Aws, Proxy
from cpm.kernel import clock, counters
from cpm.kernel.faults import Fault, FaultKind
from cpm.simulator.process import Simulator
from cpm.testing.stage import fault_of
from tests.aws.conftest import Clouds

KEYS = StaticKeys("AKIAEXAMPLE", "secret")
BUCKET = "lean-calls"
BLOCKS = ("ebs", "ListSnapshotBlocks", "/snapshots/snap-0/blocks")
GET_BLOCK = Request(
    "GetSnapshotBlock", "GET", "/snapshots/snap-0123456789abcdef0/blocks/3", "blockToken=x"
)
GET_OBJECT = Request("GetObject", "GET", "/nothing")


def ebs(aws: Aws) -> Lean:
    return Lean(aws, *BLOCKS, SnapshotId="snap-0")


def s3(aws: Aws, bucket: str = BUCKET) -> Lean:
    return Lean(aws, "s3", "GetObject", "/x", Bucket=bucket, Key="x")


@pytest.fixture
def bucket(aws: Aws) -> str:
    """A bucket of the account."""
    name = f"lean-{aws.credentials.access_key_id.lower()}"  # type: ignore[union-attr]
    where = {"LocationConstraint": aws.region}
    aws.call("s3", "CreateBucket", Bucket=name, CreateBucketConfiguration=where)
    return name


def test_what_is_put_is_got(aws: Aws, bucket: str) -> None:
    lean, path = s3(aws, bucket), signing.path_of("/of/ü b+c/~1")
    put = Request("PutObject", "PUT", path, headers={}, body=(b"one", b"two"))
    lean.send(put)
    assert aws.call("s3", "GetObject", Bucket=bucket, Key="of/ü b+c/~1")["Body"].read() == b"onetwo"
    got = lean.send(Request("GetObject", "GET", path, headers={"range": "bytes=2-3"}))
    assert got.body == b"et"


def same(one: Fault, other: Fault) -> bool:
    return (one.kind, one.code, one.operation) == (other.kind, other.code, other.operation)


RULES: list[dict[str, Any] | None] = [
    None,
    {"kind": "denied"},
    {"kind": "throttle"},
    {"kind": "500"},
    {"kind": "503"},
    {"kind": "throttle", "code": "SlowDown"},
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_refusals_are_those_of_the_sdk(
    aws: Aws, bucket: str, simulator: Simulator, rule: dict[str, Any] | None
) -> None:
    operations = ("ebs:GetSnapshotBlock", "s3:GetObject")
    simulator.faults([{**rule, "op": each} for each in operations] if rule else [])
    block = {"SnapshotId": "snap-0123456789abcdef0", "BlockIndex": 3, "BlockToken": "x"}
    assert same(
        fault_of(lambda: ebs(aws).send(GET_BLOCK)),
        fault_of(lambda: aws.call("ebs", "GetSnapshotBlock", **block)),
    )
    assert same(
        fault_of(lambda: s3(aws, bucket).send(GET_OBJECT)),
        fault_of(lambda: aws.call("s3", "GetObject", Bucket=bucket, Key="nothing")),
    )


def test_calls_and_refusals_are_counted(aws: Aws, bucket: str, simulator: Simulator) -> None:
    simulator.faults([{"op": "s3:GetObject", "kind": "throttle", "code": "SlowDown"}])
    counters.collect()
    fault_of(lambda: s3(aws, bucket).send(GET_OBJECT))
    s3(aws, bucket).send(Request("PutObject", "PUT", "/a", body=(b"a",)))
    counts = counters.collect().counts
    called = {"service": "s3", "action": "GetObject", "outcome": "throttled"}
    assert counts[counters.series("cpm_aws_calls_total", **called)] == 1
    called = {"service": "s3", "action": "PutObject", "outcome": "ok"}
    assert counts[counters.series("cpm_aws_calls_total", **called)] == 1
    refused = {"service": "s3", "action": "GetObject"}
    assert counts[counters.series("cpm_aws_throttles_total", **refused)] == 1


@pytest.mark.parametrize("token", [None, "a/session+token=="])
@pytest.mark.parametrize("service", ["ebs", "s3"])
def test_the_signature_is_the_sdk_s(service: str, token: str | None) -> None:
    keys, now = Keys("AKIAEXAMPLE", "secret", token), datetime(2026, 11, 29, 6, 45, tzinfo=UTC)
    query = signing.query_of([("blockToken", "a+b/c=="), ("x", "~ é")])
    path = signing.path_of("/of a/b") if service == "s3" else "/snapshots/snap-0/blocks/1"
    headers = {"host": "h.example", "x-amz-checksum": "abc="}
    ours = signing.signed(
        signing.Scope(keys, "eu-west-1", service),
        signing.Line("GET", path, query),
        headers,
        signing.EMPTY,
        now,
    )
    theirs = AWSRequest("GET", f"https://h.example{path}?{query}", headers=headers)
    theirs.headers["X-Amz-Content-SHA256"] = hashlib.sha256(b"").hexdigest()
    theirs.context["timestamp"] = ours["x-amz-date"]
    theirs.headers["X-Amz-Date"] = ours["x-amz-date"]
    if token:
        theirs.headers["X-Amz-Security-Token"] = token
    sign = (S3SigV4Auth if service == "s3" else SigV4Auth)(
        Credentials("AKIAEXAMPLE", "secret", token), service, "eu-west-1"
    )
    canonical = sign.canonical_request(theirs)
    expected = sign.signature(sign.string_to_sign(theirs, canonical), theirs)
    assert ours["authorization"].rpartition("Signature=")[2] == expected


class Talker:
    """A server that writes down the heads of requests, and answers each in the same way."""

    def __init__(self, answer: bytes, *, hangs_up: bool = False) -> None:
        self.heads: list[str] = []
        self._answer, self._hangs_up = answer, hangs_up
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                with near, near.makefile("rb") as lines:
                    while head := self._head(lines):
                        self.heads.append(head)
                        near.sendall(self._answer)
                        if self._hangs_up:
                            break

    def _head(self, lines: Any) -> str:
        read: list[str] = []
        while (line := lines.readline().decode()) not in ("\r\n", ""):
            read.append(line)
        return "".join(read)


@contextmanager
def talking(answer: bytes, *, hangs_up: bool = False) -> Iterator[Talker]:
    talker = Talker(answer, hangs_up=hangs_up)
    talker._thread.start()
    try:
        yield talker
    finally:
        talker._listening.shutdown(socket.SHUT_RDWR)
        talker._listening.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"


def test_connections_are_kept_and_made_anew_when_the_other_side_has_closed_them(
    clouds: Clouds,
) -> None:
    with talking(OK, hangs_up=True) as talker:
        cloud = clouds(f"http://127.0.0.1:{talker.port}")
        lean = ebs(cloud.aws(KEYS, "eu-west-1"))
        assert [lean.send(GET_BLOCK).body for _ in range(3)] == [b"ok"] * 3
        assert len(talker.heads) == 3
        cloud.close()


def test_an_answer_that_is_cut_off_has_done_nothing(clouds: Clouds) -> None:
    with talking(OK.replace(b"2", b"9"), hangs_up=True) as talker:
        cloud = clouds(f"http://127.0.0.1:{talker.port}")
        fault = fault_of(lambda: ebs(cloud.aws(KEYS, "eu-west-1")).send(GET_BLOCK))
        cloud.close()
    assert (fault.kind, fault.code) == (FaultKind.TRANSIENT, "IncompleteRead")


PLACES = [
    ({}, "eu-west-1", "ebs.eu-west-1.amazonaws.com", "lean-calls.s3.eu-west-1.amazonaws.com"),
    ({}, "cn-north-1", "ebs.cn-north-1.amazonaws.com.cn", None),
    ({"AWS_USE_FIPS_ENDPOINT": "true"}, "us-east-1", "ebs-fips.us-east-1.amazonaws.com", None),
    (
        {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
        "eu-west-1",
        "ebs.eu-west-1.api.aws",
        "lean-calls.s3.dualstack.eu-west-1.amazonaws.com",
    ),
]


@pytest.mark.parametrize(("environment", "region", "direct", "objects"), PLACES)
def test_requests_go_where_the_sdk_s_would_go_and_by_the_proxy(
    clouds: Clouds,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    region: str,
    direct: str,
    objects: str | None,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with talking(BAD_GATEWAY, hangs_up=True) as proxy:
        cloud = clouds("", proxy=Proxy("127.0.0.1", proxy.port, "user", "pass word"))
        aws = cloud.aws(KEYS, region)
        for lean, request in ((ebs(aws), GET_BLOCK), (s3(aws), GET_OBJECT)):
            assert fault_of(partial(lean.send, request)).kind is FaultKind.TRANSIENT
        cloud.close()
    asked = [head.split()[1] for head in proxy.heads]
    assert asked[0] == f"{direct}:443"
    assert objects is None or asked[1] == f"{objects}:443"
    assert all("Proxy-Authorization: Basic dXNlcjpwYXNzIHdvcmQ=" in head for head in proxy.heads)


def test_over_http_a_proxy_is_told_the_whole_address(
    clouds: Clouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    with talking(OK) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        cloud = clouds("http://ebs.example:8080")
        ebs(cloud.aws(KEYS, "eu-west-1")).send(GET_BLOCK)
        cloud.close()
    (head,) = proxy.heads
    assert head.startswith(f"GET http://ebs.example:8080{GET_BLOCK.path}?blockToken=x HTTP/1.1")


class Noting(NoBudget):
    """Grants everything, and notes what it was asked for."""

    def __init__(self, wait_seconds: float = 0.0) -> None:
        self.taken: list[int] = []
        self.throttles: list[str] = []
        self._wait_seconds = wait_seconds

    def reserve(self, account: str, region: str, operation: str, **more: Any) -> float:
        self.taken.append(more.get("tokens", 1))
        return self._wait_seconds

    def throttled(self, account: str, region: str, operation: str) -> None:
        self.throttles.append(operation)


def test_turns_are_reserved_by_the_batch(clouds: Clouds, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Noting()
    with talking(OK) as talker:
        cloud = clouds(f"http://127.0.0.1:{talker.port}", budget)
        lean = ebs(cloud.aws(KEYS, "eu-west-1"))
        for _ in range(100):
            lean.send(GET_BLOCK)
        cloud.close()
    assert sum(budget.taken) >= 100
    assert len(budget.taken) < 10


def test_a_turn_that_is_too_far_away_is_not_waited_for(clouds: Clouds) -> None:
    aws = clouds("http://127.0.0.1:9", Noting(3600.0)).aws(KEYS, "eu-west-1")
    began = clock.monotonic()
    fault = fault_of(lambda: ebs(aws).send(GET_BLOCK))
    assert (fault.kind, fault.retry_after_seconds) == (FaultKind.THROTTLED, 3600.0)
    assert clock.monotonic() - began < 60


def test_the_budget_learns_of_refusals(
    clouds: Clouds, simulator: Simulator, keys: StaticKeys
) -> None:
    budget = Noting()
    simulator.faults([{"op": "ebs:GetSnapshotBlock", "kind": "throttle"}])
    aws = clouds(simulator.endpoint, budget).aws(keys, "eu-west-1")
    fault_of(lambda: ebs(aws).send(GET_BLOCK))
    assert budget.throttles == ["ebs:GetSnapshotBlock"]
