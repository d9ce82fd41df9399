"""The regions of AWS and their ids.

Ids are part of the API and never change: a new region is added at the end, with the next id. The
order is that of their opening, but for `us-east-1`, whose id 2 the world knows already.
"""

from dataclasses import dataclass

COMMERCIAL = "aws"
GOVCLOUD = "aws-us-gov"
CHINA = "aws-cn"


@dataclass(frozen=True, slots=True)
class Region:
    """A region, by its id in the API, AWS's name for it and a description for people."""

    id: int
    name: str
    description: str

    @property
    def partition(self) -> str:
        """The part of AWS that it belongs to, as in ARNs; nothing crosses from one to another."""
        if self.name.startswith("us-gov-"):
            return GOVCLOUD
        return CHINA if self.name.startswith("cn-") else COMMERCIAL


REGIONS = (
    Region(1, "eu-west-1", "Europe (Ireland)"),
    Region(2, "us-east-1", "US East (N. Virginia)"),
    Region(3, "us-west-1", "US West (N. California)"),
    Region(4, "ap-southeast-1", "Asia Pacific (Singapore)"),
    Region(5, "ap-northeast-1", "Asia Pacific (Tokyo)"),
    Region(6, "us-gov-west-1", "AWS GovCloud (US-West)"),
    Region(7, "us-west-2", "US West (Oregon)"),
    Region(8, "sa-east-1", "South America (Sao Paulo)"),
    Region(9, "ap-southeast-2", "Asia Pacific (Sydney)"),
    Region(10, "cn-north-1", "China (Beijing)"),
    Region(11, "eu-central-1", "Europe (Frankfurt)"),
    Region(12, "ap-northeast-2", "Asia Pacific (Seoul)"),
    Region(13, "ap-south-1", "Asia Pacific (Mumbai)"),
    Region(14, "us-east-2", "US East (Ohio)"),
    Region(15, "ca-central-1", "Canada (Central)"),
    Region(16, "eu-west-2", "Europe (London)"),
    Region(17, "cn-northwest-1", "China (Ningxia)"),
    Region(18, "eu-west-3", "Europe (Paris)"),
    Region(19, "us-gov-east-1", "AWS GovCloud (US-East)"),
    Region(20, "eu-north-1", "Europe (Stockholm)"),
    Region(21, "ap-east-1", "Asia Pacific (Hong Kong)"),
    Region(22, "me-south-1", "Middle East (Bahrain)"),
    Region(23, "af-south-1", "Africa (Cape Town)"),
    Region(24, "eu-south-1", "Europe (Milan)"),
    Region(25, "ap-northeast-3", "Asia Pacific (Osaka)"),
    Region(26, "ap-southeast-3", "Asia Pacific (Jakarta)"),
    Region(27, "me-central-1", "Middle East (UAE)"),
    Region(28, "eu-central-2", "Europe (Zurich)"),
    Region(29, "eu-south-2", "Europe (Spain)"),
    Region(30, "ap-south-2", "Asia Pacific (Hyderabad)"),
    Region(31, "ap-southeast-4", "Asia Pacific (Melbourne)"),
    Region(32, "il-central-1", "Israel (Tel Aviv)"),
    Region(33, "ca-west-1", "Canada West (Calgary)"),
    Region(34, "ap-southeast-5", "Asia Pacific (Malaysia)"),
    Region(35, "ap-southeast-7", "Asia Pacific (Thailand)"),
    Region(36, "mx-central-1", "Mexico (Central)"),
    Region(37, "ap-east-2", "Asia Pacific (Taipei)"),
    Region(38, "ap-southeast-6", "Asia Pacific (New Zealand)"),
)

_BY_ID = {region.id: region for region in REGIONS}
_BY_NAME = {region.name: region for region in REGIONS}


def by_id(region_id: int) -> Region | None:
    """The region with this id of the API, if there is one."""
    return _BY_ID.get(region_id)


def by_name(name: str) -> Region | None:
    """The region that AWS calls so, if there is one."""
    return _BY_NAME.get(name)
