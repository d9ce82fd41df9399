"""The machine that a recovered instance runs on: its type, and what the type allows."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _ec2
from cpm.resources._launching import Launching
from cpm.resources.contract import Json, OptionRefused

_ANY_NUMBER = 1000
_BURSTABLE = re.compile(r"t\d")


@dataclass(frozen=True)
class Machine:
    """An instance type as EC2 describes it, and whether it is the original's."""

    described: Json
    is_original: bool

    @property
    def name(self) -> str:
        """Its name."""
        name: str = self.described["InstanceType"]
        return name

    @property
    def most_interfaces(self) -> int:
        """How many network interfaces it has room for."""
        network = self.described.get("NetworkInfo", {})
        most: int = network.get("MaximumNetworkInterfaces", _ANY_NUMBER)
        return most


def choose(launching: Launching) -> Machine:
    """The type that was asked for, else the original's; raises OptionRefused."""
    wanted, original = launching.options.instance_type, launching.facts["instance_type"]
    name = wanted or original
    by_name = _ec2.filter_by("instance-type", name)
    found = launching.aws.call("ec2", "DescribeInstanceTypes", Filters=[by_name])["InstanceTypes"]
    if not found:
        text = f"{launching.aws.region} has no instance type {name}"
        code = "invalid_choice" if wanted else "required"
        raise OptionRefused("instance_type", code, text)
    machine = Machine(found[0], is_original=name == original)
    if not machine.is_original:
        for problem in _misfits(machine, launching.facts):
            raise OptionRefused("instance_type", "invalid", f"{name} {problem}")
    return machine


def parameters(launching: Launching, machine: Machine) -> Json:
    """What of `RunInstances` depends on the machine; None where nothing is to be said."""
    facts, options = launching.facts, launching.options
    return {
        "InstanceType": machine.name,
        "EbsOptimized": _ebs_optimized(launching, machine),
        "Monitoring": {
            "Enabled": facts["monitoring"] if options.monitoring is None else options.monitoring
        },
        "CpuOptions": _cpu(launching, machine),
        "EnclaveOptions": _enclaves(launching, machine),
        "CreditSpecification": _credits(launching, machine),
    }


def can_hibernate(machine: Machine) -> bool:
    """Whether what runs on it may sleep."""
    return bool(machine.described.get("HibernationSupported", False))


def _misfits(machine: Machine, facts: Json) -> list[str]:
    """Why what is in the root volume would not start on the machine."""
    return [problem for misfits, problem in _MISFITS if misfits(machine.described, facts)]


def _is_not_among(described: Mapping[str, list[str]], name: str, value: str | None) -> bool:
    listed = described.get(name, [])
    return bool(listed and value and value not in listed)


_MISFITS: tuple[tuple[Callable[[Json, Json], bool], str], ...] = (
    (
        lambda described, facts: _is_not_among(
            described.get("ProcessorInfo", {}), "SupportedArchitectures", facts["architecture"]
        ),
        "does not run the original's architecture",
    ),
    (
        lambda described, facts: _is_not_among(
            described, "SupportedVirtualizationTypes", facts["virtualization"]
        ),
        "does not have the original's virtualization",
    ),
    (
        lambda described, facts: (
            facts["boot_mode"] != "uefi-preferred"
            and _is_not_among(described, "SupportedBootModes", facts["boot_mode"])
        ),
        "does not boot as the original does",
    ),
    (
        lambda described, facts: (
            not facts["ena"] and described.get("NetworkInfo", {}).get("EnaSupport") == "required"
        ),
        "needs ENA, which the original's system does not declare",
    ),
    (
        lambda described, facts: (
            bool(facts["tpm"]) and described.get("NitroTpmSupport", "supported") == "unsupported"
        ),
        "has no TPM, which the original's system needs",
    ),
)


def _ebs_optimized(launching: Launching, machine: Machine) -> bool:
    wanted = launching.options.ebs_optimized
    support = machine.described.get("EbsInfo", {}).get("EbsOptimizedSupport", "supported")
    if wanted and support == "unsupported":
        text = f"{machine.name} cannot be EBS optimized"
        raise OptionRefused("ebs_optimized", "invalid", text)
    if wanted is None:
        return bool(launching.facts["ebs_optimized"]) and support != "unsupported"
    return wanted


def _cpu(launching: Launching, machine: Machine) -> Json | None:
    """Cores and threads, where they are not what the type has anyway."""
    chosen: Json = launching.facts["cpu"]
    usual = machine.described.get("VCpuInfo", {})
    is_usual = {
        "CoreCount": usual.get("DefaultCores"),
        "ThreadsPerCore": usual.get("DefaultThreadsPerCore"),
    }.items() >= chosen.items()
    if not chosen or is_usual:
        return None
    if not machine.is_original:
        launching.note(f"with the usual cores of {machine.name}")
        return None
    return chosen


def _enclaves(launching: Launching, machine: Machine) -> Json | None:
    if not launching.facts["enclaves"]:
        return None
    if machine.described.get("NitroEnclavesSupport", "supported") == "unsupported":
        launching.note(f"without enclaves, which {machine.name} does not have")
        return None
    return {"Enabled": True}


def _credits(launching: Launching, machine: Machine) -> Json | None:
    """Which EC2 tells of instances that are there only."""
    is_burstable = machine.described.get("BurstablePerformanceSupported", False)
    was_burstable = _BURSTABLE.match(launching.facts["instance_type"])
    if not is_burstable or not was_burstable or launching.source.is_elsewhere:
        return None
    original = [launching.source.resource_id]
    try:
        told = launching.aws.call(
            "ec2", "DescribeInstanceCreditSpecifications", InstanceIds=original
        )
    except Fault as fault:
        if fault.kind is FaultKind.MISSING:
            return None
        raise
    found = told["InstanceCreditSpecifications"]
    return {"CpuCredits": found[0]["CpuCredits"]} if found else None
