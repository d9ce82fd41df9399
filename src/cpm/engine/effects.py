"""What an operation does, by its driver."""

from cpm.models.operations import Operation
from cpm.resources import registry
from cpm.resources.contract import Effect


def effect_of(operation: Operation) -> Effect:
    """What the operation's driver declares of it; raises KeyError."""
    return registry.driver(operation.kind).effect(operation.effect)
