"""How workers get into AWS: handles made from account rows."""

from functools import lru_cache

from django.conf import settings

from cpm.aws import sessions
from cpm.aws.credentials import AssumedRole, Credentials, InstanceRole, StaticKeys, role_arn
from cpm.aws.sessions import Aws, Cloud, Proxy
from cpm.config.secrets import SealBroken
from cpm.engine.budget import SharedBudget
from cpm.engine.settings import ProxySettings
from cpm.kernel.faults import Fault, FaultKind
from cpm.models.accounts import Account, Authentication

# Where credentials are tried; every commercial account has it.
_HOME_REGION = "us-east-1"


def aws_of(account: Account | None, region: str) -> Aws:
    """The handle of an account in a region. Raises Fault where the account cannot be entered."""
    if account is None:
        raise Fault(FaultKind.INVALID, "the account was deleted from the server")
    cloud = _cloud(settings.ENVIRONMENT.aws_endpoint, proxy())
    number = account.aws_account_number or account.account_number
    return cloud.aws(_credentials(account, cloud.partition(region)), region, number)


def identify(account: Account) -> str:
    """The number of the account that its credentials open; the row need not be stored yet.

    Raises Fault.
    """
    return sessions.identify(aws_of(account, _HOME_REGION))


def number_of(account: Account) -> str:
    """The number by which AWS knows the account; AWS is asked where it is not known yet.

    Raises Fault.
    """
    number = account.aws_account_number or account.account_number
    if not number:
        number = identify(account)
        Account.objects.filter(pk=account.pk, aws_account_number="").update(
            aws_account_number=number
        )
    return number


def forbids_deleting(account: Account | None) -> bool:
    """Whether what is in the account may be marked as expired, but not deleted."""
    return account is not None and not account.allow_deleting_snapshots


def proxy() -> Proxy | None:
    """The proxy that everything takes on its way out, if there is one."""
    chosen = ProxySettings.current()
    if not chosen.enabled or chosen.port is None:
        return None
    sealed = chosen.sealed_password
    return Proxy(
        host=chosen.address,
        port=chosen.port,
        user=chosen.username,
        password=settings.SEALER.open(sealed.encode()) if sealed else "",
    )


def _credentials(account: Account, partition: str) -> Credentials:
    match Authentication(account.authentication):
        case Authentication.IAM_USER:
            return StaticKeys(account.aws_access_key, _secret(account))
        case Authentication.INSTANCE_ROLE:
            return InstanceRole()
        case Authentication.ASSUME_ROLE:
            return _assumed_role(account, partition)


def _assumed_role(account: Account, partition: str) -> AssumedRole:
    base = account.assume_from_account
    if base is None:
        raise Fault(FaultKind.INVALID, f"account {account.name} does not say who assumes its role")
    return AssumedRole(
        base=_credentials(base, partition),
        role_arn=role_arn(partition, account.account_number, account.role_name),
        external_id=account.external_id,
    )


def _secret(account: Account) -> str:
    try:
        return settings.SEALER.open(bytes(account.sealed_secret or b""))
    except SealBroken:
        raise Fault(
            FaultKind.DENIED,
            f"the secret key of account {account.name} was sealed with another server's key;"
            " enter it again",
        ) from None


# A change of the proxy makes another cloud; those that go away take their connections with them.
@lru_cache(maxsize=2)
def _cloud(endpoint_url: str, proxy: Proxy | None) -> Cloud:
    return Cloud(endpoint_url=endpoint_url, proxy=proxy, budget=SharedBudget())
