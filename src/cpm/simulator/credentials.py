"""Who signed a request: users' long-lived keys and the sessions that roles hand out.

Users and their keys are moto's (so that IAM's own operations see them); sessions are kept here,
because they must expire.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from moto.iam.models import AccessKey, IAMBackend, iam_backends

from cpm.kernel import clock
from cpm.simulator import signatures
from cpm.simulator.errors import AwsError, Family, family_of
from cpm.simulator.operations import Signature
from cpm.simulator.web import Request

ADMINISTRATOR = "admin"
_EVERYTHING = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
)
_SESSIONS_KEPT = 20_000

# To look for a key in all accounts takes the longer the more there are.
_found_in: dict[str, str] = {}


@dataclass(frozen=True)
class Identity:
    """An authenticated caller."""

    account: str
    arn: str
    user_id: str
    user_name: str | None = None
    role_arn: str | None = None
    # What a session was narrowed to when it was opened; None when it was not.
    session_policy: str | None = None

    @property
    def is_session(self) -> bool:
        """Whether the caller is an assumed role."""
        return self.role_arn is not None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name by which a trust policy may mean this caller."""
        account_names = (self.account, f"arn:aws:iam::{self.account}:root")
        own = (self.arn, self.role_arn) if self.role_arn else (self.arn,)
        return account_names + own


@dataclass(frozen=True)
class Session:
    """Temporary credentials of an assumed role, or of somebody whom a user vouches for."""

    identity: Identity
    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: datetime


@dataclass
class Keyring:
    """All credentials that exist. `revoked` keys fail as deactivated ones do."""

    sessions: dict[str, Session] = field(default_factory=dict)

    def authenticate(self, request: Request, claim: Signature, revoked: frozenset[str]) -> Identity:
        """The caller behind `claim`; raises AwsError as AWS does when it is not genuine."""
        if claim.access_key_id in revoked:
            raise unknown_key(claim.service)
        session = self.sessions.get(claim.access_key_id)
        if session is not None:
            return _authenticate_session(request, claim, session)
        key = _user_key(claim.access_key_id)
        if key is None or key.status != "Active":
            raise unknown_key(claim.service)
        if not signatures.is_genuine(request, claim, str(key.secret_access_key)):
            raise bad_signature(claim.service)
        return _user_identity(key)

    def identity_of(self, access_key_id: str) -> Identity | None:
        """Whose key this is, unproven; None when it is nobody's."""
        session = self.sessions.get(access_key_id)
        if session is not None:
            return session.identity
        key = _user_key(access_key_id)
        return _user_identity(key) if key else None

    def open_session(self, identity: Identity, expires_at: datetime) -> Session:
        """New temporary credentials for `identity`, good until `expires_at`."""
        session = Session(
            identity=identity,
            access_key_id=_random_key_id("ASIA"),
            secret_access_key=secrets.token_urlsafe(30),
            session_token=secrets.token_urlsafe(180),
            expires_at=expires_at,
        )
        self.sessions[session.access_key_id] = session
        while len(self.sessions) > _SESSIONS_KEPT:
            del self.sessions[next(iter(self.sessions))]
        return session


@dataclass(frozen=True)
class AccountKey:
    """The long-lived key of an account's administrator."""

    account: str
    access_key_id: str
    secret_access_key: str


def open_account(
    account: str, access_key_id: str | None = None, secret_access_key: str | None = None
) -> AccountKey:
    """The administrator's key of `account`, made when the account is new or the key is given."""
    backend = _iam(account)
    keys: list[AccessKey] = []
    if ADMINISTRATOR in backend.users:
        keys = backend.users[ADMINISTRATOR].access_keys
    else:
        backend.create_user("us-east-1", ADMINISTRATOR)
        backend.put_user_policy(ADMINISTRATOR, "everything", _EVERYTHING)
    if not keys or access_key_id not in (None, keys[0].access_key_id):
        keys = [_add_key(backend, access_key_id, secret_access_key)]
    return AccountKey(account, str(keys[0].access_key_id), str(keys[0].secret_access_key))


