"""The simulator is steered by plain HTTP with JSON, under `/_ctl/`."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from cpm.simulator import (
    block_control,
    counts,
    credentials,
    faults,
    finishing,
    seed,
    ssm_agents,
    ssm_commands,
)
from cpm.simulator.config import BadConfig
from cpm.simulator.simulation import Simulation
from cpm.simulator.web import Answer, Request, json_answer

PREFIX = "/_ctl/"

Action = Callable[[Simulation, Request], Any]


class BadRequest(ValueError):
    """A control request that makes no sense; the text says why."""


def answer(simulation: Simulation, request: Request) -> Answer:
    """Carry out a control request; 400 with the reason when it is not right."""
    action = _ACTIONS.get((request.method, request.path.removeprefix(PREFIX).rstrip("/")))
    if action is None:
        known = [f"{method} {PREFIX}{path}" for method, path in _ACTIONS]
        return json_answer({"error": "no such control", "controls": known}, 404)
    try:
        result = action(simulation, request)
        return result if isinstance(result, Answer) else json_answer(result)
    except (BadRequest, BadConfig, faults.BadRule, seed.BadSeed, ValueError) as reason:
        return json_answer({"error": str(reason)}, 400)


def _show_counts(simulation: Simulation, request: Request) -> Any:
    by = counts.dimensions(request.parameters().get("by", ""))
    return simulation.counts.totals(by)


def _reset_counts(simulation: Simulation, _: Request) -> Any:
    simulation.counts.reset()
    return {}


def _show_calls(simulation: Simulation, request: Request) -> Any:
    return simulation.counts.calls(int(request.parameters().get("since", "0")))


def _show_faults(simulation: Simulation, _: Request) -> Any:
    return simulation.faults.public()


def _set_faults(simulation: Simulation, request: Request) -> Any:
    simulation.faults.replace(faults.parse(_json(request)))
    return simulation.faults.public()


def _show_config(simulation: Simulation, _: Request) -> Any:
    return simulation.config.public()


def _set_config(simulation: Simulation, request: Request) -> Any:
    simulation.config.update(_object(request))
    simulation.changed.set()
    return simulation.config.public()


def _plant(simulation: Simulation, request: Request) -> Any:
    estate = seed.parse(_object(request))
    with simulation.lock:
        planted = seed.plant(estate)
    simulation.changed.set()
    return planted


def _open_account(simulation: Simulation, request: Request) -> Any:
    wanted = _object(request)
    account = str(wanted.get("account", ""))
    if len(account) != 12 or not account.isdigit():
        raise BadRequest("an account is a number of 12 digits")
    with simulation.lock:
        key = credentials.open_account(
            account, wanted.get("access_key_id"), wanted.get("secret_access_key")
        )
    simulation.changed.set()
    return asdict(key)


def _show_accounts(simulation: Simulation, _: Request) -> Any:
    with simulation.lock:
        return [asdict(credentials.open_account(item)) for item in credentials.accounts()]


def _set_agents(simulation: Simulation, request: Request) -> Any:
    wanted = _object(request)
    with simulation.lock:
        instances = ssm_agents.set_agents(wanted)
    simulation.changed.set()
    return {"agents": instances}


def _set_outcomes(simulation: Simulation, request: Request) -> Any:
    wanted = _object(request)
    with simulation.lock:
        count = ssm_commands.set_outcomes(wanted)
    simulation.changed.set()
    return {"outcomes": count}


def _finish(simulation: Simulation, request: Request) -> Any:
    wanted = set(_object(request).get("ids", []))
    with simulation.lock:
        return {"finished": finishing.finish(wanted)}


def _fill(simulation: Simulation, request: Request) -> Any:
    return block_control.fill(simulation, _object(request))


def _reset(simulation: Simulation, _: Request) -> Any:
    simulation.reset()
    return {}


def _json(request: Request) -> Any:
    try:
        return json.loads(request.body or b"null")
    except ValueError as reason:
        raise BadRequest(f"the body is not JSON: {reason}") from reason


def _object(request: Request) -> dict[str, Any]:
    value = _json(request)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest("the body is a JSON object")
    return value


_ACTIONS: dict[tuple[str, str], Action] = {
    ("GET", "counts"): _show_counts,
    ("POST", "counts/reset"): _reset_counts,
    ("GET", "calls"): _show_calls,
    ("GET", "faults"): _show_faults,
    ("POST", "faults"): _set_faults,
    ("GET", "config"): _show_config,
    ("POST", "config"): _set_config,
    ("POST", "seed"): _plant,
    ("GET", "accounts"): _show_accounts,
    ("POST", "accounts"): _open_account,
    ("POST", "agents"): _set_agents,
    ("POST", "commands"): _set_outcomes,
    ("GET", "blocks"): block_control.show,
    ("GET", "blocks/data"): block_control.read,
    ("PUT", "blocks/data"): block_control.write,
    ("GET", "blocks/compare"): block_control.compare,
    ("POST", "blocks/fill"): _fill,
    ("POST", "finish"): _finish,
    ("POST", "reset"): _reset,
}
