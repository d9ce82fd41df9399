"""Where blocks of the archives are, by their digests, so that others need not be stored again."""

from django.db import models

from cpm.models.repositories import S3Repository
from cpm.models.s3_copies import S3Copy


class S3Block(models.Model):
    """A block that a manifest of the repository names. None need be here: it is a mere index."""

    repository = models.ForeignKey(
        S3Repository, models.CASCADE, related_name="blocks", db_index=False
    )
    digest = models.BinaryField(max_length=32)
    # Whose manifest names it, and by which page.
    copy = models.ForeignKey(S3Copy, models.CASCADE, related_name="blocks", db_index=False)
    page = models.PositiveIntegerField()

    pack = models.BinaryField(max_length=16)
    offset = models.PositiveIntegerField()
    length = models.PositiveIntegerField()
    encoding = models.PositiveSmallIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["repository", "digest"], name="s3_block_unique")
        ]
        indexes = [models.Index(fields=["copy", "page"], name="s3_block_of_copy")]

    def __str__(self) -> str:
        return f"block {bytes(self.digest).hex()}"
