"""A policy's disaster recovery over the API: where its snapshots are to be copied to."""

import pytest

from cpm.kernel import regions
from cpm.models.audit import AuditEntry
from cpm.models.settings import Setting
from cpm.models.users import UserKind
from tests.api.cast import Caller, caller, make_user
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import Estate, create, keys


@pytest.fixture
def path(estate: Estate) -> str:
    return f"{estate.path}dr/"


@pytest.fixture
def vault(managed: Caller, other_cloud: Cloud) -> int:
    """A DR account of the managed user."""
    return int(create(managed, "/accounts/dr/", keys(other_cloud, name="vault"))["id"])


def region_id(name: str) -> int:
    found = regions.by_name(name)
    assert found is not None
    return found.id


def test_a_policy_copies_nothing_until_it_is_told(managed: Caller, path: str) -> None:
    assert managed.get(path).json == {
        "enabled": False,
        "frequency": 1,
        "timeout_hours": 24,
        "target_regions": [],
        "cross_account_enabled": False,
        "cross_account_dr_account": None,
        "cross_account_target_regions": [],
        "keep_original_snapshots": True,
        "sharing_kms_key": "alias/cpm_share",
    }


def test_what_is_put_is_kept_and_the_rest_stays(
    managed: Caller, estate: Estate, path: str, vault: int
) -> None:
    ireland, oregon = region_id("eu-west-1"), region_id("us-west-2")
    body = {
        "enabled": True,
        "frequency": "7",
        "timeout_hours": 48,
        "target_regions": [str(ireland), "us-west-2", ireland],
        "cross_account_enabled": True,
        "cross_account_dr_account": vault,
        "cross_account_target_regions": ["eu-west-1"],
        "keep_original_snapshots": False,
        "sharing_kms_key": "alias/ours",
    }
    kept = managed.put(path, body).json
    assert kept == {
        **body,
        "frequency": 7,
        "target_regions": [ireland, oregon],
        "cross_account_target_regions": [ireland],
    }
    assert managed.get(estate.path).json["dr_enabled"] is True
    assert managed.put(path, {"frequency": 1}).json == kept | {"frequency": 1}
    assert managed.get(path).json == kept | {"frequency": 1}
    assert AuditEntry.objects.filter(event_type="update policy DR").count() == 2


def test_old_versions_set_the_sharing_key_but_do_not_see_it(managed: Caller, path: str) -> None:
    old = managed.using("1.0.0")
    assert "sharing_kms_key" not in old.put(path, {"sharing_kms_key": "alias/ours"}).json
    assert managed.get(path).json["sharing_kms_key"] == "alias/ours"


def test_what_is_enabled_has_somewhere_to_copy_to(managed: Caller, path: str, vault: int) -> None:
    assert managed.put(path, {"enabled": True}).codes == {"target_regions": ["required"]}
    assert managed.put(path, {"cross_account_enabled": True}).codes == {
        "cross_account_dr_account": ["required"]
    }
    assert managed.put(path, {"target_regions": ["eu-west-1"], "enabled": True}).status == 200
    assert managed.put(path, {"target_regions": []}).codes == {"target_regions": ["required"]}
    across = {"cross_account_enabled": True, "cross_account_dr_account": vault}
    assert managed.put(path, {"target_regions": [], **across}).status == 200
    gone = managed.put(path, {"cross_account_dr_account": None})
    assert gone.codes == {"cross_account_dr_account": ["required"]}
    assert managed.put(path, {"enabled": False, "cross_account_enabled": False}).status == 200


def test_all_that_is_wrong_is_told_at_once(managed: Caller, estate: Estate, path: str) -> None:
    body = {
        "enabled": True,
        "frequency": 101,
        "timeout_hours": 0,
        "target_regions": ["mars"],
        "cross_account_enabled": True,
        "cross_account_dr_account": estate.account,
        "sharing_kms_key": "",
    }
    assert managed.put(path, body).codes == {
        "frequency": ["max_value"],
        "timeout_hours": ["min_value"],
        "target_regions": ["does_not_exist"],
        "cross_account_dr_account": ["does_not_exist"],
        "sharing_kms_key": ["blank"],
    }


def test_only_own_dr_accounts_receive_copies(
    managed: Caller, stranger: Caller, other_cloud: Cloud, path: str
) -> None:
    theirs = create(stranger, "/accounts/dr/", keys(other_cloud, name="vault"))["id"]
    answer = managed.put(path, {"cross_account_dr_account": theirs})
    assert answer.codes == {"cross_account_dr_account": ["does_not_exist"]}


def test_a_dr_account_that_a_policy_copies_to_is_in_use(
    managed: Caller, path: str, vault: int
) -> None:
    managed.put(path, {"cross_account_dr_account": vault})
    refused = managed.delete(f"/accounts/dr/{vault}/")
    assert refused.codes == {"non_field_errors": ["in_use"]}
    assert "DR of policy nightly" in str(refused.json)
    managed.put(path, {"cross_account_dr_account": None})
    assert managed.delete(f"/accounts/dr/{vault}/").status == 204


def test_a_licence_without_cross_account_keeps_copies_in_the_account(
    managed: Caller, path: str, vault: int
) -> None:
    Setting.objects.create(section="license", value={"cross_account": False})
    answer = managed.put(path, {"cross_account_enabled": True, "cross_account_dr_account": vault})
    assert (answer.status, answer.codes) == (403, {"non_field_errors": ["license"]})
    assert managed.put(path, {"enabled": True, "target_regions": ["eu-west-1"]}).status == 200


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
