"""The console's addresses."""

from django.urls import path
from django.views.generic import RedirectView

from cpm.console import (
    alerts,
    api_key,
    backups,
    channels,
    logins,
    policies,
    recoveries,
    remote_auth,
    s3_copies,
    summary,
)

urlpatterns = [
    path("", RedirectView.as_view(pattern_name=logins.HOME)),
    path("login/", logins.log_in, name="login"),
    path("logout/", logins.log_out, name="logout"),
    path("remote_auth/metadata", remote_auth.metadata),
    path("remote_auth/metadata/", remote_auth.metadata),
    path("remote_auth/login/", remote_auth.log_in, name="remote_login"),
    path("remote_auth/complete_login/", remote_auth.complete_log_in),
    path("remote_auth/complete_logout/", remote_auth.complete_log_out),
    path("password/", logins.change_password, name="password"),
    path("policies/", policies.index, name="policies"),
    path("backups/", backups.index, name="backups"),
    path("backups/<int:backup_id>/", backups.show, name="backup"),
    path("s3_copies/", s3_copies.index, name="s3_copies"),
    path("recoveries/", recoveries.index, name="recoveries"),
    path("recoveries/<int:recovery_id>/", recoveries.show, name="recovery"),
    path("alerts/", alerts.index, name="alerts"),
    path("notifications/channels/", channels.index, name="channels"),
    path("notifications/channels/<int:channel_id>/", channels.show, name="channel"),
    path("notifications/channels/<int:channel_id>/change/", channels.change, name="channel_change"),
    path("notifications/channels/<int:channel_id>/test/", channels.test, name="channel_test"),
    path("notifications/channels/<int:channel_id>/remove/", channels.remove, name="channel_remove"),
    path("notifications/channels/add/<str:channel_type>/", channels.add, name="channel_add"),
    path("notifications/summary/", summary.change, name="summary"),
    path("notifications/api_key/", api_key.show, name="api_key"),
    path("notifications/api_key/generate/", api_key.generate, name="api_key_generate"),
    path("notifications/api_key/revoke/", api_key.revoke, name="api_key_revoke"),
]
