"""Writes of S3 repositories."""

import re
from collections.abc import Mapping

from django.conf import settings
from django.db import connection, transaction

from cpm.engine import alerts
from cpm.engine import repositories as engine
from cpm.kernel import names
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.accounts import Account
from cpm.models.repositories import Encryption, S3Repository
from cpm.queries import repositories
from cpm.queries.errors import one
from cpm.queries.people import Person
from cpm.services import access, audit, references, unique
from cpm.services.access import Action
from cpm.services.fields import Field, Fields
from cpm.services.given import Given
from cpm.services.kinds import choice, password, reference, text

# Any number that nothing else here uses: of each bucket one repository is added at a time.
_LOCK = 0x63706D03
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# What every tool of S3 can spell.
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*")
_KMS_KEY = re.compile(r"[A-Za-z0-9:/_-]+")


def _bucket_name(value: str) -> str:
    if not _BUCKET.fullmatch(value.strip()):
        raise Invalid(Problem("invalid", "Enter the name of a bucket."))
    return value.strip()


def _prefix(value: str) -> str:
    prefix = value.strip().strip("/")
    if not prefix:
        raise Invalid(Problem("blank", "This field may not be blank."))
    if not _PREFIX.fullmatch(prefix) or {".", ".."}.intersection(prefix.split("/")):
        message = "Only letters, digits and ! - _ . * ' ( ) between single slashes are allowed."
        raise Invalid(Problem("invalid", message))
    return prefix


def _kms_key(value: str) -> str:
    if not _KMS_KEY.fullmatch(value.strip()):
        raise Invalid(Problem("invalid", "Enter the ARN, the id or an alias of a KMS key."))
    return value.strip()


FIELDS = Fields(
    (
        Field("name", text(names.name), required=True),
        Field("user", reference(), fixed=True),
        Field("account", reference(), required=True, fixed=True),
        Field("bucket_name", text(_bucket_name, max_length=63), required=True, fixed=True),
        Field(
            "prefix",
            text(_prefix, max_length=512),
            fixed=True,
            description="The name, where none is given.",
        ),
        Field("description", text(names.description, blank=True), nullable=True),
        Field(
            "encryption",
            choice(*Encryption),
            fixed=True,
            description="S or K: by the bucket's default encryption, which has to be of that kind,"
            " and is what counts where none is given; C: before it is sent, with a key that"
            " `passphrase` or `kms_key` opens, or either of both.",
        ),
        Field("passphrase", password(), fixed=True, description="Of client-side encryption."),
        Field(
            "kms_key",
            text(_kms_key, max_length=2048),
            fixed=True,
            description="Of client-side encryption: the ARN of a KMS key, or the id or alias of one"
            " in the bucket's region.",
        ),
    )
)


def create(data: Mapping[str, object], *, actor: Person, validate: bool = True) -> S3Repository:
    """Make a repository, in its bucket too if it is to `validate`.

    Raises `Forbidden` and `Invalid`.
    """
    access.require(actor, Action.CHANGE_BACKUPS)
    given = FIELDS.read(data)
    repository = S3Repository(user_id=access.choose_owner(given, actor))
    _refuse_foreign_account(given, repository)
    _take_secrets(given, repository)
    _apply(given, repository)
    _refuse_taken(given, repository)
    given.check()
    if validate:
        bucket = engine.look(repository)
        _refuse_other_encryption(given, bucket.encryption)
        repository.aws_region = bucket.region
        if repository.encryption != Encryption.CLIENT_SIDE:
            repository.encryption = bucket.encryption
        engine.establish(repository)
    _save(repository, actor)
    return repository


@transaction.atomic
def update(repository_id: int, data: Mapping[str, object], *, actor: Person) -> None:
    """Change name and description, as far as `data` holds them.

    Raises `Forbidden`, `NotFound` and `Invalid`.
    """
    access.require(actor, Action.CHANGE_BACKUPS)
    repository = _locked(repository_id, actor)
    given = FIELDS.read(data, partial=True)
    siblings = S3Repository.objects.filter(user_id=repository.user_id).exclude(pk=repository.pk)
    unique.refuse_taken(given, "name", siblings)
    given.check()
    with unique.kept_by("s3_repository_name_unique", "name"):
        S3Repository.objects.filter(pk=repository.pk).update(**given)
    audit.record(actor, "update S3 repository", repository.name, ", ".join(given))


