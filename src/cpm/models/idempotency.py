"""Answers that are given again to whoever asks the same again."""

from django.db import models

from cpm.models.users import User


class KeptAnswer(models.Model):
    """What a request that carried an idempotency key was answered, in the request's transaction.

    The answer is sealed: what it says may be for its reader alone.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    sealed_answer = models.BinaryField()
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="kept_answer_unique")]

    def __str__(self) -> str:
        return self.key
