"""Yes-or-no parameters of the query string that change what a write does."""

from collections.abc import Mapping

from cpm.api.request import Request
from cpm.kernel.invalid import Invalid, Problem
from cpm.services.fields import Schema
from cpm.services.kinds import to_boolean

# As operations declare them.
VALIDATE: Mapping[str, Schema] = {
    "validate": {
        "type": "boolean",
        "default": True,
        "description": "Whether AWS is asked if it is right.",
    }
}
DRY_RUN: Mapping[str, Schema] = {
    "dry_run": {
        "type": "boolean",
        "default": False,
        "description": "Say what would be deleted, and delete nothing.",
    }
}
INCLUDE_S3: Mapping[str, Schema] = {
    "include_s3": {
        "type": "boolean",
        "default": False,
        "description": "Delete copies in S3 as well.",
    }
}


def flag(request: Request, name: str, *, default: bool) -> bool:
    """Whether the request says so; raises `Invalid` for what is neither yes nor no.

    A misspelt `dry_run` must not turn into the real thing.
    """
    sent = request.http.GET.get(name, "")
    value = to_boolean(sent) if sent else default
    if value is None:
        raise Invalid(Problem("invalid", "Must be a valid boolean.", name))
    return value
