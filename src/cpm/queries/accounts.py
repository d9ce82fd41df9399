"""Reads of accounts."""

from django.db.models import QuerySet

from cpm.models.accounts import Account
from cpm.queries.people import Person, owned_by


def visible_to(viewer: Person) -> QuerySet[Account]:
    """The accounts of both kinds that somebody sees."""
    return Account.objects.filter(owned_by(viewer))


def backup_accounts(viewer: Person) -> QuerySet[Account]:
    """Those of them that hold what is protected."""
    return visible_to(viewer).filter(is_dr_account=False)


def dr_accounts(viewer: Person) -> QuerySet[Account]:
    """Those of them that receive copies."""
    return visible_to(viewer).filter(is_dr_account=True)


def of_kind(viewer: Person, *, is_dr: bool) -> QuerySet[Account]:
    """Those of one kind."""
    return dr_accounts(viewer) if is_dr else backup_accounts(viewer)


def uses_of(account: Account) -> list[str]:
    """What refers to the account and would break without it, in words, by name."""
    policies = account.policies.order_by("name").values_list("name", flat=True)
    copying = account.policies_that_copy.order_by("name").values_list("name", flat=True)
    roles = account.assumed_by.order_by("name").values_list("name", flat=True)
    channels = account.channels.order_by("name").values_list("name", flat=True)
    repositories = account.s3_repositories.order_by("name").values_list("name", flat=True)
    workers = account.workers.order_by("region").values_list("region", flat=True)
    return [
        *(f"policy {name}" for name in policies),
        *(f"DR of policy {name}" for name in copying),
        *(f"account {name}" for name in roles),
        *(f"notification channel {name}" for name in channels),
        *(f"S3 repository {name}" for name in repositories),
        *(f"worker in {region}" for region in workers),
    ]
