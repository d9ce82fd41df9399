"""What may be asked of a recovered DynamoDB table."""

from dataclasses import dataclass

from cpm.resources import _dynamodb
from cpm.resources._recovery import Tagging
from cpm.resources.options import option


@dataclass(frozen=True)
class RecoverOptions(Tagging):
    """What may be asked of a recovered table; what is not asked is as the original was."""

    table_name: str | None = option(
        None,
        label="Table name",
        help="The original's, if it is free.",
        max_length=_dynamodb.LONGEST_NAME,
    )
    billing_mode: str | None = option(
        None,
        label="Billing mode",
        choices={_dynamodb.ON_DEMAND: "On demand", _dynamodb.PROVISIONED: "Provisioned"},
    )
