"""What worker machines ask of the server, under `/machines/`: no part of the API.

Each has a token of its own (`engine/machine_tokens.py`). The words are in `cpm.machine.wire`.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse

from cpm.engine import machine_tokens, machine_work
from cpm.engine.machine_tokens import NotYet, NotYours
from cpm.engine.queue import Overtaken
from cpm.kernel.faults import Fault
from cpm.machine import wire
from cpm.models.machines import WorkerMachine
from cpm.server import software

log = structlog.get_logger(__name__)

_BEARER = "Bearer "
# By name: what is told, and who hears it.
_ASKED: dict[str, tuple[type[Any], Callable[[WorkerMachine, Any], msgspec.Struct]]] = {
    "claim": (wire.Alive, machine_work.claim),
    "checkpoint": (wire.Told, machine_work.checkpoint),
    "failed": (wire.Failed, machine_work.failed),
    "keys": (wire.Wish, machine_work.keys),
    "index": (wire.Held, machine_work.index),
    "near": (wire.Sought, machine_work.near),
    "budget": (wire.Calls, machine_work.budget),
    "throttled": (wire.Calls, machine_work.throttled),
    "alive": (wire.Alive, machine_work.alive),
}


def serve(http: HttpRequest, what: str) -> HttpResponse:
    """Answer a machine; 503 where it is to ask again."""
    try:
        return _answer(http, what)
    except NotYours:
        return HttpResponse("this token opens nothing\n", status=401)
    except msgspec.MsgspecError as error:
        return HttpResponse(f"{error}\n", status=400)
    except (NotYet, Overtaken, Fault) as reason:
        log.info("machine.asked_to_wait", what=what, reason=str(reason))
    except DatabaseError as error:
        log.warning("machine.database_away", what=what, reason=str(error))
    return HttpResponse("ask again soon\n", status=503, headers={"Retry-After": "2"})


def _answer(http: HttpRequest, what: str) -> HttpResponse:
    if what == "enrol" and http.method == "POST":
        given = machine_tokens.enrol(_token(http), http.POST.get("instance_id", ""))
        return HttpResponse(given, content_type="text/plain")
    machine = machine_tokens.machine_of(_token(http))
    if what == "software" and http.method == "GET":
        return HttpResponse(software.bundle(), content_type="application/gzip")
    if what not in _ASKED or http.method != "POST":
        return HttpResponse("there is no such thing\n", status=404)
    told, hears = _ASKED[what]
    answer = hears(machine, msgspec.json.decode(http.body, type=told))
    return HttpResponse(msgspec.json.encode(answer), content_type="application/json")


def _token(http: HttpRequest) -> str:
    sent = http.headers.get("Authorization", "")
    if not sent.startswith(_BEARER):
        raise NotYours
    return sent.removeprefix(_BEARER).strip()
