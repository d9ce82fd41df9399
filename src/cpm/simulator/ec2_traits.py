"""What AMIs say of the system in them, and how instances were asked to be.

Both are kept as they are shown: an AMI's traits go to its instances and to what is made of them;
an instance keeps what its launch asked for beside what moto knows of it.
"""

from collections.abc import Mapping
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance, MetadataOptions

from cpm.simulator.calls import Call

Traits = Mapping[str, Any]

LINUX: Traits = {"PlatformDetails": "Linux/UNIX", "UsageOperation": "RunInstances"}
WINDOWS: Traits = {"PlatformDetails": "Windows", "UsageOperation": "RunInstances:0002"}

_OF_IMAGES_ALONE = "ImdsSupport"
_REGISTERED = ("EnaSupport", "SriovNetSupport", "BootMode", "TpmSupport", _OF_IMAGES_ALONE)
_ASKED = (
    *("CpuOptions", "HibernationOptions", "EnclaveOptions", "MaintenanceOptions"),
    *("PrivateDnsNameOptions", "Placement", "CreditSpecification", "InstanceMarketOptions"),
)
_UNLIMITED_BY_DEFAULT = ("t3.", "t3a.", "t4g.")


def registered(call: Call) -> Traits:
    """The traits of an AMI that is registered of snapshots: what the call says, and no licence."""
    said = {name: call.get(name) for name in _REGISTERED if call.get(name) is not None}
    return {"EnaSupport": False, **said, **LINUX}


def give(instance: Instance, image_traits: Traits, call: Call | None = None) -> None:
    """Let an instance be of an AMI with these traits, as the call that starts it asks."""
    holder: Any = instance
    holder.traits = image_traits
    holder.asked = {name: call.params[name] for name in _ASKED if call and name in call.params}
    if image_traits.get(_OF_IMAGES_ALONE) == "v2.0":
        guarded = {"HttpTokens": "required", "HttpPutResponseHopLimit": 2}
        chosen = call.get("MetadataOptions", {}) if call else {}
        instance.metadata_options = MetadataOptions({**guarded, **chosen})


def of(instance: Instance) -> Traits:
    """The traits that the instance's AMI gave it."""
    traits: Traits = getattr(instance, "traits", {})
    return traits


def shown(instance: Instance) -> dict[str, Any]:
    """What DescribeInstances shows of the system, and of how it was asked to run."""
    traits = {name: value for name, value in of(instance).items() if name != _OF_IMAGES_ALONE}
    mode = str(traits.get("BootMode", ""))
    asked = _asked(instance)
    return {
        **traits,
        "CurrentInstanceBootMode": "uefi" if mode.startswith("uefi") else "legacy-bios",
        "MetadataOptions": _metadata(instance.metadata_options),
        "CpuOptions": {**_default_cpu(str(instance.instance_type)), **asked.get("CpuOptions", {})},
        "HibernationOptions": {"Configured": False, **asked.get("HibernationOptions", {})},
        "EnclaveOptions": {"Enabled": False, **asked.get("EnclaveOptions", {})},
        "MaintenanceOptions": {"AutoRecovery": "default", **asked.get("MaintenanceOptions", {})},
        "PrivateDnsNameOptions": {
            "HostnameType": "ip-name",
            "EnableResourceNameDnsARecord": False,
            "EnableResourceNameDnsAAAARecord": False,
            **asked.get("PrivateDnsNameOptions", {}),
        },
        "InstanceLifecycle": asked.get("InstanceMarketOptions", {}).get("MarketType"),
    }


def placement(instance: Instance) -> dict[str, Any]:
    """Where the instance was asked to be, beside its zone."""
    chosen = {"GroupName": "", "Tenancy": "default", **_asked(instance).get("Placement", {})}
    return {**chosen, "AvailabilityZone": instance.availability_zone}


def cpu_credits(instance: Instance) -> str:
    """How the instance uses its processor beyond its share: `standard` or `unlimited`."""
    asked: str | None = _asked(instance).get("CreditSpecification", {}).get("CpuCredits")
    by_default = str(instance.instance_type).startswith(_UNLIMITED_BY_DEFAULT)
    return asked or ("unlimited" if by_default else "standard")


def instance_type(name: str) -> Mapping[str, Any]:
    """What DescribeInstanceTypes says of a type; empty for one that it does not know."""
    found: Mapping[str, Any] = INSTANCE_TYPES.get(name, {})
    return found


def _asked(instance: Instance) -> Mapping[str, Any]:
    asked: Mapping[str, Any] = getattr(instance, "asked", {})
    return asked


def _metadata(options: MetadataOptions) -> dict[str, Any]:
    return {
        "State": options.state,
        "HttpTokens": options.http_tokens,
        "HttpPutResponseHopLimit": options.http_put_response_hop_limit,
        "HttpEndpoint": options.http_endpoint,
        "HttpProtocolIpv6": options.http_protocol_ipv6,
        "InstanceMetadataTags": options.instance_metadata_tags,
    }


def _default_cpu(name: str) -> dict[str, int]:
    processors = instance_type(name).get("VCpuInfo", {})
    return {
        "CoreCount": processors.get("DefaultCores", 1),
        "ThreadsPerCore": processors.get("DefaultThreadsPerCore", 1),
    }
