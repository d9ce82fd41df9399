"""Planning the recovery of a cluster: what the original had, as far as it exists where it is to be.

A snapshot knows nodes, port, database and users. What lies around a cluster (network, groups,
roles) is asked for by name, as the facts of the backup have it: the cluster may be gone.
"""

from collections.abc import Sequence
from functools import partial

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _ec2, _redshift, _redshift_restores, _redshift_snapshots
from cpm.resources._recovery import NO_FIELD, wanted_tags
from cpm.resources._redshift_options import RecoverOptions
from cpm.resources._restored import STEP, Naming
from cpm.resources.contract import Json, OptionRefused, Order
from cpm.resources.copied import Copied, Source

# Nodes of these families take connections at these ports alone.
_MANAGED_STORAGE = ("ra3.", "rg.")
_THEIR_PORTS = (range(5431, 5456), range(8191, 8216))


def plan(aws: Aws, source: Source, options: RecoverOptions) -> list[Order]:
    """The chain of orders that restores the cluster and tags it; raises OptionRefused."""
    copy = source.copies[0]
    snapshot = _snapshot(aws, copy)
    facts = copy.facts
    owner = snapshot.get("OwnerAccount") or ""
    if source.is_elsewhere or (aws.account_number and owner and owner != aws.account_number):
        facts = facts | dict.fromkeys(_OF_THE_PLACE)
    restore = {
        "parameters": _parameters(aws, copy, snapshot, facts, options),
        "like": {name: snapshot.get(name) for name in _redshift_restores.ALIKE},
        "copy_token": _redshift_snapshots.token_of(copy.aws_ref),
    }
    kept = wanted_tags(options, facts.get("tags", {}))
    inherited = tags.of_resource(facts.get("tags", {}))
    orders = [Order(_redshift_restores.RESTORE.name, restore, step=STEP)]
    if inherited.keys() - tags.merged(dict.fromkeys(tags.OWN, ""), kept).keys():
        untag = _redshift_restores.UNTAG.name
        orders.append(Order(untag, {"tags": kept}, step="untag", after=STEP))
    tag = _redshift_restores.TAG.name
    return [*orders, Order(tag, {"tags": kept}, step="tag", after=orders[-1].step)]


def _snapshot(aws: Aws, copy: Copied) -> Json:
    owner = copy.facts.get("owner_account")
    chosen = {"OwnerAccount": owner} if owner else {}
    found = next(_redshift.snapshots(aws, SnapshotIdentifier=copy.aws_ref, **chosen), None)
    if found is None:
        text = f"snapshot {copy.aws_ref} does not exist in {aws.region}"
        raise OptionRefused(NO_FIELD, "does_not_exist", text)
    if found["Status"] != "available":
        raise OptionRefused(NO_FIELD, "invalid", f"snapshot {copy.aws_ref} is {found['Status']}")
    return found


_OF_THE_PLACE = (
    "availability_zone",
    "default_iam_role",
    "iam_roles",
    "parameter_group",
    "subnet_group",
    "vpc_id",
    "vpc_security_groups",
)

_NAMING = Naming(
    "cluster_identifier",
    _redshift.LONGEST_NAME,
    lambda name: None if _redshift.is_name(name) else f"{name} cannot be the name of a cluster",
)


