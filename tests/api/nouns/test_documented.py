"""Answers are what the OpenAPI document of each version says, no more and no less."""

import pytest

from cpm.api.versions import Version
from tests.api import document
from tests.api.nouns.estate import Estate
from tests.api.nouns.everything import OURS, address

READS = [each for each in OURS if each.method == "GET"]


@pytest.mark.parametrize("version", list(Version))
def test_answers_are_as_documented(estate: Estate, ids: dict[str, int], version: Version) -> None:
    client = estate.caller.using(version.value)
    for operation in READS:
        if operation.since > version:
            continue
        answer = client.get(address(operation, ids)).json
        if operation.listing is not None:
            name = operation.listing.shape.struct.__name__
            page = client.get(f"{address(operation, ids)}?page_size=1").json
            document.check(page, f"{name}Page", version.value)
            assert page["results"] == answer[:1]
        elif operation.answer is not None:
            name = operation.answer.__name__
        for one in answer if isinstance(answer, list) else [answer]:
            document.check(one, name, version.value)


def test_a_dry_run_answers_as_documented(estate: Estate, ids: dict[str, int]) -> None:
    for operation in OURS:
        if "dry_run" in operation.parameters:
            answer = estate.caller.delete(f"{address(operation, ids)}?dry_run=yes")
            assert answer.status == 200
            for one in answer.json:
                document.check(one, "Deletion")
