"""The server's addresses."""

from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.decorators.csrf import csrf_exempt

from cpm.api import gateway, health
from cpm.server import machines, metrics

urlpatterns: list[URLPattern | URLResolver] = [
    # The API finds its own way from here: any number of slashes, every method. It knows no cookies.
    re_path(r"^/*api(?P<path>/(?s:.*))?$", csrf_exempt(gateway.serve)),
    path("healthz", health.live),
    path("readyz", health.ready),
    path("metrics", metrics.show),
    # They know no cookies either.
    path("machines/<str:what>", csrf_exempt(machines.serve)),
    path("", include("cpm.console.urls")),
]
