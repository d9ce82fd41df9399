"""No archive is inside another, whoever makes them, and when."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from cpm.engine import repositories as engine
from cpm.kernel.invalid import Invalid
from cpm.models.repositories import S3Repository
from cpm.queries import people
from cpm.services import repositories
from tests.engine.world import REGION, World


@pytest.fixture
def bucket(world: World) -> str:
    """A bucket of the account's."""
    name = f"nests-{world.credentials.account}"
    world.client("s3").create_bucket(Bucket=name)
    return name


def at_once(*works: Callable[[], object]) -> list[bool]:
    """Which of the works, all begun at the same moment, were not refused."""
    start = Barrier(len(works))

    def run(work: Callable[[], object]) -> bool:
        try:
            start.wait()
            work()
        except Invalid:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def described(world: World, bucket: str) -> Iterable[str]:
    listed = world.client("s3").list_objects_v2(Bucket=bucket).get("Contents", ())
    return {each["Key"] for each in listed if each["Key"].endswith("repository.json")}


def test_of_two_archives_that_are_made_at_once_one_in_the_other_not_both_stay(
    world: World, bucket: str
) -> None:
    for number in range(4):
        prefixes = (f"p{number}", f"p{number}/inner")
        rows = [
            S3Repository(
                account=world.account, bucket_name=bucket, prefix=prefix, aws_region=REGION
            )
            for prefix in prefixes
        ]
        passed = at_once(*(lambda row=row: engine.establish(row) for row in rows))
        assert sum(passed) <= 1
        there = {f"{prefix}/repository.json" for prefix in prefixes} & set(described(world, bucket))
        assert len(there) == sum(passed)


def test_of_two_that_nobody_has_tried_out_one_alone_is_kept(world: World, bucket: str) -> None:
    owner = people.of(world.user)

    def make(name: str, prefix: str) -> Callable[[], object]:
        body: dict[str, Any] = {"name": name, "account": world.account.pk, "prefix": prefix}
        body["bucket_name"] = bucket
        return lambda: repositories.create(body, actor=owner, validate=False)

    for number in range(4):
        top = f"p{number}"
        passed = at_once(make(f"a{number}", top), make(f"b{number}", f"{top}/inner"))
        assert sum(passed) == 1
    assert S3Repository.objects.count() == 4
