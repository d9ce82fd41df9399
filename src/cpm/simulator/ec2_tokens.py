"""Client tokens: the same token gives what the first call made, and nothing more."""

from collections.abc import Sequence
from dataclasses import dataclass

from cpm.simulator import ec2_state
from cpm.simulator.calls import Call
from cpm.simulator.errors import AwsError


@dataclass(frozen=True)
class _Memory:
    parameters: str
    resource_ids: tuple[str, ...]


def earlier(call: Call) -> Sequence[str] | None:
    """The ids that an earlier call with this client token made, None when there was none.

    Raises IdempotentParameterMismatch when the other parameters are not the same.
    """
    token = call.get("ClientToken")
    memory = _memories(call).get(f"{call.operation.name}/{token}") if token else None
    if memory is None:
        return None
    if memory.parameters != _parameters(call):
        raise AwsError(
            "IdempotentParameterMismatch",
            f"The client token '{token}' was used before with other parameters.",
        )
    return memory.resource_ids


def remember(call: Call, resource_ids: Sequence[str]) -> None:
    """Keep what this call made under its client token, if it has one."""
    token = call.get("ClientToken")
    if token:
        memory = _Memory(_parameters(call), tuple(resource_ids))
        _memories(call)[f"{call.operation.name}/{token}"] = memory


def _memories(call: Call) -> dict[str, _Memory]:
    ec2 = ec2_state.backend(call.account, call.region)
    return ec2_state.table(ec2, "client_tokens")


def _parameters(call: Call) -> str:
    return repr(sorted((key, value) for key, value in call.params.items() if key != "ClientToken"))
