"""Making the records of an archive again, from its bucket alone."""

from collections.abc import Callable, Mapping

from cpm.engine import s3_rebuild
from cpm.engine.s3_rebuild import Rebuilt
from cpm.models.repositories import S3Repository
from cpm.queries.people import Person
from cpm.queries.repositories import visible_to
from cpm.services import access, audit, repositories
from cpm.services.access import Action


def rebuild(
    place: Mapping[str, object],
    *,
    actor: Person,
    progress: Callable[[Rebuilt], None] = lambda _rebuilt: None,
) -> Rebuilt:
    """Make a repository for what is in a bucket, unless there is one, and records of its copies.

    `place` is what `repositories.create` takes. May be repeated. Raises `Forbidden`, `Invalid`,
    `ArchiveError` and Fault.
    """
    access.require(actor, Action.CHANGE_BACKUPS)
    repository = _repository(place, actor)
    # Each record is committed by itself: whoever dies halfway has changed what he made until then.
    audit.record(actor, "rebuild S3 repository", repository.name)
    rebuilt = s3_rebuild.rebuild(repository, progress)
    made = f"{rebuilt.copies} copies in {rebuilt.backups} backups"
    audit.record(actor, "S3 repository rebuilt", repository.name, made)
    return rebuilt


def _repository(place: Mapping[str, object], actor: Person) -> S3Repository:
    known = visible_to(actor).filter(bucket_name=place["bucket_name"], prefix=place["prefix"])
    found = known.order_by("pk").first() or repositories.create(place, actor=actor)
    return S3Repository.objects.select_related("user", "account__assume_from_account").get(
        pk=found.pk
    )
