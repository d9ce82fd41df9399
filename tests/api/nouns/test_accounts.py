"""Accounts over the API: every way into AWS, tried against an AWS."""

import json
from itertools import product
from typing import Any

import pytest

from cpm.models.accounts import Account
from cpm.models.audit import AuditEntry
from cpm.models.settings import Setting
from cpm.models.users import User, UserKind
from tests.api.cast import Caller, caller, make_user
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import connect, create, keys


def role(cloud: Cloud, trusted: str, external_id: str = "") -> dict[str, object]:
    """A role in `cloud` that another account may assume; returns how the API names it."""
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{trusted}:root"},
        "Action": "sts:AssumeRole",
    }
    if external_id:
        statement["Condition"] = {"StringEquals": {"sts:ExternalId": external_id}}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    cloud.client("iam").create_role(RoleName="cpm", AssumeRolePolicyDocument=json.dumps(document))
    return {"authentication": "A", "account_number": cloud.number, "role_name": "cpm"}


def test_an_account_with_keys_shows_the_access_key_and_never_the_secret(
    managed: Caller, cloud: Cloud
) -> None:
    account = connect(managed, cloud)
    assert account == {
        "id": account["id"],
        "user": managed.id,
        "name": "prod",
        "authentication": "C",
        "is_dr_account": False,
        "aws_access_key": cloud.keys.access_key_id,
        "scan_tagged_resources": False,
        "scan_regions": [2],
        "capture_vpcs": True,
    }
    assert managed.get(f"/accounts/backup/{account['id']}/").json == account
    assert managed.get("/accounts/").json == managed.get("/accounts/backup/").json == [account]
    row = Account.objects.get(pk=account["id"])
    assert row.aws_account_number == cloud.number
    assert cloud.keys.secret_access_key.encode() not in bytes(row.sealed_secret or b"")
    assert cloud.keys.secret_access_key.encode() not in managed.get("/accounts/").body
    entry = AuditEntry.objects.order_by("pk").last()
    assert entry is not None
    assert (entry.event_type, entry.object, entry.user_name) == ("create account", "prod", "mia")


def test_wrong_keys_are_refused_with_the_operation_and_the_code_of_aws(
    managed: Caller, cloud: Cloud
) -> None:
    answer = managed.post("/accounts/backup/", keys(cloud, aws_secret_key="wrong"))
    assert answer.status == 400
    assert answer.codes == {"non_field_errors": ["aws_error"]}
    (fault,) = answer.json["errors"][0]["non_field_errors"]
    assert "sts:GetCallerIdentity" in fault["message"]
    assert "SignatureDoesNotMatch" in fault["message"]
    assert managed.get("/accounts/").json == []


def test_validate_false_asks_nobody(managed: Caller, cloud: Cloud) -> None:
    cloud.simulator.reset_counts()
    path = "/accounts/backup/?validate=false"
    account = create(managed, path, keys(cloud, aws_secret_key="wrong"))
    path = f"/accounts/backup/{account['id']}/?validate=false"
    assert managed.put(path, {"name": "renamed"}).json["name"] == "renamed"
    assert cloud.simulator.counts() == {}
    assert managed.put(f"/accounts/backup/{account['id']}/", {"name": "again"}).status == 400
    assert managed.post("/accounts/backup/?validate=perhaps", keys(cloud)).codes == {
        "validate": ["invalid"]
    }


