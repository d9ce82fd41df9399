"""What may be asked of a recovered Redshift cluster."""

from dataclasses import dataclass

from cpm.resources import _redshift
from cpm.resources._recovery import Tagging
from cpm.resources.options import option


@dataclass(frozen=True)
class RecoverOptions(Tagging):
    """What may be asked of a recovered cluster; what is not asked is as the original was."""

    cluster_identifier: str | None = option(
        None,
        label="Cluster identifier",
        help="The original's, if it is free.",
        max_length=_redshift.LONGEST_NAME,
    )
    node_type: str | None = option(None, label="Node type", max_length=64)
    port: int | None = option(None, label="Port", minimum=1150, maximum=65535)
    availability_zone: str | None = option(None, label="Availability zone", max_length=64)
    subnet_group: str | None = option(None, label="Subnet group", max_length=255)
    parameter_group: str | None = option(None, label="Parameter group", max_length=255)
    publicly_accessible: bool | None = option(None, label="Publicly accessible")
    allow_version_upgrade: bool | None = option(None, label="Allow version upgrade")
    vpc_security_groups: tuple[str, ...] | None = option(None, label="VPC security groups")
