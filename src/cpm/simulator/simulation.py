"""One emulated AWS: takes a request through identity, faults and permissions to its answer."""

import contextlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moto.core.base_backend import BackendDict
from moto.core.exceptions import ServiceException
from werkzeug.exceptions import HTTPException

from cpm.kernel import clock
from cpm.simulator import credentials, errors, models, permissions, wire
from cpm.simulator.calls import Call, Direct, Handlers
from cpm.simulator.config import Config
from cpm.simulator.counts import Counts
from cpm.simulator.credentials import Identity, Keyring
from cpm.simulator.errors import AwsError
from cpm.simulator.faults import Faults, Plan
from cpm.simulator.operations import (
    Operation,
    Signature,
    identify,
    presigner_of,
    signature_of,
)
from cpm.simulator.stock import Stock, internal_error, not_implemented
from cpm.simulator.web import Answer, ConnectionCut, Request

_READ_ONLY = ("Describe", "Get", "List", "Head")
_CODE_ON_THE_WIRE = re.compile(rb"<Code>([^<]+)</Code>")


@dataclass
class Simulation:
    """Everything that one simulator knows. One lock guards all state but S3's, which has its own.

    No lock is held while a request is read, delayed, or its answer is written out as XML.
    """

    handlers: Handlers
    config: Config = field(default_factory=Config)
    keyring: Keyring = field(default_factory=Keyring)
    counts: Counts = field(default_factory=Counts)
    faults: Faults = field(default_factory=Faults)
    stock: Stock = field(default_factory=Stock)
    changed: threading.Event = field(default_factory=threading.Event)
    lock: threading.RLock = field(default_factory=threading.RLock)
    object_lock: threading.RLock = field(default_factory=threading.RLock)

    def answer(self, request: Request) -> Answer:
        """AWS's answer to `request`; raises ConnectionCut when a fault keeps it back."""
        at = clock.now()
        claim = signature_of(request)
        operation = identify(request, claim)
        caller, refusal = self._authenticate(request, claim)
        account = caller.account if caller else "-"
        self.counts.arrived(operation, account)
        status, error = 0, None
        try:
            answer = self._outcome(request, operation, caller, refusal)
            status, error = answer.status, _error_code(answer)
        finally:
            self.counts.ended(at, operation, account, status, error)
        return answer

    def reset(self) -> None:
        """Begin again: no resources, faults, counts or settings; the accounts keep their keys."""
        with self.lock, self.object_lock:
            keys = [credentials.open_account(account) for account in credentials.accounts()]
            BackendDict.reset()
            for key in keys:
                credentials.open_account(key.account, key.access_key_id, key.secret_access_key)
            self.config.reset()
            self.keyring.sessions.clear()
            self.faults.replace([])
            self.counts.reset()
            self.changed.set()

    def _authenticate(
        self, request: Request, claim: Signature | None
    ) -> tuple[Identity | None, AwsError | None]:
        with self.lock:
            try:
                if claim is not None:
                    revoked = self.config.revoked
                    return self.keyring.authenticate(request, claim, revoked), None
                presigner = presigner_of(request)
                if presigner is not None:
                    return self.keyring.identity_of(presigner), None
            except AwsError as refusal:
                identity = self.keyring.identity_of(claim.access_key_id) if claim else None
                return identity, refusal
        return None, None

    def _outcome(
        self,
        request: Request,
        operation: Operation,
        caller: Identity | None,
        refusal: AwsError | None,
    ) -> Answer:
        try:
            if refusal is not None:
                raise refusal
            plan = self.faults.plan(operation, caller)
            _suffer(plan)
            answer = self._effect(request, operation, caller, plan)
        except AwsError as error:
            return errors.answer(error, operation.service)
        if plan.lose_answer:
            raise ConnectionCut
        return answer

    def _effect(
        self, request: Request, operation: Operation, caller: Identity | None, plan: Plan
    ) -> Answer:
        direct = self.handlers.find_direct(operation)
        handler = self.handlers.find(operation)
        if direct is not None and caller is not None:
            answer = self._direct_answer(direct, request, operation, caller)
        elif handler is None:
            answer = self._stock_answer(request, operation, caller)
        elif caller is None:
            text = "Request is missing Authentication Token"
            raise AwsError("MissingAuthenticationToken", text, 403)
        else:
            call = Call(
                operation=operation,
                caller=caller,
                params=_parameters(request, operation),
                config=self.config,
                keyring=self.keyring,
                unlisted_seconds=plan.unlisted_seconds,
            )
            with self.lock, _aws_errors(operation):
                self._permit(caller, operation, call.params)
                _refuse_dry_run(call)
                result = handler(call)
            answer = wire.answer(operation.service, operation.name, result)
        if not operation.name.startswith(_READ_ONLY):
            self.changed.set()
        return answer

    def _direct_answer(
        self, direct: Direct, request: Request, operation: Operation, caller: Identity
    ) -> Answer:
        call = Call(
            operation=operation,
            caller=caller,
            params=direct.read(request),
            config=self.config,
            keyring=self.keyring,
            request=request,
            lock=self.lock,
        )
        with _aws_errors(operation):
            with self.lock:
                self._permit(caller, operation, call.params)
            return direct.answer(call)

    def _stock_answer(
        self, request: Request, operation: Operation, caller: Identity | None
    ) -> Answer:
        of_s3 = operation.service == "s3"
        with self.object_lock if of_s3 else self.lock:
            if caller is not None:
                self._permit(caller, operation, _of_object(request) if of_s3 else {})
            return self.stock.answer(request, operation, caller.account if caller else None)

    def _permit(self, caller: Identity, operation: Operation, params: Mapping[str, Any]) -> None:
        if self.config.enforce_iam:
            permissions.check(caller, operation, params)


