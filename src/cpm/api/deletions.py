"""Deletions that reach AWS: they answer nothing, or with `dry_run` what they would do."""

from collections.abc import Sequence

from django.http import HttpResponse

from cpm.api import answers
from cpm.api.flags import DRY_RUN, INCLUDE_S3, flag
from cpm.api.operations import Operation, View
from cpm.api.request import Request
from cpm.api.shapes import Shown
from cpm.engine.deletions import Choice
from cpm.services.access import Action


class Deletion(Shown):
    """A snapshot that would be deleted, unless something keeps it."""

    snapshot_id: str
    snapshot_type: str
    region: str
    account: int | None
    kept_because: str | None


def operation(path: str, view: View, action: Action, *, in_bulk: bool = False) -> Operation:
    """The declaration of such a deletion; those `in_bulk` leave copies in S3 unless told to."""
    return Operation(
        "DELETE",
        path,
        view,
        action,
        answer=Deletion,
        is_array=True,
        status=204,
        parameters={**DRY_RUN, **INCLUDE_S3} if in_bulk else DRY_RUN,
    )


def is_dry_run(request: Request) -> bool:
    """Whether nothing is to be deleted; raises `Invalid` for what makes no sense."""
    return flag(request, "dry_run", default=False)


def includes_s3(request: Request) -> bool:
    """Whether copies in S3 are to go as well; raises `Invalid` likewise."""
    return flag(request, "include_s3", default=False)


def answer(choices: Sequence[Choice], *, dry_run: bool) -> HttpResponse:
    """Done, or what would be done."""
    return answers.value([shown(each) for each in choices]) if dry_run else answers.nothing()


def shown(choice: Choice) -> Deletion:
    """A snapshot that was named for deletion."""
    snapshot = choice.snapshot
    return Deletion(
        snapshot_id=snapshot.aws_ref,
        snapshot_type=snapshot.collection,
        region=snapshot.region,
        account=snapshot.account_id,
        kept_because=choice.kept_because,
    )
