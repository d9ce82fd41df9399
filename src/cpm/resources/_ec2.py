"""Reading instances and volumes of EC2 in as few calls as AWS allows."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources.contract import Ask, Json

# AWS takes so many values in one filter.
MOST_FILTER_VALUES = 200
_ID = re.compile(r"[a-z]+-[0-9a-f]{8,17}")


@dataclass(frozen=True, slots=True)
class Listing:
    """How EC2 lists one kind of thing: the call, its keys, and how many it takes or gives."""

    operation: str
    key: str
    ids: str
    filter: str
    prefix: str
    per_call: int


VOLUMES = Listing("DescribeVolumes", "Volumes", "VolumeIds", "volume-id", "vol", 500)
SNAPSHOTS = Listing("DescribeSnapshots", "Snapshots", "SnapshotIds", "snapshot-id", "snap", 1000)
INSTANCES = Listing("DescribeInstances", "Reservations", "InstanceIds", "instance-id", "i", 1000)
IMAGES = Listing("DescribeImages", "Images", "ImageIds", "image-id", "ami", 1000)


def everything(aws: Aws, listing: Listing, *filters: Json, **whose: Any) -> Iterator[Json]:
    """All that the filters let through, page by page; `whose` says who owns it."""
    chosen: Json = {"Filters": list(filters), **whose} if filters else whose
    return aws.pages("ec2", listing.operation, listing.key, MaxResults=listing.per_call, **chosen)


def by_ids(aws: Aws, listing: Listing, ids: Iterable[str]) -> Iterator[Json]:
    """Those of `ids` that exist.

    A call with ids is the cheapest, but AWS fails it as a whole when one of them does not exist.
    Then filters, which ignore what they do not find, answer for the same ids.
    """
    wanted = [each for each in dict.fromkeys(ids) if _is_id(each, listing.prefix)]
    for batch in batches(wanted, listing.per_call):
        yield from _by_ids(aws, listing, batch)


def one(aws: Aws, listing: Listing, resource_id: str) -> Json | None:
    """The thing of that id, None when it does not exist."""
    return next(by_ids(aws, listing, [resource_id]), None)


def instances(aws: Aws, ids: Iterable[str]) -> Iterator[Json]:
    """Those of the instances that exist and have not been terminated."""
    return _living(by_ids(aws, INSTANCES, ids))


def all_instances(aws: Aws) -> Iterator[Json]:
    """Every instance of the region that has not been terminated."""
    return _living(everything(aws, INSTANCES))


def filter_by(name: str, *values: str) -> Json:
    """One element of `Filters`."""
    return {"Name": name, "Values": list(values)}


def batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """`items` in slices of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def name_of(resource_tags: Mapping[str, str]) -> str | None:
    """The Name tag."""
    return resource_tags.get("Name") or None


def tags_of(described: Json) -> dict[str, str]:
    """The tags of anything that EC2 describes."""
    return tags.from_aws(described.get("Tags"))


def in_words(facts: Json, words: Mapping[str, str]) -> Json:
    """Facts that say something, by what EC2 calls them, and the tags."""
    said = {word: facts[name] for name, word in words.items() if facts.get(name) not in (None, "")}
    return {**said, "Tags": tags.to_aws(facts.get("tags", {}))}


def zone_names(aws: Aws) -> list[str]:
    """The region's zones that can take volumes; ordinary ones before local zones."""
    zones = aws.call("ec2", "DescribeAvailabilityZones")["AvailabilityZones"]
    available = [zone for zone in zones if zone.get("State", "available") == "available"]
    available.sort(key=lambda zone: zone.get("ZoneType", "") not in ("", "availability-zone"))
    return [zone["ZoneName"] for zone in available]


def device_mappings(instance: Json) -> dict[str, str]:
    """The volumes of an instance, by device."""
    return {
        mapping["DeviceName"]: mapping["Ebs"]["VolumeId"]
        for mapping in instance.get("BlockDeviceMappings", ())
        if "Ebs" in mapping
    }


def put_tags(aws: Aws, ask: Ask, resource_id: str, theirs: Mapping[str, str]) -> None:
    """Give something the server has made its resource's tags, as far as there is room."""
    added = {
        key: value for key, value in tags.merged(ask.marks, theirs).items() if key not in ask.marks
    }
    if added:
        aws.call("ec2", "CreateTags", Resources=[resource_id], Tags=tags.to_aws(added))


def _by_ids(aws: Aws, listing: Listing, batch: Sequence[str]) -> Iterator[Json]:
    try:
        answer = aws.call("ec2", listing.operation, **{listing.ids: list(batch)})
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise
        for smaller in batches(batch, MOST_FILTER_VALUES):
            yield from everything(aws, listing, filter_by(listing.filter, *smaller))
        return
    yield from answer[listing.key]


def _is_id(text: str, prefix: str) -> bool:
    return bool(_ID.fullmatch(text)) and text.startswith(f"{prefix}-")


def _living(reservations: Iterator[Json]) -> Iterator[Json]:
    for reservation in reservations:
        for instance in reservation["Instances"]:
            if instance["State"]["Name"] not in ("shutting-down", "terminated"):
                yield instance