def _suffer(plan: Plan) -> None:
    if plan.delay_seconds:
        clock.sleep(plan.delay_seconds)
    if plan.hang_seconds is not None:
        clock.sleep(plan.hang_seconds)
        raise ConnectionCut
    if plan.drop:
        raise ConnectionCut
    if plan.error is not None:
        raise plan.error


def _of_object(request: Request) -> Mapping[str, Any]:
    """What a request of S3's says of the object that it names in its path."""
    bucket, _, key = request.path.lstrip("/").partition("/")
    return {**request.parameters(), "Bucket": bucket, "Key": key}


def _parameters(request: Request, operation: Operation) -> Mapping[str, Any]:
    try:
        params = models.parse(operation.service, operation.name, request)
    except (ValueError, LookupError) as failure:
        raise AwsError("InvalidParameterValue", f"A parameter is invalid: {failure}") from failure
    shape = models.operation(operation.service, operation.name).input_shape
    for name in shape.required_members if shape else ():
        if name not in params:
            text = f"The request must contain the parameter {name}"
            raise AwsError("MissingParameter", text)
    return params


def _refuse_dry_run(call: Call) -> None:
    if call.get("DryRun"):
        text = "Request would have succeeded, but DryRun flag is set."
        raise AwsError("DryRunOperation", text, 412)


@contextlib.contextmanager
def _aws_errors(operation: Operation) -> Any:
    """What goes wrong inside, also in moto, as an AwsError."""
    try:
        yield
    except AwsError:
        raise
    except ServiceException as failure:
        raise AwsError(failure.code, str(failure.message)) from failure
    except HTTPException as failure:
        code = getattr(failure, "error_type", "InternalError")
        text = getattr(failure, "message", str(failure))
        raise AwsError(code, text, failure.code or 500) from failure
    except NotImplementedError as failure:
        raise not_implemented(operation, str(failure)) from failure
    except Exception as failure:
        raise internal_error(operation) from failure


def _error_code(answer: Answer) -> str | None:
    if answer.status < 400:
        return None
    for name, value in answer.headers:
        if name.lower() == "x-amzn-errortype":
            return value
    found = _CODE_ON_THE_WIRE.search(answer.body)
    return found[1].decode() if found else str(answer.status)
