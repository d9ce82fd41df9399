"""Options of resource types as fields of a body: a type declares them once, with its driver."""

from collections.abc import Mapping
from typing import Any

from cpm.kernel.invalid import Invalid, Problem
from cpm.resources.options import OptionSpec, OptionType, specs
from cpm.services.fields import Field, Kind
from cpm.services.kinds import array, boolean, choice, integer, nested, text, type_name


def fields(options: type) -> tuple[Field, ...]:
    """The fields that an options dataclass declares."""
    return tuple(_field(spec) for spec in specs(options))


def _field(spec: OptionSpec) -> Field:
    return Field(
        spec.name,
        _kind(spec),
        required=spec.is_required,
        nullable=spec.is_nullable,
        description=spec.help or spec.label,
    )


def _kind(spec: OptionSpec) -> Kind:
    match spec.type:
        case OptionType.BOOLEAN:
            return boolean()
        case OptionType.INTEGER:
            bounds = {"least": spec.minimum, "most": spec.maximum}
            return integer(**{name: bound for name, bound in bounds.items() if bound is not None})
        case OptionType.STRING:
            return choice(*spec.choices) if spec.choices else text(max_length=spec.max_length)
        case OptionType.STRINGS:
            return array(text(max_length=spec.max_length))
        case OptionType.OBJECTS:
            return array(nested(*(_field(each) for each in spec.nested)))
        case OptionType.MAPPING:
            return _mapping()


def _mapping() -> Kind:
    """An object whose values are texts."""
    value_kind = text(blank=True)

    def read(value: object) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            message = f"Invalid data. Expected a dictionary, but got {type_name(value)}."
            raise Invalid(Problem("invalid", message))
        return {str(value_kind.read(key)): value_kind.read(item) for key, item in value.items()}

    return Kind(read, {"type": "object", "additionalProperties": value_kind.schema})
