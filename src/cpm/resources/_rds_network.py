"""Where a recovered database goes: subnet group, security groups, zone, class, other groups.

What was asked for must be there. What the original had is taken over as long as it is there and
means something; else AWS's default stands in for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cpm.aws.sessions import Aws
from cpm.resources import _ec2, _rds
from cpm.resources.contract import Json, OptionRefused
from cpm.resources.copied import Source

# IAM actions of these checks.
READ_PERMISSIONS = (
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeSecurityGroups",
    "rds:DescribeDBSubnetGroups",
    "rds:DescribeOrderableDBInstanceOptions",
)


@dataclass(frozen=True, slots=True)
class GroupKind:
    """One kind of group: the option that names one, how RDS lists them, whose engine they suit."""

    option: str
    operation: str
    parameter: str
    engine: str

    @property
    def permission(self) -> str:
        """The IAM action of looking at one."""
        return f"rds:{self.operation}"


PARAMETERS = GroupKind(
    "parameter_group",
    "DescribeDBParameterGroups",
    "DBParameterGroupName",
    "DBParameterGroupFamily",
)
CLUSTER_PARAMETERS = GroupKind(
    "parameter_group",
    "DescribeDBClusterParameterGroups",
    "DBClusterParameterGroupName",
    "DBParameterGroupFamily",
)
OPTIONS = GroupKind("option_group", "DescribeOptionGroups", "OptionGroupName", "EngineName")


def subnet_group(aws: Aws, source: Source, asked: str | None) -> Json | None:
    """The subnet group as RDS describes it, None for AWS's default. Raises OptionRefused."""
    wanted = asked or (None if source.is_elsewhere else source.facts["db_subnet_group"])
    found = wanted and _rds.named(aws, "DescribeDBSubnetGroups", "DBSubnetGroupName", wanted)
    if asked and not found:
        text = f"{aws.region} has no DB subnet group {asked}"
        raise OptionRefused("db_subnet_group", "does_not_exist", text)
    return found or None


def security_groups(
    aws: Aws, source: Source, asked: Sequence[str] | None, group: Json | None
) -> list[str] | None:
    """The security groups, None for the default one of the VPC. Raises OptionRefused."""
    wanted = asked or _kept_security_groups(source, group)
    if not wanted:
        return None
    by_id = _ec2.filter_by("group-id", *wanted)
    described = aws.call("ec2", "DescribeSecurityGroups", Filters=[by_id])["SecurityGroups"]
    there = {each["GroupId"]: each["VpcId"] for each in described}
    if asked:
        _check_security_groups(aws, asked, there, group)
    return [each for each in wanted if each in there] or None


def zone(
    aws: Aws, source: Source, asked: str | None, original: str | None, group: Json | None
) -> str | None:
    """The availability zone, None for one that AWS chooses. Raises OptionRefused."""
    zones = _zones(group)
    if not asked:
        return original if is_original(source, group) and original in zones else None
    if asked not in _ec2.zone_names(aws):
        text = f"{aws.region} has no zone {asked}"
        raise OptionRefused("availability_zone", "invalid_choice", text)
    if group and asked not in zones:
        text = f"DB subnet group {group['DBSubnetGroupName']} has no subnet in {asked}"
        raise OptionRefused("availability_zone", "invalid", text)
    return asked


def is_original(source: Source, group: Json | None) -> bool:
    """Whether the database comes back into the network that it was in."""
    name = group["DBSubnetGroupName"] if group else None
    return not source.is_elsewhere and name == source.facts["db_subnet_group"]


def check_class(aws: Aws, field: str, wanted: str, snapshot: Json) -> None:
    """Raise OptionRefused unless AWS runs the engine of a snapshot on that class."""
    engine = {name: snapshot[name] for name in ("Engine", "EngineVersion")}
    if _can_be_ordered(aws, engine | {"DBInstanceClass": wanted}):
        return
    # Of a version that is past its time AWS offers nothing: what it then takes is to be seen.
    if _can_be_ordered(aws, engine):
        text = f"{aws.region} runs no {' '.join(engine.values())} on {wanted}"
        raise OptionRefused(field, "invalid_choice", text)


def _can_be_ordered(aws: Aws, wanted: Json) -> bool:
    answer = aws.call("rds", "DescribeOrderableDBInstanceOptions", **wanted)
    return bool(answer["OrderableDBInstanceOptions"])


def group(
    aws: Aws, source: Source, kind: GroupKind, asked: str | None, original: str | None
) -> str | None:
    """A parameter or option group, None for AWS's default. Raises OptionRefused."""
    name = _rds.custom_group(asked or (None if source.is_elsewhere else original))
    if name is None:
        return asked
    found = _rds.named(aws, kind.operation, kind.parameter, name)
    if asked:
        _check_group(kind, asked, found, source.facts["engine"])
    return name if found else None


def _check_group(kind: GroupKind, asked: str, found: Json | None, engine: str) -> None:
    if found is None:
        text = f"there is no {kind.option.replace('_', ' ')} {asked}"
        raise OptionRefused(kind.option, "does_not_exist", text)
    if not found[kind.engine].startswith(engine):
        text = f"{asked} is for {found[kind.engine]}, not for {engine}"
        raise OptionRefused(kind.option, "invalid", text)


def _kept_security_groups(source: Source, group: Json | None) -> Sequence[str]:
    kept: Sequence[str] = source.facts["security_groups"]
    return kept if is_original(source, group) else ()


def _check_security_groups(aws: Aws, asked: Sequence[str], there: Json, group: Json | None) -> None:
    missing = [each for each in asked if each not in there]
    if missing:
        text = f"{aws.region} has no security group {', '.join(missing)}"
        raise OptionRefused("vpc_security_groups", "does_not_exist", text)
    strangers = [each for each in asked if group and there[each] != group["VpcId"]]
    if group and strangers:
        text = f"not in the VPC of {group['DBSubnetGroupName']}: {', '.join(strangers)}"
        raise OptionRefused("vpc_security_groups", "invalid", text)


def _zones(group: Json | None) -> list[str]:
    subnets = group["Subnets"] if group else ()
    return [subnet["SubnetAvailabilityZone"]["Name"] for subnet in subnets]
