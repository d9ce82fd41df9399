"""S3 repositories: tried out, made in their buckets, and forgotten."""

import json
from typing import Any

import pytest

from cpm.archive.errors import WrongKey
from cpm.engine import repositories as engine
from cpm.models.audit import AuditEntry
from cpm.models.repositories import S3Repository
from tests.api.cast import Answer, Caller
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import connect, create

PATH = "/s3_repositories/"
IRELAND: Any = {"LocationConstraint": "eu-west-1"}


@pytest.fixture
def bucket(cloud: Cloud) -> str:
    """An encrypted bucket in Ireland."""
    return cloud.bucket()


@pytest.fixture
def body(managed: Caller, cloud: Cloud, bucket: str) -> dict[str, Any]:
    """What makes a repository in the bucket."""
    return {"name": "vault", "account": connect(managed, cloud)["id"], "bucket_name": bucket}


def keys_in(cloud: Cloud, bucket: str) -> list[str]:
    found = cloud.client("s3").list_objects_v2(Bucket=bucket)
    return [each["Key"] for each in found.get("Contents", ())]


def message(answer: Answer) -> str:
    assert answer.status == 400
    ((fault,),) = answer.json["errors"][0].values()
    return str(fault["message"])


def test_a_repository_is_made_in_its_bucket(
    managed: Caller, cloud: Cloud, body: dict[str, Any]
) -> None:
    made = create(managed, PATH, body)
    assert made == {
        "id": made["id"],
        "name": "vault",
        "user": managed.id,
        "account": body["account"],
        "bucket_name": body["bucket_name"],
        "prefix": "vault",
        "aws_region": "eu-west-1",
        "description": None,
        "encryption": "S",
        "size_bytes": 0,
        "stored_bytes": 0,
        "last_verified": None,
    }
    assert managed.get(PATH).json == [made]
    older = managed.using("1.1.0").get(f"{PATH}{made['id']}/").json
    assert set(made) - set(older) == {"last_verified"}
    assert keys_in(cloud, body["bucket_name"]) == ["vault/repository.json"]
    path = f"{PATH}{made['id']}/"
    changed = managed.put(path, {"name": "safe", "description": "all", "prefix": "elsewhere"})
    assert changed.json == {**made, "name": "safe", "description": "all"}
    account = f"/accounts/backup/{body['account']}/"
    refused = managed.delete(account)
    assert refused.codes == {"non_field_errors": ["in_use"]}
    assert "S3 repository safe" in message(refused)
    assert managed.delete(path).status == 204
    assert managed.get(path).status == 404
    assert keys_in(cloud, body["bucket_name"]) == ["vault/repository.json"]
    assert create(managed, PATH, body)["prefix"] == "vault"
    events = AuditEntry.objects.order_by("pk").values_list("event_type", flat=True)
    words = [each.removesuffix(" S3 repository") for each in events if "S3" in each]
    assert words == ["create", "update", "delete", "create"]


def test_a_bucket_that_will_not_do_is_refused_naming_what_failed(
    managed: Caller, cloud: Cloud, body: dict[str, Any], bucket: str
) -> None:
    absent = managed.post(PATH, {**body, "bucket_name": f"no-{bucket}"})
    assert absent.codes == {"non_field_errors": ["aws_error"]}
    assert "reached" in message(absent)
    assert "NoSuchBucket" in message(absent)
    for operation, what in (
        ("s3:PutObject", "written to"),
        ("s3:GetObject", "read from"),
        ("s3:DeleteObject", "deleted from"),
    ):
        cloud.simulator.faults([{"op": operation, "kind": "denied"}])
        assert f"The bucket cannot be {what}: {operation}" in message(managed.post(PATH, body))
    # AWS has no such buckets any more, others that speak its language have.
    none = {"code": "ServerSideEncryptionConfigurationNotFoundError", "kind": "denied"}
    cloud.simulator.faults([{**none, "op": "s3:GetBucketEncryption"}])
    bare = managed.post(PATH, body)
    cloud.simulator.faults([])
    assert bare.codes == {"bucket_name": ["invalid"]}
    assert "no default encryption" in message(bare)
    assert not S3Repository.objects.exists()
    made = create(managed, f"{PATH}?validate=false", body)
    assert made["aws_region"] is None


def test_a_bucket_that_locks_everything_will_do(
    managed: Caller, cloud: Cloud, body: dict[str, Any], bucket: str
) -> None:
    s3, name = cloud.client("s3"), f"locked-{bucket}"
    s3.create_bucket(
        Bucket=name, CreateBucketConfiguration=IRELAND, ObjectLockEnabledForBucket=True
    )
    s3.put_object_lock_configuration(
        Bucket=name,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 30}},
        },
    )
    sealed = {"encryption": "C", "passphrase": "open sesame"}
    create(managed, PATH, {**body, **sealed, "bucket_name": name})
    again = {**body, "name": "two", "bucket_name": name}
    create(managed, PATH, again)
    probes = [key for key in keys_in(cloud, name) if "access-check-" in key]
    assert len(probes) == 2
    cloud.simulator.faults([{"op": "s3:DeleteObject", "kind": "denied"}])
    refused = managed.post(PATH, {**again, "name": "three"})
    cloud.simulator.faults([])
    assert "deleted from" in message(refused)


