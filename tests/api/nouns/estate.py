"""What the tests of the nouns build on: an account, a policy, targets, runs; all over the API."""

from dataclasses import dataclass
from typing import Any, Self

from cpm.engine import queue, sweep, worker
from cpm.kernel import clock
from cpm.models.operations import Operation, OperationPhase
from tests.api.cast import Caller
from tests.api.nouns.cloud import REGION, Cloud
from tests.engine.world import next_due

_MOST_LOOKS = 300

assert worker.LOOKS  # imported, so that this process can do every job


@dataclass
class Estate:
    """One user's account and policy, both in AWS and on the server."""

    caller: Caller
    cloud: Cloud
    account: int
    policy: int

    @classmethod
    def of(cls, caller: Caller, cloud: Cloud) -> Self:
        account = connect(caller, cloud)["id"]
        policy = create(caller, "/policies/", {"name": "nightly", "account": account})["id"]
        return cls(caller, cloud, account, policy)

    @property
    def path(self) -> str:
        """The policy's."""
        return f"/policies/{self.policy}/"

    def target(self, collection: str, resource_id: str, **values: object) -> Any:
        """Let the policy protect something."""
        body = {"resource_id": resource_id, "region": REGION, **values}
        return create(self.caller, f"{self.path}targets/{collection}/", body)

    def run(self) -> Any:
        """Run the policy now, to its end; returns the record."""
        backup = create(self.caller, f"{self.path}backups/", {})
        drain()
        return self.caller.get(f"/backups/{backup['id']}/").json

    def run_until_copies_are_made(self) -> int:
        """Run the policy until AWS is about to make copies elsewhere; returns the record's id."""
        backup = create(self.caller, f"{self.path}backups/", {})["id"]
        self.cloud.simulator.config(pending=100_000)
        copying = Operation.objects.exclude(dr_copy=None).filter(phase=OperationPhase.STARTED)
        while not copying.exists():
            self.cloud.simulator.finish()
            assert work_on()
        return int(backup)


def connect(caller: Caller, cloud: Cloud, **values: object) -> Any:
    """Make an account of the server for an account of AWS, entered with its keys."""
    return create(caller, "/accounts/backup/", keys(cloud, **values))


def keys(cloud: Cloud, **values: object) -> dict[str, object]:
    """The body that makes such an account."""
    return {
        "name": "prod",
        "authentication": "C",
        "aws_access_key": cloud.keys.access_key_id,
        "aws_secret_key": cloud.keys.secret_access_key,
        **values,
    }


def create(caller: Caller, path: str, body: dict[str, Any]) -> Any:
    """Make an object, or start something; returns what the API answers."""
    answer = caller.post(path, body)
    assert answer.status == 201, answer.body
    return answer.json


def drain() -> None:
    """Do what is to be done until nothing is open, with the clock moved to whatever is next."""
    for _ in range(_MOST_LOOKS):
        if not work_on():
            return
    raise AssertionError("the engine never came to rest")


def work_on() -> bool:
    """Do what is due, and move the clock to whatever is next; False when nothing is open."""
    sweep.sweep()
    while queue.run_next():
        pass
    due_at = next_due()
    if due_at is not None:
        ahead = due_at - clock.now()
        clock.set_offset(clock._offset + max(ahead, ahead * 0))
    return due_at is not None
