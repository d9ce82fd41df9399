"""Parameter groups that are named must be there, and quotas count what users make."""

from collections.abc import Mapping
from typing import Any

from moto.rds.exceptions import DBParameterGroupNotFoundError
from moto.rds.models import RDSBackend

from cpm.simulator import ec2_state
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.errors import AwsError
from cpm.simulator.patches import replace
from cpm.simulator.rds_kinds import backend, invalid_value

_describe_parameter_groups = RDSBackend.describe_db_parameter_groups
_DEFAULT = "default."
# moto counts what RDS makes by itself, too; the limit on manual snapshots is ours.
_NO_QUOTA = 1_000_000


def install(_handlers: Handlers) -> None:
    """Let moto refuse parameter groups that are not there, and automated backups never."""
    replace(RDSBackend, "describe_db_parameter_groups", _named_parameter_groups)
    replace(RDSBackend, "SNAPSHOT_QUOTA", _NO_QUOTA)


def check_for_cluster(call: Call) -> None:
    """Raise unless the groups that a call about a cluster names are there."""
    rds = backend(call.account, call.region)
    if call.get("DBSubnetGroupName"):
        rds.describe_db_subnet_groups(call.params["DBSubnetGroupName"])
    name = call.get("DBClusterParameterGroupName") or _DEFAULT
    if not name.startswith(_DEFAULT) and name not in rds.db_cluster_parameter_groups:
        text = f"DBClusterParameterGroup not found: {name}"
        raise AwsError("DBClusterParameterGroupNotFound", text, 404)


def check_security_groups(call: Call) -> None:
    """Raise unless the security groups that a call names are there."""
    ec2 = ec2_state.backend(call.account, call.region)
    for group_id in call.get("VpcSecurityGroupIds") or ():
        if ec2.get_security_group_from_id(group_id) is None:
            raise invalid_value(f"Invalid security group , groupId= {group_id}, groupName=.")


def _named_parameter_groups(rds: RDSBackend, wanted: Mapping[str, Any]) -> Any:
    name = wanted.get("db_parameter_group_name")
    if name and name not in rds.db_parameter_groups:
        raise DBParameterGroupNotFoundError(name)
    return _describe_parameter_groups(rds, dict(wanted))
