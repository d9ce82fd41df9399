"""What each type of EBS volume can be: sizes, IOPS and throughput, with AWS's defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cpm.simulator.ec2_errors import invalid_combination, invalid_value

DEFAULT_TYPE = "gp2"


@dataclass(frozen=True)
class Performance:
    """The type of a volume and how fast it is: IOPS, and MiB/s where AWS shows them."""

    volume_type: str
    iops: int | None = None
    throughput: int | None = None

    @property
    def chosen_iops(self) -> int | None:
        """IOPS where they can be chosen; those of gp2 follow from the size."""
        return self.iops if _KINDS[self.volume_type].takes_iops else None


@dataclass(frozen=True)
class _Kind:
    smallest_gib: int
    largest_gib: int
    takes_iops: bool = False
    needs_iops: bool = False
    takes_throughput: bool = False


_KINDS = {
    "standard": _Kind(1, 1024),
    "gp2": _Kind(1, 16_384),
    "gp3": _Kind(1, 65_536, takes_iops=True, takes_throughput=True),
    "io1": _Kind(4, 16_384, takes_iops=True, needs_iops=True),
    "io2": _Kind(4, 65_536, takes_iops=True, needs_iops=True),
    "st1": _Kind(125, 16_384),
    "sc1": _Kind(125, 16_384),
}


def performance(request: Mapping[str, Any], size_gib: int) -> Performance:
    """The performance that `request` asks for; raises as AWS does when a type cannot have it."""
    volume_type = request.get("VolumeType") or DEFAULT_TYPE
    iops, throughput = request.get("Iops"), request.get("Throughput")
    kind = _KINDS.get(volume_type)
    if kind is None:
        raise invalid_value(f"Value ({volume_type}) for parameter volumeType is invalid.")
    if not kind.smallest_gib <= size_gib <= kind.largest_gib:
        raise invalid_value(
            f"Volume size {size_gib} is not within the limits of {volume_type}: "
            f"{kind.smallest_gib} to {kind.largest_gib} GiB"
        )
    if kind.needs_iops and not iops:
        raise invalid_combination(
            f"The parameter iops must be specified for {volume_type} volumes."
        )
    if iops and not kind.takes_iops:
        raise invalid_combination(f"The parameter iops is not supported for {volume_type} volumes.")
    if throughput and not kind.takes_throughput:
        raise invalid_combination(
            f"The parameter throughput is not supported for {volume_type} volumes."
        )
    return Performance(
        volume_type, iops or _default_iops(volume_type, size_gib), throughput or _default_mib(kind)
    )


def _default_iops(volume_type: str, size_gib: int) -> int | None:
    if volume_type == "gp3":
        return 3000
    if volume_type == "gp2":
        return min(max(100, 3 * size_gib), 16_000)
    return None


def _default_mib(kind: _Kind) -> int | None:
    return 125 if kind.takes_throughput else None
