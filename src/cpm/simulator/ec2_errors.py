"""EC2's errors that more than one operation answers, in its words."""

from collections.abc import Sequence

from cpm.simulator.errors import AwsError


def not_found(code: str, noun: str, ids: Sequence[str]) -> AwsError:
    """`noun` (`snapshot`, `volume`) with these ids does not exist, for this caller at least."""
    listed = ", ".join(ids)
    if len(ids) == 1:
        return AwsError(code, f"The {noun} '{listed}' does not exist.")
    return AwsError(code, f"The {noun}s '{listed}' do not exist.")


def malformed(code: str, value: str, prefix: str) -> AwsError:
    """An id that cannot be one."""
    return AwsError(code, f'Invalid id: "{value}" (expecting "{prefix}-...")')


def invalid_value(message: str) -> AwsError:
    """A parameter with a value that AWS does not take."""
    return AwsError("InvalidParameterValue", message)


def invalid_combination(message: str) -> AwsError:
    """Parameters that do not go together."""
    return AwsError("InvalidParameterCombination", message)


def missing_parameter(name: str) -> AwsError:
    """A parameter that AWS insists on."""
    return AwsError("MissingParameter", f"The request must contain the parameter {name}")


def incorrect_state(message: str) -> AwsError:
    """The thing exists, but not in a state that allows the operation."""
    return AwsError("IncorrectState", message)


def check_account_id(number: str) -> None:
    """Raise unless this could be an account's number."""
    if len(number) != 12 or not number.isdigit():
        raise invalid_value(f'Invalid value "{number}" for userId. Must be an account id.')