def test_no_prefix_is_inside_another(
    managed: Caller, independent: Caller, cloud: Cloud, body: dict[str, Any], bucket: str
) -> None:
    create(managed, PATH, {**body, "name": "a", "prefix": "/x/y/"})
    for prefix, code in (("x", "invalid"), ("x/y", "unique"), ("x/y/z", "invalid")):
        answer = managed.post(PATH, {**body, "name": "b", "prefix": prefix})
        assert answer.codes == {"prefix": [code]}, prefix
    create(managed, PATH, {**body, "name": "b", "prefix": "x/yy"})
    theirs = {**body, "account": connect(independent, cloud)["id"], "name": "c"}
    for prefix in ("x", "x/y/z"):
        assert independent.post(PATH, {**theirs, "prefix": prefix}).codes == {"prefix": ["invalid"]}
    for prefix in ("..", "a//b", "a b", "/", "ä"):
        assert list(managed.post(PATH, {**body, "name": "d", "prefix": prefix}).codes) == ["prefix"]
    assert len(keys_in(cloud, bucket)) == 2


def test_what_is_encrypted_before_it_is_sent_opens_with_its_passphrase_alone(
    managed: Caller, cloud: Cloud, body: dict[str, Any], bucket: str
) -> None:
    sealed = {**body, "encryption": "C"}
    assert managed.post(PATH, sealed).codes == {"passphrase": ["required"]}
    made = create(managed, PATH, {**sealed, "passphrase": "open sesame"})
    assert made["encryption"] == "C"
    assert "passphrase" not in made
    row = S3Repository.objects.get(pk=made["id"])
    assert b"open sesame" not in bytes(row.sealed_passphrase or b"")
    described = cloud.client("s3").get_object(Bucket=bucket, Key="vault/repository.json")
    assert json.load(described["Body"])["encryption"] == "AES-256-GCM"
    assert managed.delete(f"{PATH}{made['id']}/").status == 204
    assert managed.post(PATH, {**sealed, "passphrase": "x"}).codes == {"passphrase": ["invalid"]}
    assert managed.post(PATH, body).codes == {"passphrase": ["invalid"]}
    create(managed, PATH, {**sealed, "passphrase": "open sesame"})
    assert managed.post(PATH, {**body, "name": "k", "encryption": "K"}).codes == {
        "encryption": ["invalid"]
    }


def test_a_kms_key_opens_what_is_encrypted_before_it_is_sent(
    managed: Caller, cloud: Cloud, body: dict[str, Any], bucket: str
) -> None:
    kms = cloud.client("kms", "eu-west-1")
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/vault", TargetKeyId=arn)
    sealed = {**body, "encryption": "C"}
    absent = managed.post(PATH, {**sealed, "kms_key": "alias/none"})
    assert absent.codes == {"kms_key": ["aws_error"]}
    made = create(managed, PATH, {**sealed, "kms_key": "alias/vault"})
    assert made["kms_key"] == arn
    row = S3Repository.objects.select_related("account").get(pk=made["id"])
    assert engine.open_archive(row).key.secret
    assert managed.delete(f"{PATH}{made['id']}/").status == 204
    other = kms.create_key()["KeyMetadata"]["Arn"]
    assert managed.post(PATH, {**sealed, "kms_key": other}).codes == {"kms_key": ["invalid"]}
    both = {**sealed, "name": "two", "kms_key": arn, "passphrase": "open sesame"}
    create(managed, PATH, both)
    assert sum("two/keys/" in key for key in keys_in(cloud, bucket)) == 2


def test_what_was_encrypted_is_not_opened_without_encryption(
    managed: Caller, cloud: Cloud, body: dict[str, Any], bucket: str
) -> None:
    made = create(managed, PATH, {**body, "encryption": "C", "passphrase": "open sesame"})
    place = {"Bucket": bucket, "Key": "vault/repository.json"}
    s3 = cloud.client("s3")
    described = json.load(s3.get_object(**place)["Body"])
    s3.put_object(**place, Body=json.dumps({**described, "encryption": None}))
    row = S3Repository.objects.select_related("account").get(pk=made["id"])
    with pytest.raises(WrongKey):
        engine.open_archive(row)


def test_a_repository_is_in_an_account_of_its_owner(
    managed: Caller, root: Caller, body: dict[str, Any]
) -> None:
    assert root.post(PATH, body).codes == {"account": ["does_not_exist"]}
    assert create(root, PATH, {**body, "user": managed.id})["user"] == managed.id
    codes = {"name": ["required"], "account": ["required"], "bucket_name": ["invalid"]}
    assert managed.post(PATH, {"bucket_name": "No Bucket"}).codes == codes
