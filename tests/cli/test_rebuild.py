"""`cpm archive rebuild`: a server finds the copies in a bucket that it knows nothing of."""

import json
from pathlib import Path

from cpm.archive import repository
from cpm.archive.s3 import S3Store
from cpm.aws.budget import NoBudget
from cpm.aws.credentials import StaticKeys
from cpm.aws.sessions import Cloud
from cpm.demo.client import ApiClient
from tests.archive.volumes import Copier, subject, text
from tests.cli.commands import DemoServer, cpm

BUCKET = "what-is-left"


def test_copies_of_a_bucket_are_listed_by_the_api_again(demo_server: DemoServer) -> None:
    ready = demo_server.ready
    keys = ready["accounts"][0]
    cloud = Cloud(endpoint_url=ready["aws_endpoint"], budget=NoBudget())
    aws = cloud.aws(StaticKeys(keys["access_key_id"], keys["secret_access_key"]), "us-east-1")
    aws.call("s3", "CreateBucket", Bucket=BUCKET)
    archive = repository.create(S3Store(aws, BUCKET, "of/it"))
    made = Copier(archive).copy({0: text(0)}, subject("snap-1"))
    cloud.close()
    client = ApiClient(ready["url"], Path(ready["ca_cert"]), ready["api_key"])
    account = client.post(
        "/accounts/backup/",
        name="rebuilt",
        authentication="C",
        aws_access_key=keys["access_key_id"],
        aws_secret_key=keys["secret_access_key"],
    )
    told = ("archive", "rebuild", f"s3://{BUCKET}/of/it", "--account", "rebuilt")
    done = cpm(*told, "--json", "--data", ready["data_dir"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"copies": 1, "backups": 1, "known": 0, "damaged": []}
    again = cpm(*told, "--data", ready["data_dir"])
    assert "0 copies recorded in 0 new backups; 1 were known" in again.stderr
    (row,) = (each for each in client.get("/s3_repositories/") if each["name"] == "it")
    assert (row["account"], row["aws_region"]) == (account["id"], "us-east-1")
    records = [
        each
        for each in client.get("/backups/")
        if each["s3_copy_status"]["repository"] == row["id"]
    ]
    path = f"/backups/{records[0]['id']}/snapshots/copy_to_s3/"
    assert [each["snapshot_id"] for each in client.get(path)] == [made.name]
    wrong = cpm(
        "archive", "rebuild", "s3://nowhere/x", "--account", "none", "--data", ready["data_dir"]
    )
    assert (wrong.returncode, "There is no account none" in wrong.stderr) == (1, True)
