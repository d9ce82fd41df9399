"""The parameters of `RunInstances` for a recovered instance, all but image, volumes and tags.

What the original had is taken over as long as it still exists; what was asked for must exist.
"""

import base64
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _ec2
from cpm.resources._instance_options import RecoverOptions
from cpm.resources.contract import Json, OptionRefused, Source


def parameters(aws: Aws, source: Source, options: RecoverOptions) -> Json:
    """As the original was launched, unless asked otherwise; raises OptionRefused."""
    facts = source.facts
    monitoring = facts["monitoring"] if options.monitoring is None else options.monitoring
    optimized = facts["ebs_optimized"] if options.ebs_optimized is None else options.ebs_optimized
    chosen = {
        "MinCount": options.number_of_instances,
        "MaxCount": options.number_of_instances,
        "InstanceType": _instance_type(aws, options, facts),
        "KeyName": _key_pair(aws, options, facts),
        "EbsOptimized": optimized,
        "Monitoring": {"Enabled": monitoring},
        "IamInstanceProfile": _profile(options, facts),
        "MetadataOptions": facts["metadata"] or None,
        "Placement": {"Tenancy": "dedicated"} if facts["tenancy"] == "dedicated" else None,
        "NetworkInterfaces": [_interface(aws, options, facts)],
        "InstanceInitiatedShutdownBehavior": _shutdown_behavior(aws, source, options),
        "UserData": _user_data(aws, source, options),
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _instance_type(aws: Aws, options: RecoverOptions, facts: Json) -> str:
    wanted = options.instance_type
    if not wanted:
        original: str = facts["instance_type"]
        return original
    by_name = _ec2.filter_by("instance-type", wanted)
    found = aws.call("ec2", "DescribeInstanceTypes", Filters=[by_name])["InstanceTypes"]
    if not found:
        text = f"{aws.region} has no instance type {wanted}"
        raise OptionRefused("instance_type", "invalid_choice", text)
    architectures = found[0].get("ProcessorInfo", {}).get("SupportedArchitectures", ())
    if architectures and facts["architecture"] not in architectures:
        text = f"{wanted} does not run {facts['architecture']}"
        raise OptionRefused("instance_type", "invalid", text)
    return wanted


def _key_pair(aws: Aws, options: RecoverOptions, facts: Json) -> str | None:
    wanted: str | None = options.key_pair or facts["key_name"]
    if not wanted:
        return None
    by_name = _ec2.filter_by("key-name", wanted)
    if aws.call("ec2", "DescribeKeyPairs", Filters=[by_name])["KeyPairs"]:
        return wanted
    if options.key_pair:
        text = f"{aws.region} has no key pair {wanted}"
        raise OptionRefused("key_pair", "does_not_exist", text)
    # Its public half is on the root volume anyway.
    return None


def _profile(options: RecoverOptions, facts: Json) -> Json | None:
    wanted = options.iam_role or facts["iam_profile_arn"]
    if not wanted:
        return None
    return {"Arn" if wanted.startswith("arn:") else "Name": wanted}


def _interface(aws: Aws, options: RecoverOptions, facts: Json) -> Json:
    subnet = _subnet(aws, options, facts)
    chosen = {
        "DeviceIndex": 0,
        "SubnetId": subnet["SubnetId"],
        "Groups": _security_groups(aws, options, facts, subnet) or None,
        "PrivateIpAddress": _private_ip(aws, options, facts, subnet),
        "DeleteOnTermination": True,
    }
    if subnet["SubnetId"] == facts["subnet_id"]:
        # Elsewhere the subnet's own rule says more than what the original had.
        chosen["AssociatePublicIpAddress"] = facts["has_public_ip"]
    return {name: value for name, value in chosen.items() if value is not None}


def _subnet(aws: Aws, options: RecoverOptions, facts: Json) -> Json:
    wanted = options.subnet or facts["subnet_id"] or ""
    by_id = _ec2.filter_by("subnet-id", wanted)
    found = aws.call("ec2", "DescribeSubnets", Filters=[by_id])["Subnets"] if wanted else []
    if found:
        subnet: Json = found[0]
        return subnet
    if options.subnet:
        text = f"{aws.region} has no subnet {wanted}"
        raise OptionRefused("subnet", "does_not_exist", text)
    text = f"the original's subnet {wanted} does not exist in {aws.region}; choose another"
    raise OptionRefused("subnet", "required", text)


def _security_groups(aws: Aws, options: RecoverOptions, facts: Json, subnet: Json) -> Sequence[str]:
    wanted: Sequence[str] = options.security_groups or ()
    if not wanted and subnet["VpcId"] == facts["vpc_id"]:
        wanted = facts["security_groups"]
    if not wanted:
        # AWS takes the default group of the subnet's VPC.
        return ()
    by_id = _ec2.filter_by("group-id", *wanted)
    described = aws.call("ec2", "DescribeSecurityGroups", Filters=[by_id])["SecurityGroups"]
    found = {group["GroupId"]: group["VpcId"] for group in described}
    _check_groups(
        wanted, found, subnet, "does_not_exist" if options.security_groups else "required"
    )
    return list(wanted)


def _check_groups(wanted: Sequence[str], found: Json, subnet: Json, missing_code: str) -> None:
    missing = [group for group in wanted if group not in found]
    if missing:
        text = f"there is no security group {', '.join(missing)}"
        raise OptionRefused("security_groups", missing_code, text)
    strangers = [group for group in wanted if found[group] != subnet["VpcId"]]
    if strangers:
        text = f"not in the VPC of subnet {subnet['SubnetId']}: {', '.join(strangers)}"
        raise OptionRefused("security_groups", "invalid", text)


def _private_ip(aws: Aws, options: RecoverOptions, facts: Json, subnet: Json) -> str | None:
    wanted = options.vpc_assign_ip
    if wanted:
        problem = _problem_of_ip(aws, wanted, options, subnet)
        if problem:
            raise OptionRefused("vpc_assign_ip", "invalid", problem)
        return wanted
    original: str | None = facts["private_ip"]
    if original and not _problem_of_ip(aws, original, options, subnet):
        return original
    return None


def _problem_of_ip(aws: Aws, address: str, options: RecoverOptions, subnet: Json) -> str | None:
    if options.number_of_instances > 1:
        return "several instances cannot have one address"
    try:
        inside = ip_address(address) in ip_network(subnet["CidrBlock"])
    except ValueError:
        return f"{address} is no IP address"
    if not inside:
        return f"{address} is outside of {subnet['SubnetId']} ({subnet['CidrBlock']})"
    filters = [
        _ec2.filter_by("subnet-id", subnet["SubnetId"]),
        _ec2.filter_by("addresses.private-ip-address", address),
    ]
    taken = aws.call("ec2", "DescribeNetworkInterfaces", Filters=filters)["NetworkInterfaces"]
    return f"{address} is taken" if taken else None


def _shutdown_behavior(aws: Aws, source: Source, options: RecoverOptions) -> str | None:
    if options.shutdown_behavior:
        return options.shutdown_behavior
    return _original(aws, source, "instanceInitiatedShutdownBehavior")


def _user_data(aws: Aws, source: Source, options: RecoverOptions) -> str | None:
    """In base64, because it may be no text."""
    if options.user_data is None:
        return _original(aws, source, "userData")
    return base64.b64encode(options.user_data.encode()).decode() or None


def _original(aws: Aws, source: Source, attribute: str) -> str | None:
    """What the original says of itself; None when it is gone or says nothing."""
    try:
        answer = aws.call(
            "ec2",
            "DescribeInstanceAttribute",
            InstanceId=source.resource_id,
            Attribute=attribute,
        )
    except Fault as fault:
        if fault.kind in (FaultKind.MISSING, FaultKind.LOCKED):
            return None
        raise
    value: str | None = answer.get(attribute[0].upper() + attribute[1:], {}).get("Value")
    return value
