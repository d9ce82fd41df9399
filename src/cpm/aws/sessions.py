"""The one gate to AWS: `Aws.call` keeps the budget, signs, sends, classifies what fails, and logs.

`Cloud` is how this process reaches AWS at all: endpoint, proxy, budget, clients, temporary keys.
`Aws` is one account and region in it, a light value that drivers are handed.

The SDK repeats only reads. EC2 has calls without a client token (`CreateSnapshot`): repeated behind
our back after a lost answer, they would make a second snapshot. So a write is sent once, and
a lost answer is `FaultKind.UNKNOWN`, which the caller has to look into.
"""

import threading
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

import structlog
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from botocore.session import Session
from botocore.utils import parse_timestamp

from cpm.aws.bounded import Bounded
from cpm.aws.budget import Budget, MemoryBudget, price
from cpm.aws.callers import Caller, signed_by
from cpm.aws.connections import Connections
from cpm.aws.credentials import AssumedRole, Credentials, Keys, Wallet
from cpm.aws.errors import classify, fault_of, is_expired
from cpm.kernel import clock, counters, regions
from cpm.kernel.faults import Fault, FaultKind

Json = dict[str, Any]

# A slot further away than this is the engine's to wait for, not a thread's.
PATIENCE_SECONDS = 60.0
CONNECT_SECONDS = 5
READ_SECONDS = 40
# A client is 1 to 2 MiB and takes up to 25 ms to build: all accounts share it.
_MOST_CLIENTS = 160
_READ_ATTEMPTS = 3
_POOLED_CONNECTIONS = 20
_SAFE_TO_REPEAT = ("Describe", "List", "Get", "Head", "Search", "AssumeRole")
# Where a page's answer names the next page, and how a request asks for it.
_PAGE_TOKENS = (
    ("NextToken", "NextToken"),
    ("Marker", "Marker"),
    ("PaginationToken", "PaginationToken"),
    ("LastEvaluatedBackupArn", "ExclusiveStartBackupArn"),
    ("LastEvaluatedTableName", "ExclusiveStartTableName"),
)
# Regions whose STS answers to every account; newer ones only to accounts that enabled them.
_OPEN_TO_ALL = frozenset(
    {
        *("us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1"),
        *("eu-central-1", "eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1"),
        *("ap-south-1", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3"),
        *("ap-southeast-1", "ap-southeast-2"),
        *("cn-north-1", "cn-northwest-1", "us-gov-west-1", "us-gov-east-1"),
    }
)

USER_AGENT = f"cpm-server/{version('cpm-server')}"

log = structlog.get_logger("cpm.aws")

_calling: ContextVar["Aws | None"] = ContextVar("calling", default=None)


@dataclass(frozen=True, slots=True)
class Proxy:
    """The HTTP proxy that all calls go through."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)

    def url(self) -> str:
        """The proxy as the SDK wants it."""
        who = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user else ""
        return f"http://{who}{self.host}:{self.port}"


class Cloud:
    """How this process reaches AWS. One per process, or per configuration; thread-safe."""

    def __init__(
        self, *, endpoint_url: str = "", proxy: Proxy | None = None, budget: Budget | None = None
    ) -> None:
        self.budget: Budget = budget or MemoryBudget()
        self._endpoint_url = endpoint_url or None
        self._proxy = proxy
        self._session = _new_session()
        self._own_session = Session()
        self.connections = Connections(self._session.get_config_variable("ca_bundle"))
        self._session_lock = threading.Lock()
        self._clients: Bounded[tuple[str, str, bool], Any] = Bounded(_MOST_CLIENTS)
        self._wallet = Wallet(self._assume, self._own_keys)

    def aws(self, credentials: Credentials, region: str, account_number: str = "") -> "Aws":
        """The handle of one account and region; the number may be unknown until `identify`."""
        return Aws(self, credentials, region, account_number)

    def partition(self, region: str) -> str:
        """The partition of `region`: `aws`, `aws-cn`, `aws-us-gov`."""
        known = regions.by_name(region)
        return known.partition if known else regions.COMMERCIAL

    def keys(self, credentials: Credentials, region: str) -> Keys:
        """What signs calls for `credentials` now; raises Fault when a role may not be assumed."""
        return self._wallet.keys(credentials, region)

    def forget(self, credentials: Credentials, keys: Keys) -> bool:
        """Drop temporary keys that AWS no longer takes; False when there are no others."""
        return self._wallet.forget(credentials, keys)

    def client(self, region: str, service: str, *, is_read: bool) -> Any:
        """The SDK's client, which repeats by itself only what is safe to repeat.

        All accounts share it; `signed_by` says whose call it is.
        """
        key = (region, service, is_read)
        return self._clients.get(key, lambda: self._new_client(*key))

    def close(self) -> None:
        """Close the connections of all clients."""
        for client in self._clients.empty():
            client.close()
        self.connections.close()

    @property
    def proxies(self) -> dict[str, str] | None:
        """The configured proxy by scheme, for the SDK; None leaves it to the environment."""
        url = self._proxy.url() if self._proxy else None
        return {"http": url, "https": url} if url else None

    def _new_client(self, region: str, service: str, is_read: bool) -> Any:
        attempts = _READ_ATTEMPTS if is_read else 1
        client = self._session.create_client(
            service,
            region_name=region,
            endpoint_url=self._endpoint_url,
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": attempts},
                proxies=self.proxies,
                max_pool_connections=_POOLED_CONNECTIONS,
                # The SDK puts its own together anew for each call, which takes a tenth of its time.
                user_agent=USER_AGENT,
            ),
        )
        client.meta.events.register_last("request-created", _name_the_caller)
        client.meta.events.register_first("needs-retry", _learn_from_throttles)
        return client

    def _own_keys(self) -> Keys:
        try:
            with self._session_lock:
                found = self._own_session.get_credentials()
            keys = found.get_frozen_credentials() if found else None
        except (BotoCoreError, OSError) as error:
            raise fault_of(error, "sts:InstanceRole", is_read=True) from error
        if keys is None or keys.access_key is None or keys.secret_key is None:
            text = "there are none of AWS on this machine: no keys, no profile, no role"
            raise Fault(FaultKind.DENIED, text, code="NoCredentials")
        return Keys(keys.access_key, keys.secret_key, keys.token)

    def _assume(self, role: AssumedRole, region: str) -> Keys:
        external_id = {"ExternalId": role.external_id} if role.external_id else {}
        answer = self.aws(role.base, self.sts_region(region)).call(
            "sts",
            "AssumeRole",
            RoleArn=role.role_arn,
            RoleSessionName=role.session_name,
            **external_id,
        )
        return keys_in(answer)

    def sts_region(self, region: str) -> str:
        """Where to assume roles: near the calls, so that no other region's outage matters."""
        if region in _OPEN_TO_ALL:
            return region
        return {"aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}.get(
            self.partition(region), "us-east-1"
        )


class _Slot:
    """A place in a bucket that somebody has reserved already; good for one call."""

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._is_taken = False

    def take(self, operation: str) -> bool:
        if self._is_taken or operation != self._operation:
            return False
        self._is_taken = True
        return True


@dataclass(frozen=True, slots=True)
class Aws:
    """One account and region, as drivers call it."""

    cloud: Cloud = field(repr=False)
    credentials: Credentials = field(repr=False)
    region: str
    account_number: str = ""
    # Goes into the user agent, so that a line of CloudTrail leads back to whoever wanted the call.
    correlation_id: str = ""
    slot: _Slot | None = field(default=None, repr=False, compare=False)

    @property
    def partition(self) -> str:
        """The partition of the region, as ARNs begin: `aws`, `aws-cn`, `aws-us-gov`."""
        return self.cloud.partition(self.region)

    def at(self, region: str) -> "Aws":
        """The same account in another region."""
        return replace(self, region=region)

    def on_behalf_of(self, correlation_id: str) -> "Aws":
        """The same, with calls that carry `correlation_id` in their user agent."""
        return replace(self, correlation_id=correlation_id)

    def with_slot(self, operation: str) -> "Aws":
        """The same, with the budget of the next `operation` (`ec2:CreateSnapshots`) reserved."""
        return replace(self, slot=_Slot(operation))

    def call(self, service: str, operation: str, **parameters: Any) -> Json:
        """Call AWS, with the names of its API reference: `call("ec2", "CreateSnapshots", ...)`.

        Waits for its turn. Whatever AWS, the network or the SDK has against it is raised as Fault;
        a write that raises UNKNOWN may have been carried out.
        """
        self._wait_for_turn(f"{service}:{operation}", parameters)
        keys = self.cloud.keys(self.credentials, self.region)
        try:
            return self._send(keys, service, operation, parameters)
        except Fault as fault:
            if not is_expired(fault) or not self.cloud.forget(self.credentials, keys):
                raise
        keys = self.cloud.keys(self.credentials, self.region)
        return self._send(keys, service, operation, parameters)

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[Json]:
        """Every item under `key`, through all pages."""
        token: Json = {}
        while True:
            answer = self.call(service, operation, **parameters, **token)
            yield from answer.get(key, ())
            following = _next_page(answer)
            if following is None:
                return
            if following == token:
                name = f"{service}:{operation}"
                raise Fault(FaultKind.TRANSIENT, "AWS gave the same page twice", operation=name)
            token = following

    def _wait_for_turn(self, name: str, parameters: Json) -> None:
        for bucket, tokens in price(name, parameters).items():
            if self.slot is None or not self.slot.take(bucket):
                self._wait_for_tokens(name, bucket, tokens)

    def _wait_for_tokens(self, name: str, bucket: str, tokens: int) -> None:
        wait = self.cloud.budget.reserve(
            self.account_number,
            self.region,
            bucket,
            tokens=tokens,
            patience_seconds=PATIENCE_SECONDS,
        )
        if wait > PATIENCE_SECONDS:
            raise Fault(
                FaultKind.THROTTLED,
                f"the next call may be made in {wait:.0f} s",
                operation=name,
                retry_after_seconds=wait,
            )
        if wait > 0:
            clock.sleep(wait)

    def _send(self, keys: Keys, service: str, operation: str, parameters: Json) -> Json:
        is_read = operation.startswith(_SAFE_TO_REPEAT)
        began = clock.monotonic()
        marker = _calling.set(self)
        try:
            client = self.cloud.client(self.region, service, is_read=is_read)
            with signed_by(keys):
                answer: Json = getattr(client, xform_name(operation))(**parameters)
        except (BotoCoreError, ClientError, ResponseParserError, OSError) as error:
            fault = fault_of(error, f"{service}:{operation}", is_read=is_read)
            self.record(service, operation, began, fault)
            raise fault from error
        finally:
            _calling.reset(marker)
        self.record(service, operation, began)
        return answer

    def record(
        self, service: str, operation: str, began: float, fault: Fault | None = None
    ) -> None:
        """Log and count a call that began then (`clock.monotonic`) and has just ended."""
        outcome, code = (fault.kind.value, fault.code) if fault else ("ok", "")
        counters.count("cpm_aws_calls_total", service=service, action=operation, outcome=outcome)
        # What is not there is often asked for to find that out.
        is_trouble = fault is not None and fault.kind is not FaultKind.MISSING
        tell = log.warning if is_trouble else log.debug
        tell(
            "aws.call",
            operation=f"{service}:{operation}",
            account=self.account_number,
            region=self.region,
            seconds=round(clock.monotonic() - began, 3),
            code=code,
            correlation_id=self.correlation_id,
        )


def identify(aws: Aws) -> str:
    """The number of the account that the credentials belong to; raises Fault."""
    return str(aws.call("sts", "GetCallerIdentity")["Account"])


def keys_in(answer: Json) -> Keys:
    """The temporary keys that STS has answered with."""
    keys = answer["Credentials"]
    return Keys(
        keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], keys["Expiration"]
    )


