"""Writes of accounts: those that hold what is protected, and those that receive copies (DR)."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from cpm.aws.sessions import identify
from cpm.engine import alerts
from cpm.engine.accounts import aws_of
from cpm.engine.settings import Licence
from cpm.kernel import names, regions
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.accounts import Account, Authentication
from cpm.models.dr_copies import DrCopy, DrCopyPhase
from cpm.models.recoveries import Recovery, RecoveryPhase
from cpm.models.s3_copies import S3Copy, S3CopyPhase
from cpm.queries import accounts
from cpm.queries.errors import one
from cpm.queries.people import Person
from cpm.services import access, audit, limits, references, unique
from cpm.services.access import Action
from cpm.services.errors import Conflict, Unlicensed
from cpm.services.fields import Field, Fields
from cpm.services.given import Given
from cpm.services.kinds import array, boolean, choice, password, reference, region, text

DEFAULT_REGION = "us-east-1"
DEFAULT_SCAN_REGIONS = [2]

_ACCOUNT_NUMBER = re.compile(r"[0-9]{12}")
# A role's name, with or without the path before it.
_ROLE_NAME = re.compile(r"/?([A-Za-z0-9+=,.@_/-]{1,510}/)?[A-Za-z0-9+=,.@_-]{1,64}")


def _matching(pattern: re.Pattern[str], message: str) -> Callable[[str], str]:
    def rule(value: str) -> str:
        if not pattern.fullmatch(value.strip()):
            raise Invalid(Problem("invalid", message))
        return value.strip()

    return rule


_COMMON = (
    Field("name", text(names.account_name), required=True),
    Field("user", reference(), fixed=True),
    Field("authentication", choice(*Authentication), required=True),
    Field("aws_access_key", text(str.strip, max_length=128)),
    Field("aws_secret_key", password()),
    Field("account_number", text(_matching(_ACCOUNT_NUMBER, "Enter the 12 digits."))),
    Field("role_name", text(_matching(_ROLE_NAME, "Enter the name of a role, not its ARN."))),
    Field("external_id", text(max_length=1224), nullable=True),
    Field("assume_from_account", reference()),
)
BACKUP_FIELDS = Fields(
    (
        *_COMMON,
        Field("scan_tagged_resources", boolean()),
        Field("scan_regions", array(region())),
        Field("capture_vpcs", boolean()),
    )
)
DR_FIELDS = Fields((*_COMMON, Field("allow_deleting_snapshots", boolean())))

# What each authentication consists of, and what it may have besides.
_NEEDED: Mapping[str, frozenset[str]] = {
    Authentication.IAM_USER: frozenset({"aws_access_key", "aws_secret_key"}),
    Authentication.INSTANCE_ROLE: frozenset(),
    Authentication.ASSUME_ROLE: frozenset({"account_number", "role_name", "assume_from_account"}),
}
_CREDENTIALS = frozenset({"external_id"}).union(*_NEEDED.values())
_COLUMNS = {"aws_secret_key": "sealed_secret", "assume_from_account": "assume_from_account_id"}
# Texts are empty where they do not apply, everything else is null.
_EMPTY = {"aws_access_key": "", "account_number": "", "role_name": ""}


def create(
    data: Mapping[str, object], *, is_dr: bool, actor: Person, validate: bool = True
) -> Account:
    """Make an account, after AWS has said that the credentials are good, if it is to `validate`.

    Raises `Forbidden`, `Unlicensed`, `Invalid` and `Fault`.
    """
    access.require(actor, Action.CHANGE_ACCOUNTS)
    given = _read(data, is_dr=is_dr)
    account = Account(user_id=access.choose_owner(given, actor), is_dr_account=is_dr)
    account.scan_regions = DEFAULT_SCAN_REGIONS
    _apply(given, account, actor)
    if validate:
        account.aws_account_number = _number_by_aws(account)
    with transaction.atomic(), unique.kept_by("account_name_unique", "name"):
        limits.check_accounts(limits.lock_owner(account.user_id))
        _lock_base(account)
        account.save(force_insert=True)
        audit.record(actor, "create account", account.name)
    return account


def update(
    account_id: int,
    data: Mapping[str, object],
    *,
    is_dr: bool,
    actor: Person,
    validate: bool = True,
) -> None:
    """Change what `data` holds. Raises as `create` does, and `NotFound` and `Conflict`."""
    access.require(actor, Action.CHANGE_ACCOUNTS)
    rows = accounts.of_kind(actor, is_dr=is_dr)
    account = one(rows, account_id)
    given = _read(data, account, is_dr=is_dr)
    columns = _apply(given, account, actor)
    if validate:
        account.aws_account_number = _number_by_aws(account)
    with transaction.atomic(), unique.kept_by("account_name_unique", "name"):
        _lock_unchanged(account)
        _lock_base(account)
        account.save(update_fields=[*columns, "aws_account_number"])
        if _CREDENTIALS.union({"authentication"}).intersection(given):
            _end_sessions(account)
        audit.record(actor, "update account", account.name, ", ".join(given))


@transaction.atomic
def delete(account_id: int, *, is_dr: bool, actor: Person) -> None:
    """Forget an account. What is in AWS stays, and so do the records of the past.

    Raises `Forbidden`, `NotFound`, `Conflict`, and `Invalid` while something refers to it.
    """
    access.require(actor, Action.DELETE_ACCOUNTS)
    account = one(accounts.of_kind(actor, is_dr=is_dr).select_for_update(of=("self",)), account_id)
    if uses := accounts.uses_of(account):
        raise references.in_use("account", uses)
    if Recovery.objects.filter(account=account).exclude(phase=RecoveryPhase.CLOSED).exists():
        raise Conflict("A recovery in this account is under way.")
    copies = DrCopy.objects.filter(Q(account=account) | Q(original__account=account))
    if copies.exclude(phase=DrCopyPhase.CLOSED).exists():
        raise Conflict("Copies to or from this account are under way.")
    archived = S3Copy.objects.filter(original__account=account)
    if archived.exclude(phase=S3CopyPhase.CLOSED).exists():
        raise Conflict("Copies of this account's snapshots in S3 are under way.")
    name = account.name
    alerts.resolve_about(f"account:{account.pk}")
    account.delete()
    audit.record(actor, "delete account", name)


def _read(data: Mapping[str, object], account: Account | None = None, *, is_dr: bool) -> Given:
    """Read a body, except for credentials of another authentication than the account's."""
    authentication = data.get("authentication", account.authentication if account else None)
    foreign = _foreign(str(authentication))
    fields = DR_FIELDS if is_dr else BACKUP_FIELDS
    heeded = {name: value for name, value in data.items() if name not in foreign}
    return fields.read(heeded, partial=account is not None)