def _add_key(
    backend: IAMBackend, access_key_id: str | None, secret_access_key: str | None
) -> AccessKey:
    for old in list(backend.users[ADMINISTRATOR].access_keys):
        backend.delete_access_key(old.access_key_id, ADMINISTRATOR)
    key = backend.create_access_key(ADMINISTRATOR)
    del backend.access_keys[key.access_key_id]
    key.access_key_id = access_key_id or _random_key_id("AKIA")
    key.secret_access_key = secret_access_key or secrets.token_urlsafe(30)
    backend.access_keys[key.access_key_id] = key
    return key


def accounts() -> Iterator[str]:
    """The accounts that have been opened."""
    yield from (account for account in list(iam_backends) if ADMINISTRATOR in _iam(account).users)


def unknown_key(service: str) -> AwsError:
    """What AWS says to a key that does not exist or is switched off."""
    invalid = "The security token included in the request is invalid."
    match family_of(service):
        case Family.EC2:
            return _auth_failure()
        case Family.S3:
            text = "The AWS Access Key Id you provided does not exist in our records."
            return AwsError("InvalidAccessKeyId", text, 403)
        case Family.QUERY:
            return AwsError("InvalidClientTokenId", invalid, 403)
        case Family.JSON:
            return AwsError("UnrecognizedClientException", invalid)


def bad_signature(service: str) -> AwsError:
    """What AWS says when the secret is not the key's."""
    text = (
        "The request signature we calculated does not match the signature you provided. Check your "
        "AWS Secret Access Key and signing method. Consult the service documentation for details."
    )
    match family_of(service):
        case Family.EC2:
            return _auth_failure()
        case Family.QUERY | Family.S3:
            return AwsError("SignatureDoesNotMatch", text, 403)
        case Family.JSON:
            return AwsError("InvalidSignatureException", text)


def _expired(service: str) -> AwsError:
    match family_of(service):
        case Family.EC2:
            return AwsError("RequestExpired", "Request has expired.")
        case Family.S3:
            return AwsError("ExpiredToken", "The provided token has expired.")
        case Family.QUERY:
            text = "The security token included in the request is expired"
            return AwsError("ExpiredToken", text, 403)
        case Family.JSON:
            text = "The security token included in the request is expired"
            return AwsError("ExpiredTokenException", text)


def _auth_failure() -> AwsError:
    text = "AWS was not able to validate the provided access credentials"
    return AwsError("AuthFailure", text, 401)


def _authenticate_session(request: Request, claim: Signature, session: Session) -> Identity:
    if request.headers.get("x-amz-security-token") != session.session_token:
        raise unknown_key(claim.service)
    if not signatures.is_genuine(request, claim, session.secret_access_key):
        raise bad_signature(claim.service)
    if clock.now() >= session.expires_at:
        raise _expired(claim.service)
    return session.identity


def _user_key(access_key_id: str) -> AccessKey | None:
    account = _account_of(access_key_id)
    key = _iam(account).access_keys[access_key_id] if account else None
    return key if key is not None and key.user_name is not None else None


def _user_identity(key: AccessKey) -> Identity:
    account = _account_of(str(key.access_key_id))
    if account is None:
        raise LookupError(f"the key {key.access_key_id} has no user")
    user = _iam(account).users[str(key.user_name)]
    return Identity(account, str(user.arn), str(user.id), user_name=str(user.name))


def _account_of(access_key_id: str) -> str | None:
    """The account that has the key: mostly where it was the last time."""
    known = _found_in.get(access_key_id)
    if known is not None and known in iam_backends and access_key_id in _iam(known).access_keys:
        return known
    for account in list(iam_backends):
        if access_key_id in _iam(account).access_keys:
            _found_in[access_key_id] = account
            return account
    return None


def _iam(account: str) -> IAMBackend:
    return iam_backends[account]["aws"]


def _random_key_id(prefix: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return prefix + "".join(secrets.choice(alphabet) for _ in range(16))
