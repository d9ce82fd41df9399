"""A repository for copies in S3, made over the API."""

from typing import Any

from cpm.models.repositories import S3Repository
from tests.api.nouns.estate import Estate, create
from tests.engine.archive import Archive

SSE_S3: Any = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}


def archive_of(estate: Estate, **values: object) -> Archive:
    """A repository in a bucket of the estate's account."""
    bucket = f"archive-{estate.cloud.number}"
    s3 = estate.cloud.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=SSE_S3)
    body = {"name": "vault", "account": estate.account, "bucket_name": bucket, **values}
    row = S3Repository.objects.get(pk=create(estate.caller, "/s3_repositories/", body)["id"])
    return Archive(estate.cloud.client, row)
