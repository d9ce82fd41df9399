"""What may be asked of recovered RDS databases and clusters."""

from dataclasses import dataclass

from cpm.resources import _rds
from cpm.resources._rds_storage import STORAGE_TYPES
from cpm.resources._recovery import Tagging
from cpm.resources.options import option

_LOWEST_PORT, _HIGHEST_PORT = 1150, 65535
_LICENSE_MODELS = {
    "license-included": "License included",
    "bring-your-own-license": "Bring your own license",
    "general-public-license": "General public license",
    "postgresql-license": "PostgreSQL license",
    "marketplace-license": "Marketplace license",
}


@dataclass(frozen=True)
class DatabaseOptions(Tagging):
    """What may be asked of a recovered database; what is not asked is as the original was."""

    db_instance_identifier: str | None = option(
        None, label="Name", max_length=_rds.LONGEST_NAME, help="The original's, if it is free."
    )
    db_instance_class: str | None = option(None, label="Class", max_length=64)
    availability_zone: str | None = option(None, label="Availability zone", max_length=64)
    multi_az: bool | None = option(None, label="Multi-AZ")
    db_subnet_group: str | None = option(None, label="Subnet group", max_length=255)
    publicly_accessible: bool | None = option(None, label="Publicly accessible")
    port: int | None = option(None, label="Port", minimum=_LOWEST_PORT, maximum=_HIGHEST_PORT)
    storage_type: str | None = option(None, label="Storage type", choices=STORAGE_TYPES)
    iops: int | None = option(None, label="IOPS", minimum=1000, maximum=256000)
    parameter_group: str | None = option(None, label="Parameter group", max_length=255)
    option_group: str | None = option(None, label="Option group", max_length=255)
    vpc_security_groups: tuple[str, ...] | None = option(None, label="Security groups")
    license_model: str | None = option(
        None,
        label="License model",
        choices=_LICENSE_MODELS,
    )
    auto_minor_version_upgrade: bool | None = option(None, label="Minor upgrades by themselves")
    deletion_protection: bool | None = option(None, label="Deletion protection")


@dataclass(frozen=True)
class ClusterOptions(Tagging):
    """What may be asked of a recovered cluster; what is not asked is as the original was."""

    cluster_identifier: str | None = option(
        None, label="Name", max_length=_rds.LONGEST_NAME, help="The original's, if it is free."
    )
    instance_identifier: str | None = option(
        None, label="Name of the writer", max_length=_rds.LONGEST_NAME
    )
    instance_class: str | None = option(None, label="Class", max_length=64, help="Of all members.")
    db_subnet_group: str | None = option(None, label="Subnet group", max_length=255)
    port: int | None = option(None, label="Port", minimum=_LOWEST_PORT, maximum=_HIGHEST_PORT)
    availability_zone: str | None = option(
        None, label="Availability zone", max_length=64, help="Of the writer."
    )
    publicly_accessible: bool | None = option(None, label="Publicly accessible")
    parameter_group: str | None = option(None, label="Cluster parameter group", max_length=255)
    vpc_security_groups: tuple[str, ...] | None = option(None, label="Security groups")
