"""What a deletion that reaches AWS answers: nothing, or with `dry_run` what it would do."""

from collections.abc import Sequence

from django.http import HttpResponse
from msgspec import Struct

from cpm.api import answers
from cpm.engine.deletions import Choice


class Deletion(Struct):
    """A snapshot that would be deleted, unless something keeps it."""

    snapshot_id: str
    snapshot_type: str
    region: str
    account: int | None
    kept_because: str | None


def answer(choices: Sequence[Choice], *, dry_run: bool) -> HttpResponse:
    """Done, or what would be done."""
    return answers.value([_shown(each) for each in choices]) if dry_run else answers.nothing()


def _shown(choice: Choice) -> Deletion:
    snapshot = choice.snapshot
    return Deletion(
        snapshot_id=snapshot.aws_ref,
        snapshot_type=snapshot.collection,
        region=snapshot.region,
        account=snapshot.account_id,
        kept_because=choice.kept_because,
    )
