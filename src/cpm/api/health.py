"""Whether this server lives, and whether it can serve: for supervisors and load balancers."""

from django.http import HttpRequest, HttpResponse

from cpm.queries import health


def live(_request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


def ready(_request: HttpRequest) -> HttpResponse:
    """The process answers, and so does the database, whose tables are those of this version."""
    for check in health.of_serving():
        if not check.ok:
            # What is wrong with it is in the log and in `cpm doctor`, not for everybody.
            return HttpResponse(
                f"{check.check}: not ready\n", status=503, content_type="text/plain"
            )
    return HttpResponse("ok\n", content_type="text/plain")