def test_a_role_is_assumed_with_another_accounts_keys_and_an_external_id(
    managed: Caller, cloud: Cloud, other_cloud: Cloud
) -> None:
    base = connect(managed, cloud)
    named = role(other_cloud, cloud.number, external_id="between us")
    body = {"name": "branch", "assume_from_account": base["id"], **named}
    refused = managed.post("/accounts/backup/", body)
    assert refused.codes == {"non_field_errors": ["aws_error"]}
    assert "AccessDenied" in refused.json["errors"][0]["non_field_errors"][0]["message"]

    account = create(managed, "/accounts/backup/", {**body, "external_id": "between us"})
    assert account == {
        "id": account["id"],
        "user": managed.id,
        "name": "branch",
        "authentication": "A",
        "is_dr_account": False,
        "account_number": other_cloud.number,
        "role_name": "cpm",
        "external_id": "between us",
        "assume_from_account": base["id"],
        "scan_tagged_resources": False,
        "scan_regions": [2],
        "capture_vpcs": True,
    }
    assert Account.objects.get(pk=account["id"]).aws_account_number == other_cloud.number


def test_a_role_is_not_assumed_with_a_role(
    managed: Caller, cloud: Cloud, other_cloud: Cloud
) -> None:
    base = connect(managed, cloud)
    named = role(other_cloud, cloud.number)
    branch = create(
        managed,
        "/accounts/backup/",
        {"name": "branch", "assume_from_account": base["id"], **named},
    )
    body = {"name": "twig", "assume_from_account": branch["id"], **named}
    assert managed.post("/accounts/backup/", body).codes == {"assume_from_account": ["invalid"]}
    changed = {"assume_from_account": branch["id"], **named}
    codes = managed.put(f"/accounts/backup/{base['id']}/", changed).codes
    assert codes == {"authentication": ["invalid"], "assume_from_account": ["invalid"]}


def test_only_root_lets_an_account_use_the_servers_own_role(root: Caller, managed: Caller) -> None:
    body = {"name": "own", "authentication": "R"}
    assert managed.post("/accounts/backup/?validate=false", body).status == 403
    own = create(root, "/accounts/backup/?validate=false", body)
    assert list(own) == [
        *("id", "user", "name", "authentication", "is_dr_account"),
        *("scan_tagged_resources", "scan_regions", "capture_vpcs"),
    ]
    theirs = create(root, "/accounts/backup/?validate=false", {**body, "user": managed.id})
    assert theirs["user"] == managed.id
    path = f"/accounts/backup/{theirs['id']}/?validate=false"
    assert managed.get(path).json == theirs
    assert managed.put(path, {"name": "mine"}).status == 403


def test_all_that_is_wrong_with_a_body_is_told_at_once(managed: Caller, cloud: Cloud) -> None:
    connect(managed, cloud)
    body = {"name": "prod", "authentication": "A", "account_number": "12345", "scan_regions": 7}
    body |= {"role_name": "arn:aws:iam::1:role/x", "user": 424242, "aws_access_key": 7}
    answer = managed.post("/accounts/backup/", body)
    assert answer.status == 400
    assert answer.codes == {
        "name": ["unique"],
        "account_number": ["invalid"],
        "role_name": ["invalid"],
        "assume_from_account": ["required"],
        "scan_regions": ["invalid"],
        "user": ["does_not_exist"],
    }
    assert managed.post("/accounts/backup/", {}).codes == {
        "name": ["required"],
        "authentication": ["required"],
    }
    assert managed.post("/accounts/backup/", {"authentication": "C", "name": "a-b"}).codes == {
        "name": ["invalid"],
        "aws_access_key": ["required"],
        "aws_secret_key": ["required"],
    }


def test_a_change_of_authentication_needs_the_new_and_forgets_the_old(
    managed: Caller, cloud: Cloud, other_cloud: Cloud
) -> None:
    base = connect(managed, cloud)
    account = connect(managed, other_cloud, name="branch")
    path = f"/accounts/backup/{account['id']}/"
    assert managed.put(path, {"authentication": "A"}).codes == {
        "account_number": ["required"],
        "role_name": ["required"],
        "assume_from_account": ["required"],
    }
    named = role(other_cloud, cloud.number)
    changed = managed.put(path, {"assume_from_account": base["id"], **named}).json
    assert "aws_access_key" not in changed
    assert changed["external_id"] is None
    row = Account.objects.get(pk=account["id"])
    assert (row.aws_access_key, row.sealed_secret) == ("", None)
    assert row.credentials_version == 2

    back = {"authentication": "C", "aws_access_key": other_cloud.keys.access_key_id}
    assert managed.put(path, back).codes == {"aws_secret_key": ["required"]}