def _next_page(answer: Json) -> Json | None:
    for given, asked in _PAGE_TOKENS:
        if answer.get(given):
            return {asked: answer[given]}
    return None


def _new_session() -> Session:
    session = Session()
    session.register_component("credential_provider", Caller())
    session.set_config_variable("sts_regional_endpoints", "regional")
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
    return session


def _time(value: Any) -> datetime:
    """AWS's times as datetimes; the SDK's own parser takes half of the time of a long list."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        parsed: datetime = parse_timestamp(value)
        return parsed


def _name_the_caller(request: Any, **_: Any) -> None:
    aws = _calling.get()
    if aws is not None and aws.correlation_id:
        # The SDK puts the header together anew for each attempt; it is not signed.
        agent = f"{request.headers['User-Agent']} cpm/{aws.correlation_id}"
        request.headers.replace_header("User-Agent", agent)


def _learn_from_throttles(response: Any, operation: Any, **_: Any) -> None:
    """Tell the budget of every refusal, also of those that the SDK then repeats by itself."""
    aws = _calling.get()
    if aws is None or response is None:
        return
    code = str(response[1].get("Error", {}).get("Code", ""))
    if code and classify(code, 400, is_read=True) is FaultKind.THROTTLED:
        service = operation.service_model.service_name
        counters.count("cpm_aws_throttles_total", service=service, action=operation.name)
        name = f"{service}:{operation.name}"
        aws.cloud.budget.throttled(aws.account_number, aws.region, name)