def _foreign(authentication: str) -> frozenset[str]:
    """The credentials that are not of this authentication; none where it is unknown."""
    if authentication not in _NEEDED:
        return frozenset()
    optional = {"external_id"} if authentication == Authentication.ASSUME_ROLE else set()
    return _CREDENTIALS - _NEEDED[authentication] - optional


def _apply(given: Given, account: Account, actor: Person) -> dict[str, Any]:
    """Put what is given into the row; returns it by column.

    Raises `Forbidden`, `Unlicensed` and `Invalid`.
    """
    authentication = given.get("authentication", account.authentication)
    if Authentication.INSTANCE_ROLE in (authentication, account.authentication):
        access.require(actor, Action.USE_INSTANCE_ROLE)
    crosses = account.is_dr_account or authentication == Authentication.ASSUME_ROLE
    if crosses and not Licence.current().cross_account:
        raise Unlicensed("The licence does not cover work across accounts.")
    _refuse_incomplete(given, account, authentication)
    _refuse_long_chains(given, account, authentication)
    siblings = Account.objects.filter(user_id=account.user_id).exclude(pk=account.pk)
    unique.refuse_taken(given, "name", siblings)
    given.check()
    columns = _columns(given)
    for column, value in columns.items():
        setattr(account, column, value)
    return columns


def _refuse_incomplete(given: Given, account: Account, authentication: str) -> None:
    refused = {problem.field for problem in given.problems}
    for name in sorted(_NEEDED.get(authentication, frozenset()) - refused - given.keys()):
        if not getattr(account, _COLUMNS.get(name, name)):
            given.refuse(name, "required", "This field is required.")


def _refuse_long_chains(given: Given, account: Account, authentication: str) -> None:
    """A role is assumed with credentials that are not themselves an assumed role."""
    if authentication != Authentication.ASSUME_ROLE:
        return
    if account.pk and account.assumed_by.exists():
        message = "Other accounts assume their roles from this one."
        given.refuse("authentication", "invalid", message)
    if "assume_from_account" not in given:
        return
    base_id = given["assume_from_account"]
    base = Account.objects.filter(pk=base_id, user_id=account.user_id).first()
    if base is None:
        references.refuse(given, "assume_from_account", base_id)
    elif base == account or base.authentication == Authentication.ASSUME_ROLE:
        message = "The account must have credentials of its own."
        given.refuse("assume_from_account", "invalid", message)


def _columns(given: Given) -> dict[str, Any]:
    """What changes, by column. A named authentication forgets what the others had."""
    columns = {_COLUMNS.get(name, name): value for name, value in given.items() if name != "user"}
    if "sealed_secret" in columns:
        columns["sealed_secret"] = settings.SEALER.seal(columns["sealed_secret"])
    if "authentication" in given:
        foreign = {_COLUMNS.get(name, name) for name in _foreign(given["authentication"])}
        columns |= {column: _EMPTY.get(column) for column in foreign}
    return columns


def _number_by_aws(account: Account) -> str:
    """The number of the account that the credentials open, by AWS; raises Fault.

    A region that is scanned tells the partition: keys of one are unknown in another.
    """
    home = regions.by_id(account.scan_regions[0]) if account.scan_regions else None
    return identify(aws_of(account, home.name if home else DEFAULT_REGION))


def _lock_base(account: Account) -> None:
    """Keep the account that the role is assumed from as it is until the commit."""
    if account.assume_from_account_id is None:
        return
    bases = Account.objects.select_for_update(no_key=True).exclude(
        authentication=Authentication.ASSUME_ROLE
    )
    if not bases.filter(pk=account.assume_from_account_id).exists():
        raise Conflict("The account that the role is assumed from is being changed.")


def _lock_unchanged(account: Account) -> None:
    """Lock the row; raises `Conflict` if its credentials are not those that were checked."""
    rows = Account.objects.select_for_update(no_key=True)
    if not rows.filter(pk=account.pk, credentials_version=account.credentials_version).exists():
        raise Conflict("The credentials of this account are being changed by somebody else.")


def _end_sessions(account: Account) -> None:
    """Let no cached session be used any longer, also not of roles that begin with this account."""
    concerned = Account.objects.filter(Q(pk=account.pk) | Q(assume_from_account=account))
    concerned.update(credentials_version=F("credentials_version") + 1)