def _parameters(
    aws: Aws, copy: Copied, snapshot: Json, facts: Json, options: RecoverOptions
) -> Json:
    """Those of `RestoreFromClusterSnapshot`; what it knows by itself is left out."""
    group = _subnet_group(aws, facts, options)
    taken = partial(_redshift.name_is_taken, aws)
    chosen = {
        "ClusterIdentifier": _NAMING.choose(options.cluster_identifier, copy.resource_id, taken),
        "SnapshotIdentifier": copy.aws_ref,
        "OwnerAccount": snapshot.get("OwnerAccount") or None,
        "NodeType": _node_type(snapshot, options),
        "Port": _port(snapshot, options),
        "ClusterSubnetGroupName": group["ClusterSubnetGroupName"] if group else None,
        "AvailabilityZone": _zone(group, facts, options),
        "ClusterParameterGroupName": _parameter_group(aws, facts, options),
        "VpcSecurityGroupIds": _security_groups(aws, group, facts, options) or None,
        "PubliclyAccessible": _asked_or(options.publicly_accessible, facts, "publicly_accessible"),
        "AllowVersionUpgrade": _asked_or(
            options.allow_version_upgrade, facts, "allow_version_upgrade"
        ),
        "EnhancedVpcRouting": facts.get("enhanced_vpc_routing"),
        "AvailabilityZoneRelocation": facts.get("moves_between_zones") or None,
        "MultiAZ": facts.get("is_multi_az") or None,
        "IamRoles": facts.get("iam_roles") or None,
        "DefaultIamRoleArn": facts.get("default_iam_role"),
        "ManualSnapshotRetentionPeriod": facts.get("manual_retention_days"),
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _asked_or(asked: bool | None, facts: Json, name: str) -> bool | None:
    return facts.get(name) if asked is None else asked


def _node_type(snapshot: Json, options: RecoverOptions) -> str | None:
    possible = snapshot.get("RestorableNodeTypes") or ()
    if options.node_type and possible and options.node_type not in possible:
        text = f"the snapshot can be restored to {', '.join(possible)}"
        raise OptionRefused("node_type", "invalid_choice", text)
    return options.node_type


def _port(snapshot: Json, options: RecoverOptions) -> int | None:
    node_type = options.node_type or snapshot["NodeType"]
    is_bound = node_type.startswith(_MANAGED_STORAGE)
    if options.port and is_bound and not any(options.port in ports for ports in _THEIR_PORTS):
        ranges = " or ".join(f"{ports[0]} to {ports[-1]}" for ports in _THEIR_PORTS)
        raise OptionRefused("port", "invalid", f"clusters of {node_type} have ports {ranges}")
    return options.port


def _subnet_group(aws: Aws, facts: Json, options: RecoverOptions) -> Json | None:
    wanted = options.subnet_group or facts.get("subnet_group")
    if not wanted:
        return None
    key = "ClusterSubnetGroups"
    group = _named(aws, "DescribeClusterSubnetGroups", key, ClusterSubnetGroupName=wanted)
    if group is None:
        text = f"{aws.region} has no subnet group {wanted}"
        raise _missing("subnet_group", options.subnet_group, text)
    return group


def _parameter_group(aws: Aws, facts: Json, options: RecoverOptions) -> str | None:
    wanted: str | None = options.parameter_group or facts.get("parameter_group")
    if not wanted:
        return None
    operation, key = "DescribeClusterParameterGroups", "ParameterGroups"
    if _named(aws, operation, key, ParameterGroupName=wanted) is None:
        text = f"{aws.region} has no parameter group {wanted}"
        raise _missing("parameter_group", options.parameter_group, text)
    return wanted


def _zone(group: Json | None, facts: Json, options: RecoverOptions) -> str | None:
    """One of those that the subnets are in; AWS chooses where there is no reason for any."""
    original = None if facts.get("is_multi_az") else facts.get("availability_zone")
    wanted: str | None = options.availability_zone or original
    if wanted is None or group is None:
        return wanted
    zones = {subnet["SubnetAvailabilityZone"]["Name"] for subnet in group["Subnets"]}
    if wanted in zones:
        return wanted
    if options.availability_zone:
        text = f"the subnet group is in {', '.join(sorted(zones))}"
        raise OptionRefused("availability_zone", "invalid_choice", text)
    return None


def _security_groups(
    aws: Aws, group: Json | None, facts: Json, options: RecoverOptions
) -> Sequence[str]:
    vpc_id = group.get("VpcId") if group else None
    wanted: Sequence[str] = options.vpc_security_groups or ()
    if not wanted and vpc_id == facts.get("vpc_id"):
        wanted = facts.get("vpc_security_groups") or ()
    if not wanted:
        # AWS takes the default group of the VPC.
        return ()
    by_id = _ec2.filter_by("group-id", *wanted)
    described = aws.call("ec2", "DescribeSecurityGroups", Filters=[by_id])["SecurityGroups"]
    found = {each["GroupId"]: each.get("VpcId") for each in described}
    absent = [each for each in wanted if each not in found]
    if absent:
        text = f"{aws.region} has no security group {', '.join(absent)}"
        raise _missing("vpc_security_groups", options.vpc_security_groups, text)
    strangers = [each for each in wanted if vpc_id and found[each] != vpc_id]
    if strangers:
        text = f"not in the VPC of the subnet group: {', '.join(strangers)}"
        raise OptionRefused("vpc_security_groups", "invalid", text)
    return list(wanted)


def _missing(field: str, asked: object, text: str) -> OptionRefused:
    """What was asked for does not exist; where nothing was, what the original had does not."""
    return OptionRefused(field, "does_not_exist" if asked else "required", text)


def _named(aws: Aws, operation: str, key: str, **name: str) -> Json | None:
    try:
        listed = aws.call("redshift", operation, **name)[key]
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise
        return None
    return listed[0] if listed else None