def test_an_omitted_secret_stays_and_new_keys_count_at_once(
    managed: Caller, cloud: Cloud, other_cloud: Cloud
) -> None:
    account = connect(managed, cloud)
    path = f"/accounts/backup/{account['id']}/"
    kept = managed.put(path, {"scan_regions": ["eu-west-1", "2"], "capture_vpcs": "off"})
    assert kept.status == 200
    assert kept.json["scan_regions"] == [1, 2]
    assert kept.json["capture_vpcs"] is False
    assert Account.objects.get(pk=account["id"]).credentials_version == 1

    swapped = {key: value for key, value in keys(other_cloud).items() if key.startswith("aws_")}
    assert managed.put(path, swapped).status == 200
    row = Account.objects.get(pk=account["id"])
    assert (row.aws_account_number, row.credentials_version) == (other_cloud.number, 2)


def test_dr_accounts_stand_apart(managed: Caller, cloud: Cloud) -> None:
    connect(managed, cloud)
    account = create(managed, "/accounts/dr/", keys(cloud, name="vault", is_dr_account=False))
    assert account == {
        "id": account["id"],
        "user": managed.id,
        "name": "vault",
        "authentication": "C",
        "is_dr_account": True,
        "aws_access_key": cloud.keys.access_key_id,
        "allow_deleting_snapshots": True,
    }
    assert managed.get(f"/accounts/backup/{account['id']}/").status == 404
    assert [each["name"] for each in managed.get("/accounts/dr/").json] == ["vault"]
    assert [each["name"] for each in managed.get("/accounts/").json] == ["prod", "vault"]
    assert managed.post("/accounts/dr/", keys(cloud)).codes == {"name": ["unique"]}


def test_without_cross_account_in_the_licence_there_are_no_roles_and_no_dr_accounts(
    managed: Caller, cloud: Cloud
) -> None:
    Setting.objects.create(section="license", value={"cross_account": False})
    for path, body in (
        ("/accounts/dr/", keys(cloud)),
        ("/accounts/backup/", {"name": "x", "authentication": "A"}),
    ):
        answer = managed.post(path, body)
        assert (answer.status, answer.codes) == (403, {"non_field_errors": ["license"]})
    connect(managed, cloud)


def test_limits_of_user_and_licence_hold(managed: Caller, cloud: Cloud, root: Caller) -> None:
    User.objects.filter(pk=managed.id).update(max_accounts=1)
    connect(managed, cloud)
    for path, who in product(("/accounts/backup/", "/accounts/dr/"), (managed, root)):
        answer = who.post(path, keys(cloud, name="more", user=managed.id))
        assert answer.codes == {"non_field_errors": ["limit_exceeded"]}
        message = answer.json["errors"][0]["non_field_errors"][0]["message"]
        assert "max_accounts" in message
    Setting.objects.create(section="license", value={"max_accounts": 1})
    answer = root.post("/accounts/backup/", keys(cloud, name="more"))
    assert (answer.status, answer.codes) == (403, {"non_field_errors": ["license"]})


def test_an_account_in_use_is_not_deleted_and_names_its_users(
    managed: Caller, cloud: Cloud, other_cloud: Cloud
) -> None:
    base = connect(managed, cloud)
    named = role(other_cloud, cloud.number)
    body = {"name": "branch", "assume_from_account": base["id"], **named}
    branch = create(managed, "/accounts/backup/", body)
    policy = create(managed, "/policies/", {"name": "nightly", "account": base["id"]})
    path = f"/accounts/backup/{base['id']}/"
    answer = managed.delete(path)
    assert (answer.status, answer.codes) == (400, {"non_field_errors": ["in_use"]})
    message = answer.json["errors"][0]["non_field_errors"][0]["message"]
    assert "policy nightly" in message
    assert "account branch" in message

    assert managed.delete(f"/policies/{policy['id']}/").status == 204
    assert managed.delete(f"/accounts/backup/{branch['id']}/").status == 204
    assert managed.delete(path).status == 204
    assert managed.get(path).status == 404


