"""Worker machines that copy, told like the other stories: the server dies, they do not."""

import queue
import re
import threading
import uuid
from collections import Counter
from contextlib import suppress
from typing import Any

from django.test import Client

from cpm.aws import tags
from cpm.engine import identity, machine_inventory
from cpm.machine.server import Dismissed, Server
from cpm.machine.work import Stream
from cpm.models.backups import Backup
from cpm.models.machines import MachineOutcome, MachinePhase, WorkerMachine
from cpm.models.workers import Worker
from cpm.resources import machines as in_aws
from tests.crash.restore_stories import SnapshotFromS3Story
from tests.crash.s3_stories import S3Story, Shelf
from tests.crash.stories import Story
from tests.engine.machines.host import instances, user_data
from tests.engine.world import REGION, World

_GONE = ("shutting-down", "terminated")
_TOKEN = re.compile(r"^enrolment='?([\w-]+)'?$", re.MULTILINE)


class _Line(Server):
    """How a machine asks the server, which answers when it gets to it."""

    def __init__(self, token: str) -> None:
        super().__init__("https://cpm.example.com", token)
        self.asked: queue.Queue[_Request | None] = queue.Queue()
        self._token = token

    def _try(self, what: str, body: bytes) -> bytes | None:
        request = _Request(what, body, self._token)
        self.asked.put(request)
        return request.hear()


class _Request:
    """What a machine asks, again and again until it is answered."""

    def __init__(self, what: str, body: bytes, token: str) -> None:
        self._what, self._body, self._token = what, body, token
        self._answer: queue.Queue[Any] = queue.Queue()

    def answer(self) -> bool:
        """Answer as the server does, if it lives to do so; whether there was anything to do."""
        answer = Client().post(
            f"/machines/{self._what}",
            self._body,
            content_type="application/json",
            headers={"Authorization": f"Bearer {self._token}"},
        )
        self._answer.put(answer)
        is_idle = self._what == "claim" and b'"assignment":null' in answer.content
        return answer.status_code == 200 and not is_idle

    def hear(self) -> bytes | None:
        answer = self._answer.get()
        if answer.status_code == 401:
            raise Dismissed
        return answer.content if answer.status_code == 200 else None


class _Machine:
    """An instance that does what its user data says."""

    def __init__(self, world: World, instance_id: str) -> None:
        self.instance_id = instance_id
        (self._token,) = _TOKEN.findall(user_data(world, instance_id))
        self._line: _Line | None = None
        self._request: _Request | None = None
        self.is_over = False

    def converse(self) -> bool:
        """Have the server answer what it asks next; false if that was whether there is work."""
        if self._line is None:
            return self._enrol()
        # What the server has not answered, since it died, is asked again.
        self._request = self._request or self._line.asked.get(timeout=60)
        if self._request is None:
            self.is_over = True
            return False
        is_busy = self._request.answer()
        self._request = None
        return is_busy

    def _enrol(self) -> bool:
        headers = {"Authorization": f"Bearer {self._token}"}
        told = {"instance_id": self.instance_id}
        answer = Client().post("/machines/enrol", told, headers=headers)
        if answer.status_code == 200:
            self._line = _Line(answer.content.decode())
            threading.Thread(target=self._run, args=(self._line,), daemon=True).start()
        self.is_over = answer.status_code == 401
        return answer.status_code == 200

    def _run(self, line: _Line) -> None:
        with suppress(Dismissed):
            Stream(line, connections=2, stop=threading.Event()).run()
        line.asked.put(None)


class _Fleet:
    """The machines that AWS launches from now on, for one configuration of the user."""

    def __init__(self, world: World) -> None:
        self.world = world
        Worker.objects.all().delete()
        WorkerMachine.objects.all().delete()
        Worker.objects.create(user=world.user, account=world.account, region=REGION)
        self._earlier = {each["InstanceId"] for each in instances(world)}
        self._machines: dict[str, _Machine] = {}

    def work(self) -> None:
        """Let the server work, and machines with it, until nothing is open."""
        while True:
            self.world.work()
            self._boot()
            living = [each for each in self._machines.values() if not each.is_over]
            if sum(each.converse() for each in living) == 0 and not self.world.next_look():
                return

    def check(self) -> None:
        """All have been asked for once, and have ended; the last of them after its work."""
        launched = [
            each for each in instances(self.world) if each["InstanceId"] not in self._earlier
        ]
        assert {each["State"]["Name"] for each in launched} <= set(_GONE)
        tokens = Counter(tags.from_aws(each["Tags"])[tags.TOKEN] for each in launched)
        rows = WorkerMachine.objects.order_by("pk")
        assert tokens == {str(each.token): 1 for each in rows}
        assert {each.phase for each in rows} == {MachinePhase.CLOSED}
        assert rows[len(tokens) - 1].outcome == MachineOutcome.SUCCEEDED
        for machine in self._machines.values():
            while not machine.is_over:
                assert not machine.converse()

    def _boot(self) -> None:
        for each in instances(self.world, "pending", "running"):
            instance_id = each["InstanceId"]
            if instance_id not in self._machines:
                self._machines[instance_id] = _Machine(self.world, instance_id)


class CopyByMachineStory(S3Story):
    """What has changed of a volume is copied to S3 by a machine that is launched for it."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__(shelf)
        self.fleet = _Fleet(self.world)

    def ask(self) -> None:
        self.fleet.work()

    def check(self) -> None:
        super().check()
        self.fleet.check()


class RestoreByMachineStory(SnapshotFromS3Story):
    """A copy in S3 is put back into EBS by a machine that is launched for it."""

    def __init__(self, world: World, backup: Backup) -> None:
        super().__init__(world, backup)
        self.fleet = _Fleet(world)

    def ask(self) -> None:
        super().ask()
        self.fleet.work()

    def check(self) -> None:
        super().check()
        self.fleet.check()


class ReapStory(Story):
    """AWS has a machine of which the server knows nothing."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        WorkerMachine.objects.all().delete()
        Worker.objects.get_or_create(user=world.user, account=world.account, region=REGION)
        token = str(uuid.uuid4())
        marks = {"Name": in_aws.NAME, tags.SERVER_ID: identity.server_id(), tags.TOKEN: token}
        launched = world.ec2().run_instances(
            ImageId="ami-0abcdef1234567890",
            MinCount=1,
            MaxCount=1,
            ClientToken=token,
            TagSpecifications=[tags.specification("instance", marks)],
        )
        self.instance_id = launched["Instances"][0]["InstanceId"]

    def ask(self) -> None:
        if not WorkerMachine.objects.exists():
            machine_inventory.start()

    def check(self) -> None:
        (found,) = [
            each for each in instances(self.world) if each["InstanceId"] == self.instance_id
        ]
        assert found["State"]["Name"] in _GONE
        (row,) = WorkerMachine.objects.all()
        assert (row.instance_id, row.phase) == (self.instance_id, MachinePhase.CLOSED)
