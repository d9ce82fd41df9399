"""The console's addresses."""

from django.urls import path
from django.views.generic import RedirectView

from cpm.console import api_key, backups, logins, policies

urlpatterns = [
    path("", RedirectView.as_view(pattern_name=logins.HOME)),
    path("login/", logins.log_in, name="login"),
    path("logout/", logins.log_out, name="logout"),
    path("password/", logins.change_password, name="password"),
    path("policies/", policies.index, name="policies"),
    path("backups/", backups.index, name="backups"),
    path("notifications/api_key/", api_key.show, name="api_key"),
    path("notifications/api_key/generate/", api_key.generate, name="api_key_generate"),
    path("notifications/api_key/revoke/", api_key.revoke, name="api_key_revoke"),
]
