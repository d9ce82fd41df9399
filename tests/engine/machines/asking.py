"""The server, asked as worker machines ask it."""

from typing import Any

from django.test import Client

from cpm.engine import machine_launch
from cpm.models.machines import WorkerMachine


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def enrol(token: str, instance_id: str) -> Any:
    """Say who one is, as the user data does."""
    body = {"instance_id": instance_id}
    return Client().post("/machines/enrol", body, headers=bearer(token))


def enrolled(machine: WorkerMachine) -> str:
    """The token of a machine that has said who it is."""
    answer = enrol(machine_launch.enrolment_token(machine), machine.instance_id)
    return str(answer.content.decode())


def ask(what: str, token: str, **told: Any) -> Any:
    """Ask the server as a machine does."""
    return Client().post(
        f"/machines/{what}", told, content_type="application/json", headers=bearer(token)
    )
