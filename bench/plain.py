"""What the API is compared with: the same records through Django REST framework, as its book says.

The view reads the same queryset with the same annotations, so PostgreSQL does the same work for
both; it has no filters, which the API's own lists do have.
"""

from typing import Any

import jwt
from django.conf import settings
from django.db.models import QuerySet
from rest_framework import exceptions, serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.viewsets import ReadOnlyModelViewSet

from cpm.models.backups import Backup
from cpm.models.users import User
from cpm.queries import people, retention
from cpm.queries.backups import listed
from cpm.queries.outcomes import status
from cpm.queries.people import Person


class TokenAuthentication(BaseAuthentication):
    """Verifies the access token and fetches its user."""

    def authenticate(self, request: Request) -> tuple[User, None]:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            raise exceptions.NotAuthenticated
        try:
            claims = jwt.decode(token, settings.TOKEN_KEY, algorithms=["HS256"])
            users = User.objects.select_related("original_user")
            return users.get(pk=claims["sub"], is_active=True), None
        except (jwt.InvalidTokenError, User.DoesNotExist) as error:
            raise exceptions.AuthenticationFailed from error

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class DrStatusSerializer(serializers.ModelSerializer[Backup]):
    """`dr_status` of a record."""

    status = serializers.CharField(source="dr_status")
    finish_time = serializers.DateTimeField(source="dr_finished_at")

    class Meta:
        model = Backup
        fields = ["status", "finish_time"]


class S3CopyStatusSerializer(serializers.ModelSerializer[Backup]):
    """`s3_copy_status` of a record."""

    status = serializers.CharField(source="s3_status")
    finish_time = serializers.DateTimeField(source="s3_finished_at")
    repository = serializers.SerializerMethodField()
    progress = serializers.SerializerMethodField()

    class Meta:
        model = Backup
        fields = ["status", "finish_time", "repository", "progress"]

    def get_repository(self, _backup: Backup) -> int | None:
        return None

    def get_progress(self, backup: Any) -> Any:
        return backup.s3_progress


class BackupSerializer(serializers.ModelSerializer[Backup]):
    """A record with the keys that the API gives it."""

    start_time = serializers.DateTimeField(source="started_at")
    finish_time = serializers.DateTimeField(source="finished_at")
    status = serializers.SerializerMethodField()
    dr_status = DrStatusSerializer(source="*")
    s3_copy_status = S3CopyStatusSerializer(source="*")
    is_retry = serializers.SerializerMethodField()
    scheduled_time = serializers.DateTimeField(source="scheduled_at")
    progress = serializers.IntegerField()
    retention = serializers.SerializerMethodField()

    class Meta:
        model = Backup
        fields = [
            *("id", "user", "account", "policy", "policy_name", "name", "description"),
            *("start_time", "finish_time", "status", "dr_status", "s3_copy_status"),
            *("is_frozen", "is_retry", "trigger", "scheduled_time", "progress", "retention"),
        ]

    def get_status(self, backup: Backup) -> str:
        return status(backup.outcome)

    def get_is_retry(self, backup: Backup) -> bool:
        return backup.attempt > 0

    def get_retention(self, backup: Any) -> dict[str, Any]:
        generations = backup.policy.generations if backup.policy else None
        outlook = retention.outlook(
            (
                *(backup.phase, backup.retry_at, backup.is_frozen, backup.has_snapshots),
                *(generations, backup.is_generation, backup.newer_generations),
            )
        )
        return {
            "kept": outlook.kept,
            "reason": outlook.reason,
            "expires_after": outlook.expires_after,
        }

    def to_representation(self, instance: Backup) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        if not instance.is_frozen:
            del shown["name"]
        return shown


class Pages(PageNumberPagination):
    """Pages where they are asked for, and else the whole list."""

    page_size = None
    page_size_query_param = "page_size"


class Backups(ReadOnlyModelViewSet[Backup]):
    """`GET /backups/` and `GET /backups/{id}/`."""

    authentication_classes = [TokenAuthentication]
    permission_classes = [IsAuthenticated]
    renderer_classes = [JSONRenderer]
    pagination_class = Pages
    serializer_class = BackupSerializer

    def get_queryset(self) -> QuerySet[Backup]:
        is_whole = self.action == "list" and "page_size" not in self.request.query_params
        return listed(self._viewer(), many=is_whole).select_related("policy").order_by("pk")

    def _viewer(self) -> Person:
        if not isinstance(self.request.user, User):
            raise exceptions.NotAuthenticated
        return people.of(self.request.user)