def test_an_account_is_changed_only_as_its_reader_knows_it(managed: Caller, cloud: Cloud) -> None:
    account = connect(managed, cloud)
    path = f"/accounts/backup/{account['id']}/"
    tag = managed.get(path).headers["ETag"]
    assert managed.put(path, {"name": "second"}, if_match=tag).status == 200
    assert managed.put(path, {"name": "third"}, if_match=tag).status == 412
    assert managed.delete(path, if_match=tag).status == 412
    assert managed.get(path).json["name"] == "second"


@pytest.mark.parametrize("switches", [(), ("allow_backup_changes",), ("allow_account_changes",)])
def test_a_delegate_needs_both_switches_to_change_accounts(
    managed: Caller, cloud: Cloud, switches: tuple[str, ...]
) -> None:
    columns = dict.fromkeys(("allow_backup_changes", "allow_account_changes"), False)
    columns |= dict.fromkeys(switches, True)
    delegate = caller(make_user("dora", UserKind.DELEGATE, original_user=managed.user, **columns))
    account = connect(managed, cloud)
    path = f"/accounts/backup/{account['id']}/"
    assert delegate.get(path).json == account
    assert delegate.post("/accounts/backup/", keys(cloud, name="x")).status == 403
    assert delegate.put(path, {"name": "x"}).status == 403
    assert delegate.delete(path).status == 403
    assert delegate.delete(f"{path}snapshots/").status == 403


def test_a_user_without_the_permission_deletes_accounts_but_makes_and_changes_none(
    managed: Caller, cloud: Cloud
) -> None:
    account = connect(managed, cloud)
    User.objects.filter(pk=managed.id).update(allow_account_changes=False)
    refused = caller(User.objects.get(pk=managed.id))
    path = f"/accounts/backup/{account['id']}/"
    assert refused.post("/accounts/backup/", keys(cloud, name="x")).status == 403
    assert refused.put(path, {"name": "x"}).status == 403
    assert refused.delete(path).status == 204


def test_others_accounts_are_not_there(
    root: Caller, managed: Caller, stranger: Caller, independent: Caller, cloud: Cloud
) -> None:
    account = connect(managed, cloud)
    hidden = connect(independent, cloud)
    path = f"/accounts/backup/{account['id']}/"
    for person in (stranger, independent):
        assert person.get(path).status == 404
        assert person.put(path, {"name": "x"}).status == 404
        assert person.delete(path).status == 404
        assert person.delete(f"{path}snapshots/").status == 404
    assert root.get(path).json == account
    assert root.get(f"/accounts/backup/{hidden['id']}/").status == 404
    assert root.get("/accounts/").json == [account]


def test_the_list_is_filtered_searched_and_ordered(
    root: Caller, managed: Caller, cloud: Cloud, other_cloud: Cloud
) -> None:
    connect(managed, cloud, name="b_prod")
    connect(managed, other_cloud, name="a_test")
    connect(root, cloud, name="a_root")

    def names(query: str) -> list[str]:
        return [each["name"] for each in root.get(f"/accounts/?{query}").json]

    assert names("name=a_test") == ["a_test"]
    assert names(f"user={managed.id}") == ["b_prod", "a_test"]
    assert names(f"search={other_cloud.keys.access_key_id.lower()}") == ["a_test"]
    assert names("ordering=name") == ["a_root", "a_test", "b_prod"]
    assert names("ordering=-user,name") == ["a_test", "b_prod", "a_root"]
