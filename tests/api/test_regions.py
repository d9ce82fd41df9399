"""Regions over the API."""

from tests.api.cast import Caller


def test_regions_are_a_fixed_table(root: Caller, managed: Caller) -> None:
    regions = root.get("/regions/").json
    assert managed.get("/regions/").json == regions
    assert all(list(region) == ["id", "name", "description"] for region in regions)
    by_name = {region["name"]: region for region in regions}
    assert by_name["us-east-1"]["id"] == 2
    assert {"eu-central-1", "us-gov-west-1", "cn-north-1"} <= by_name.keys()
    assert [region["id"] for region in regions] == sorted(region["id"] for region in regions)


def test_regions_are_listed_like_everything_else(root: Caller) -> None:
    regions = root.get("/regions/").json
    assert [one["id"] for one in root.get("/regions/?name=us-east-1").json] == [2]
    assert root.get("/regions/?name=US-EAST-1").json == []
    names = [one["name"] for one in root.get("/regions/?ordering=-name").json]
    assert names == sorted(names, reverse=True)
    found = root.get("/regions/?search=frankfurt%20EU-").json
    assert [one["name"] for one in found] == ["eu-central-1"]
    page = root.get("/regions/?page_size=5&page=2").json
    assert page["count"] == len(regions)
    assert page["results"] == regions[5:10]
    assert page["next"] == "https://testserver/api/regions/?page_size=5&page=3"
    assert root.get("/regions/?page=99").status == 404


def test_regions_cannot_be_written(root: Caller) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert root.send(method, "/regions/", {}).status == 405
