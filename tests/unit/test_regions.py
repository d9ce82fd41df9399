"""The table of regions: fixed ids, AWS's names, nothing forgotten."""

import pytest
from botocore.session import Session
from hypothesis import given
from hypothesis import strategies as st

from cpm.kernel import regions

AWS = Session()
PARTITIONS = [regions.COMMERCIAL, regions.GOVCLOUD, regions.CHINA]


def names_in(partition: str) -> set[str]:
    return {region.name for region in regions.REGIONS if region.partition == partition}


def test_ids_are_the_ones_that_were_given_out() -> None:
    assert [region.id for region in regions.REGIONS] == list(range(1, len(regions.REGIONS) + 1))
    ids = {region.name: region.id for region in regions.REGIONS}
    assert ids["us-east-1"] == 2
    assert (ids["eu-west-1"], ids["us-west-2"], ids["eu-central-1"]) == (1, 7, 11)
    assert (ids["cn-northwest-1"], ids["us-gov-east-1"], ids["ap-southeast-6"]) == (17, 19, 38)


@pytest.mark.parametrize("partition", PARTITIONS)
def test_the_table_has_all_regions_that_aws_has(partition: str) -> None:
    """Where this fails, AWS has opened a region: give it the next id."""
    known = AWS.get_available_regions("ec2", partition, allow_non_regional=False)
    assert names_in(partition) == set(known)


def test_descriptions_are_those_of_aws() -> None:
    endpoints = AWS.get_data("endpoints")["partitions"]
    described = {
        name: region["description"]
        for partition in endpoints
        for name, region in partition["regions"].items()
    }
    assert {each.name: each.description for each in regions.REGIONS}.items() <= described.items()


def test_a_region_is_found_by_id_and_by_name() -> None:
    for region in regions.REGIONS:
        assert regions.by_id(region.id) is region
        assert regions.by_name(region.name) is region


@given(st.integers(max_value=0) | st.integers(min_value=len(regions.REGIONS) + 1))
def test_other_ids_are_of_no_region(region_id: int) -> None:
    assert regions.by_id(region_id) is None


@pytest.mark.parametrize("name", ["", "US-EAST-1", " us-east-1", "us-east-1a", "aws-global", "2"])
def test_other_names_are_of_no_region(name: str) -> None:
    assert regions.by_name(name) is None
