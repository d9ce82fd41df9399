"""The corrections of all services, put together. A new service is one more module here."""

from cpm.simulator import (
    dynamodb_backups,
    dynamodb_tables,
    ec2_attachments,
    ec2_image_copies,
    ec2_image_listing,
    ec2_image_making,
    ec2_image_sharing,
    ec2_instance_attributes,
    ec2_instance_states,
    ec2_instances,
    ec2_launch,
    ec2_snapshot_copies,
    ec2_snapshot_making,
    ec2_snapshot_sharing,
    ec2_snapshots,
    ec2_tagging,
    ec2_tags,
    ec2_volume_changes,
    ec2_volumes,
    rds_classes,
    rds_databases,
    rds_groups,
    rds_restores,
    rds_sharing,
    rds_snapshot_copies,
    rds_snapshot_making,
    rds_snapshots,
    redshift_clusters,
    redshift_sharing,
    redshift_snapshots,
    ssm_agents,
    ssm_commands,
    sts,
    tagged_resources,
)
from cpm.simulator.calls import Handlers

_MODULES = (
    dynamodb_backups,
    dynamodb_tables,
    ec2_attachments,
    ec2_image_copies,
    ec2_image_listing,
    ec2_image_making,
    ec2_image_sharing,
    ec2_instance_attributes,
    ec2_instance_states,
    ec2_instances,
    ec2_launch,
    ec2_snapshot_copies,
    ec2_snapshot_making,
    ec2_snapshot_sharing,
    ec2_snapshots,
    ec2_tagging,
    ec2_tags,
    ec2_volume_changes,
    ec2_volumes,
    rds_classes,
    rds_databases,
    rds_groups,
    rds_restores,
    rds_sharing,
    rds_snapshot_copies,
    rds_snapshot_making,
    rds_snapshots,
    redshift_clusters,
    redshift_sharing,
    redshift_snapshots,
    ssm_agents,
    ssm_commands,
    sts,
    tagged_resources,
)


def install() -> Handlers:
    """Correct moto, once per process, and answer the table of operations answered here."""
    handlers = Handlers()
    for module in _MODULES:
        module.install(handlers)
    return handlers