@transaction.atomic
def delete(repository_id: int, *, actor: Person) -> None:
    """Forget a repository; what is in the bucket stays.

    Raises `Forbidden`, `NotFound`, and `Invalid` while a policy uses it or copies remain.
    """
    access.require(actor, Action.CHANGE_BACKUPS)
    repository = _locked(repository_id, actor)
    if uses := repositories.uses_of(repository):
        raise references.in_use("repository", uses)
    # What is left of copies that are gone is told by their snapshots.
    repository.copies.all().delete()
    name = repository.name
    alerts.resolve_about(f"repository:{repository.pk}")
    repository.delete()
    audit.record(actor, "delete S3 repository", name)


def _locked(repository_id: int, actor: Person) -> S3Repository:
    rows = repositories.visible_to(actor).select_for_update(of=("self",))
    return one(rows, repository_id)


def _refuse_foreign_account(given: Given, repository: S3Repository) -> None:
    if "account" not in given:
        return
    own = Account.objects.filter(user_id=repository.user_id, pk=given["account"])
    account = own.select_related("assume_from_account").first()
    if account is None:
        references.refuse(given, "account", given["account"])
    else:
        repository.account = account


def _take_secrets(given: Given, repository: S3Repository) -> None:
    """Note what opens the archive where it is encrypted before it is sent; others have nothing."""
    passphrase, kms_key = given.pop("passphrase", None), given.pop("kms_key", "")
    if given.get("encryption") != Encryption.CLIENT_SIDE:
        return
    if passphrase is not None:
        repository.sealed_passphrase = settings.SEALER.seal(passphrase)
    repository.kms_key = kms_key
    refused = {each.field for each in given.problems}
    if passphrase is None and not kms_key and not refused & {"passphrase", "kms_key"}:
        message = "Client-side encryption needs a passphrase or a KMS key."
        given.refuse("passphrase", "required", message)


def _apply(given: Given, repository: S3Repository) -> None:
    for name in ("name", "bucket_name", "description", "encryption"):
        if name in given:
            setattr(repository, name, given[name])
    repository.prefix = given.get("prefix", repository.name)


def _refuse_taken(given: Given, repository: S3Repository) -> None:
    """Note what other repositories of the owner stand in the way of.

    Those of others are found in the bucket, by whoever may read it.
    """
    unique.refuse_taken(given, "name", S3Repository.objects.filter(user_id=repository.user_id))
    _refuse_nesting(given, repository)


def _refuse_nesting(given: Given, repository: S3Repository) -> None:
    siblings = S3Repository.objects.filter(user_id=repository.user_id)
    mine = repository.prefix
    neighbours = siblings.filter(bucket_name=repository.bucket_name)
    for other, prefix in neighbours.values_list("name", "prefix"):
        if f"{mine}/".startswith(f"{prefix}/") or f"{prefix}/".startswith(f"{mine}/"):
            code = "unique" if prefix == mine else "invalid"
            message = f"The prefix is that of repository {other}, or one is inside the other."
            given.refuse("prefix", code, message)
            return


def _refuse_other_encryption(given: Given, encryption: Encryption) -> None:
    asked = given.get("encryption", encryption)
    if asked not in (Encryption.CLIENT_SIDE, encryption):
        message = f"The default encryption of the bucket is {encryption.label.lower()}."
        raise Invalid(Problem("invalid", message, "encryption"))


def _save(repository: S3Repository, actor: Person) -> None:
    with (
        transaction.atomic(),
        unique.kept_by("s3_repository_name_unique", "name"),
        unique.kept_by("s3_repository_place_unique", "prefix"),
    ):
        accounts = Account.objects.select_for_update(no_key=True)
        if not accounts.filter(pk=repository.account_id).exists():
            raise Invalid(Problem("does_not_exist", "The account is gone.", "account"))
        _refuse_simultaneous(repository)
        repository.save(force_insert=True)
        audit.record(actor, "create S3 repository", repository.name)


def _refuse_simultaneous(repository: S3Repository) -> None:
    """Look again at the others in the bucket, while nobody else can be added to them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LOCK, repository.bucket_name]
        )
    given = Given()
    _refuse_nesting(given, repository)
    given.check()
