"""A policy's copies in S3 over the API: where they go, how often, and how long they are kept."""

import pytest

from cpm.models.audit import AuditEntry
from cpm.models.repositories import S3Repository
from cpm.models.users import User, UserKind
from tests.api.cast import Caller, caller, make_user
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import Estate, connect, create, drain


@pytest.fixture
def path(estate: Estate) -> str:
    return f"{estate.path}copy_to_s3/"


@pytest.fixture
def vault(managed: Caller, estate: Estate) -> int:
    """A repository of the managed user."""
    return repository(managed, estate.account)


def repository(owner: Caller, account: int, name: str = "vault") -> int:
    body = {"name": name, "account": account, "bucket_name": "archive"}
    return int(create(owner, "/s3_repositories/?validate=false", body)["id"])


def test_a_policy_copies_nothing_to_s3_until_it_is_told(managed: Caller, path: str) -> None:
    assert managed.get(path).json == {
        "enabled": False,
        "repository": None,
        "frequency": 1,
        "keep_generations": None,
        "keep_duration": None,
        "keep_duration_unit": "M",
        "retry_count": 3,
        "timeout_hours": 24,
        "delete_original_snapshots": False,
        "storage_class": "STANDARD",
    }


def test_what_is_put_is_kept_and_the_rest_stays(
    managed: Caller, estate: Estate, path: str, vault: int
) -> None:
    body = {
        "enabled": True,
        "repository": str(vault),
        "frequency": 7,
        "keep_generations": 12,
        "keep_duration": 1,
        "keep_duration_unit": "Y",
        "retry_count": 0,
        "timeout_hours": 168,
        "delete_original_snapshots": True,
        "storage_class": "GLACIER_IR",
    }
    kept = managed.put(path, body).json
    assert kept == {**body, "repository": vault}
    assert managed.get(estate.path).json["copy_to_s3_enabled"] is True
    assert managed.get("/policies/").json[0]["copy_to_s3_enabled"] is True
    changed = {**kept, "keep_generations": None, "keep_duration": None}
    cleared = {"keep_generations": None, "keep_duration": None}
    assert managed.put(path, cleared).json == changed
    assert managed.get(path).json == changed
    assert AuditEntry.objects.filter(event_type="update policy copy to S3").count() == 2


def test_old_versions_set_what_is_newer_but_do_not_see_it(managed: Caller, path: str) -> None:
    old = managed.using("1.1.0")
    newer = {"delete_original_snapshots": True, "storage_class": "STANDARD_IA"}
    assert not newer.keys() & old.put(path, newer).json.keys()
    assert newer.items() <= managed.get(path).json.items()
    assert managed.using("1.0.0").get(path).status == 404


def test_what_is_enabled_has_a_repository_of_the_owner(
    managed: Caller, stranger: Caller, other_cloud: Cloud, path: str, vault: int
) -> None:
    assert managed.put(path, {"enabled": True}).codes == {"repository": ["required"]}
    theirs = repository(stranger, connect(stranger, other_cloud)["id"])
    answer = managed.put(path, {"enabled": True, "repository": theirs})
    assert answer.codes == {"repository": ["does_not_exist"]}
    assert managed.put(path, {"enabled": True, "repository": vault}).status == 200
    assert managed.put(path, {"repository": None}).codes == {"repository": ["required"]}
    assert managed.put(path, {"enabled": False, "repository": None}).status == 200


def test_all_that_is_wrong_is_told_at_once(managed: Caller, path: str) -> None:
    body = {
        "enabled": True,
        "repository": 999_999,
        "frequency": 0,
        "keep_generations": 0,
        "keep_duration": 0,
        "keep_duration_unit": "D",
        "retry_count": 11,
        "timeout_hours": 169,
        "delete_original_snapshots": "perhaps",
        "storage_class": "DEEP_ARCHIVE",
    }
    assert managed.put(path, body).codes == {
        "repository": ["does_not_exist"],
        "frequency": ["min_value"],
        "keep_generations": ["min_value"],
        "keep_duration": ["min_value"],
        "keep_duration_unit": ["invalid_choice"],
        "retry_count": ["max_value"],
        "timeout_hours": ["max_value"],
        "delete_original_snapshots": ["invalid"],
        "storage_class": ["invalid_choice"],
    }


def test_a_repository_that_a_policy_copies_to_is_in_use(
    managed: Caller, path: str, vault: int
) -> None:
    managed.put(path, {"repository": vault})
    address = f"/s3_repositories/{vault}/"
    refused = managed.delete(address)
    assert refused.codes == {"non_field_errors": ["in_use"]}
    assert "policy nightly" in str(refused.json)
    managed.put(path, {"repository": None})
    assert managed.delete(address).status == 204


def test_a_user_goes_with_policies_that_copy_to_s3(
    root: Caller, managed: Caller, path: str, vault: int
) -> None:
    managed.put(path, {"enabled": True, "repository": vault})
    assert root.delete(f"/users/{managed.id}/").status == 204
    drain()
    assert not User.objects.filter(pk=managed.id).exists()
    assert not S3Repository.objects.exists()


def test_who_sees_it_and_who_changes_it(
    managed: Caller, root: Caller, stranger: Caller, path: str
) -> None:
    reader = caller(make_user("rita", UserKind.DELEGATE, original_user=managed.user))
    columns = {"allow_backup_changes": True}
    writer = caller(make_user("wim", UserKind.DELEGATE, original_user=managed.user, **columns))
    assert root.get(path).json == reader.get(path).json == managed.get(path).json
    assert reader.put(path, {}).status == 403
    assert stranger.get(path).status == stranger.put(path, {}).status == 404
    assert writer.put(path, {}).status == root.put(path, {}).status == 200


def test_it_is_changed_only_as_its_reader_knows_it(managed: Caller, path: str) -> None:
    tag = managed.get(path).headers["ETag"]
    assert managed.put(path, {"frequency": 2}, if_match=tag).status == 200
    assert managed.put(path, {"frequency": 3}, if_match=tag).status == 412
    assert managed.get(path).json["frequency"] == 2
