"""Yes-or-no parameters of the query string that change what a write does."""

from cpm.api.request import Request
from cpm.kernel.invalid import Invalid, Problem
from cpm.services.kinds import to_boolean


def flag(request: Request, name: str, *, default: bool) -> bool:
    """Whether the request says so; raises `Invalid` for what is neither yes nor no.

    A misspelt `dry_run` must not turn into the real thing.
    """
    sent = request.http.GET.get(name, "")
    value = to_boolean(sent) if sent else default
    if value is None:
        raise Invalid(Problem("invalid", "Must be a valid boolean.", name))
    return value
