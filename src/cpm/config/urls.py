"""The server's addresses."""

from django.urls import URLPattern, URLResolver, path, re_path

from cpm.api import gateway, health

urlpatterns: list[URLPattern | URLResolver] = [
    # The API finds its own way from here: any number of slashes, every method.
    re_path(r"^/*api(?P<path>/(?s:.*))?$", gateway.serve),
    path("healthz", health.live),
    path("readyz", health.ready),
]
