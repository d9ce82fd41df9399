"""EC2 instances as facts: whatever is needed to launch one like it, as far as lists tell it.

What EC2 tells of one instance at a time (user data, protection) is asked for when it is recovered.
"""

from collections.abc import Mapping
from typing import Any

from cpm.resources import _ec2
from cpm.resources.contract import Json, Resource

KIND = "ec2_instance"

_METADATA = (
    *("HttpTokens", "HttpPutResponseHopLimit", "HttpEndpoint", "HttpProtocolIpv6"),
    "InstanceMetadataTags",
)
_DNS_NAMES = (
    *("HostnameType", "EnableResourceNameDnsARecord"),
    "EnableResourceNameDnsAAAARecord",
)
_CPU = ("CoreCount", "ThreadsPerCore", "AmdSevSnp", "NestedVirtualization")
_PLACEMENT = ("GroupName", "PartitionNumber", "Tenancy")


_WORDS = {
    "image_id": "ImageId",
    "instance_type": "InstanceType",
    "key_name": "KeyName",
    "ebs_optimized": "EbsOptimized",
    "placement": "Placement",
    "cpu": "CpuOptions",
    "metadata": "MetadataOptions",
    "platform_details": "PlatformDetails",
    "usage_operation": "UsageOperation",
    "architecture": "Architecture",
    "root_device": "RootDeviceName",
    "boot_mode": "BootMode",
    "ena": "EnaSupport",
    "vpc_id": "VpcId",
    "subnet_id": "SubnetId",
    "private_ip": "PrivateIpAddress",
}


def in_aws_words(facts: Json) -> Json:
    """What `DescribeInstances` said of the instance, as far as it makes another like it."""
    words = _ec2.in_words(facts, _WORDS)
    groups = [{"GroupId": group} for group in facts.get("security_groups", ())]
    profile = facts.get("iam_profile_arn")
    return {
        **words,
        **({"SecurityGroups": groups} if groups else {}),
        **({"IamInstanceProfile": {"Arn": profile}} if profile else {}),
    }


def resource(
    instance: Json, volumes: Mapping[str, Resource], images: Mapping[str, Json], region: str
) -> Resource:
    """An instance as EC2 describes it, with those of `volumes` and `images`, by id, it is made of.

    An image may be gone, or may never have been ours to see.
    """
    instance_tags = _ec2.tags_of(instance)
    attached = [
        volumes[volume_id]
        for volume_id in _ec2.device_mappings(instance).values()
        if volume_id in volumes
    ]
    image = images.get(instance.get("ImageId", ""), {})
    return Resource(
        kind=KIND,
        resource_id=instance["InstanceId"],
        region=region,
        name=_ec2.name_of(instance_tags),
        size_gib=sum(volume.size_gib for volume in attached),
        tags=instance_tags,
        facts=_facts(instance, image) | {"volumes": [volume.facts for volume in attached]},
    )


def _facts(instance: Json, image: Json) -> Json:
    return {
        "image_id": instance.get("ImageId"),
        "instance_type": instance["InstanceType"],
        "is_spot": instance.get("InstanceLifecycle") == "spot",
        "key_name": instance.get("KeyName"),
        "iam_profile_arn": instance.get("IamInstanceProfile", {}).get("Arn"),
        "monitoring": instance.get("Monitoring", {}).get("State") in ("enabled", "pending"),
        "ebs_optimized": instance.get("EbsOptimized", False),
        "availability_zone": instance["Placement"]["AvailabilityZone"],
        "placement": _some(instance["Placement"], _PLACEMENT),
        "cpu": _some(instance.get("CpuOptions", {}), _CPU),
        "hibernation": instance.get("HibernationOptions", {}).get("Configured", False),
        "enclaves": instance.get("EnclaveOptions", {}).get("Enabled", False),
        "auto_recovery": instance.get("MaintenanceOptions", {}).get("AutoRecovery"),
        # Without it a new one may be less guarded.
        "metadata": _some(instance.get("MetadataOptions", {}), _METADATA),
        "dns_names": _some(instance.get("PrivateDnsNameOptions", {}), _DNS_NAMES),
        "tags": _ec2.tags_of(instance),
        **_system(instance, image),
        **_network(instance),
    }


def _system(instance: Json, image: Json) -> Json:
    """What is in the root volume, and what it needs to start."""
    return {
        "platform": instance.get("Platform", ""),
        "state": instance["State"]["Name"],
        "platform_details": instance.get("PlatformDetails") or image.get("PlatformDetails"),
        "usage_operation": instance.get("UsageOperation") or image.get("UsageOperation"),
        "product_codes": [code["ProductCodeId"] for code in instance.get("ProductCodes", ())],
        "architecture": instance.get("Architecture", "x86_64"),
        "virtualization": instance.get("VirtualizationType", "hvm"),
        "root_device": instance.get("RootDeviceName"),
        "ena": instance.get("EnaSupport", False),
        "sriov": instance.get("SriovNetSupport") or image.get("SriovNetSupport"),
        "boot_mode": instance.get("BootMode") or image.get("BootMode"),
        "tpm": instance.get("TpmSupport") or image.get("TpmSupport"),
        "imds": image.get("ImdsSupport"),
    }


def _network(instance: Json) -> Json:
    by_index = {
        interface["Attachment"]["DeviceIndex"]: interface
        for interface in instance.get("NetworkInterfaces", ())
        if "Attachment" in interface
    }
    first = by_index.pop(0, {})
    owner = first.get("Association", {}).get("IpOwnerId")
    return {
        "vpc_id": instance.get("VpcId"),
        "subnet_id": instance.get("SubnetId"),
        "private_ip": instance.get("PrivateIpAddress"),
        "security_groups": _groups(instance.get("SecurityGroups", ())),
        # An elastic address belongs to the account and does not come with a launch.
        "has_public_ip": owner == "amazon",
        **_addressing(first),
        "further_interfaces": [
            {
                "device_index": index,
                "subnet_id": interface["SubnetId"],
                "private_ip": interface.get("PrivateIpAddress"),
                "security_groups": _groups(interface.get("Groups", ())),
                **_addressing(interface),
            }
            for index, interface in sorted(by_index.items())
        ],
    }


def _addressing(interface: Json) -> Json:
    """What else there is to one interface."""
    addresses = interface.get("PrivateIpAddresses", ())
    return {
        "description": interface.get("Description", ""),
        "further_ips": sum(not each.get("Primary", False) for each in addresses),
        "ipv6_count": len(interface.get("Ipv6Addresses", ())),
        "checks_source": interface.get("SourceDestCheck", True),
    }


def _groups(described: Any) -> list[str]:
    return [group["GroupId"] for group in described]


def _some(described: Json, names: tuple[str, ...]) -> Json:
    return {name: described[name] for name in names if described.get(name) not in (None, "")}
