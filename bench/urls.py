"""The server's addresses, and under `/plain/` those of what it is compared with."""

from django.urls import URLPattern, URLResolver, path

from bench import plain
from cpm.config.urls import urlpatterns as product

urlpatterns: list[URLPattern | URLResolver] = [
    *product,
    path("plain/backups/", plain.Backups.as_view({"get": "list"})),
    path("plain/backups/<int:pk>/", plain.Backups.as_view({"get": "retrieve"})),
]
