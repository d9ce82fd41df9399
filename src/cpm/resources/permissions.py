"""What an account has to allow the server: IAM policies, derived from what the drivers declare."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cpm.archive import keys, s3, source, target
from cpm.aws import lending
from cpm.resources import machines, registry, sns, tagged
from cpm.resources.contract import Driver, Effect, Json

# So many characters a managed policy may have; IAM does not count white space.
LONGEST = 6144
_VERSION = "2012-10-17"
_HAND_ON = "iam:PassRole"
_KEYS = "kms:"
# Parts of services that roles are made for by names of their own.
_PASSED_ON = {"rds": ("monitoring.rds",)}


class AccountType(StrEnum):
    """What the server uses an account for."""

    BACKUP = "backup"
    DR = "dr"


@dataclass
class Rights:
    """IAM actions, by how far they can be narrowed."""

    plain: set[str] = field(default_factory=set)
    # Use of keys, which AWS makes in the caller's name: through which services.
    keys: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    # Use of keys for archives, which the server makes itself.
    archive_keys: set[str] = field(default_factory=set)
    # To which services roles are handed.
    passed_to: set[str] = field(default_factory=set)

    def read(self, actions: Iterable[str]) -> None:
        """Add what the server calls itself."""
        self.plain.update(actions)

    def have_done(self, service: str, actions: Iterable[str]) -> None:
        """Add what one service of AWS asks for in the course of a call."""
        for action in actions:
            if action.startswith(_KEYS):
                self.keys[action].add(service)
            elif action == _HAND_ON:
                self.passed_to.update((service, *_PASSED_ON.get(service, ())))
            else:
                self.plain.add(action)


def documents(
    account_type: AccountType, *, may_delete: bool = True, roles: Sequence[str] = ()
) -> list[Json]:
    """The least policies that let the server do its work, each no longer than AWS allows.

    In a DR account that is not to let it delete, it marks what has expired instead. `roles` are
    ARNs in other accounts that it enters by way of this one.
    """
    rights = Rights()
    for driver in _drivers(account_type):
        _add(rights, driver, account_type, may_delete=may_delete)
    # What has been copied to S3 comes back anywhere.
    rights.read(target.PERMISSIONS)
    if account_type is AccountType.BACKUP:
        rights.read(tagged.PERMISSIONS)
        rights.read(sns.PERMISSIONS)
        rights.read(s3.PERMISSIONS)
        rights.read(machines.PERMISSIONS)
        rights.read(lending.PERMISSIONS)
        rights.archive_keys.update(keys.PERMISSIONS)
        rights.read(source.PERMISSIONS)
    statements = list(_statements(rights))
    if roles:
        assume = _statement("AssumeRole", {"sts:AssumeRole"})
        statements.append({**assume, "Resource": sorted(roles)})
    whole = _document(statements)
    return [whole] if length(whole) <= LONGEST else list(_split(statements))


def length(document: Json) -> int:
    """How long a policy is, as IAM counts."""
    return len(json.dumps(document, separators=(",", ":")))


def _drivers(account_type: AccountType) -> list[Driver]:
    """The types that such an account can have to do with."""
    if account_type is AccountType.BACKUP:
        return list(registry.drivers())
    return [driver for driver in registry.drivers() if driver.plan_copy is not None]


def _add(rights: Rights, driver: Driver, account_type: AccountType, *, may_delete: bool) -> None:
    effects = list(_effects(driver, account_type))
    watches = {effect.watch for effect in effects}
    watches |= {collection.shared_watch for collection in driver.snapshot_collections}
    rights.read(driver.read_permissions)
    for watch in driver.watches:
        if watch.name in watches:
            rights.read(watch.permissions)
    deletions = {collection.delete for collection in driver.snapshot_collections}
    for effect in effects:
        if may_delete or effect.name not in deletions:
            rights.have_done(_service(effect), effect.permissions)
        if may_delete or effect.expire is None:
            rights.have_done(_service(effect), effect.undo_permissions)
        rights.have_done(_service(effect), effect.expire_permissions)


def _effects(driver: Driver, account_type: AccountType) -> Iterator[Effect]:
    """What is done in such an account: all of it, or what copies and their recovery need."""
    originals, copies = (
        {each.delete for each in driver.snapshot_collections if each.is_copy is is_copy}
        for is_copy in (False, True)
    )
    for effect in driver.effects:
        is_at_source = effect.at_source or effect.for_consistency
        is_at_source |= effect.name in originals - copies
        if account_type is AccountType.BACKUP or not is_at_source:
            yield effect


def _service(effect: Effect) -> str:
    return effect.operation.partition(":")[0]


def _statements(rights: Rights) -> Iterator[Json]:
    by_service: dict[str, set[str]] = defaultdict(set)
    for action in rights.plain:
        by_service[action.partition(":")[0]].add(action)
    for service, actions in sorted(by_service.items()):
        yield _statement(service.title(), actions)
    # What the server may do itself it need not be allowed again.
    used = {action: via for action, via in rights.keys.items() if action not in rights.plain}
    if used:
        services = {service for via in used.values() for service in via}
        yield _statement("UseOfKeys", used, "kms:ViaService", services, "{}.*")
    if rights.archive_keys:
        # Of nothing else: what EBS and others have encrypted has no such context.
        context = {"Null": {f"kms:EncryptionContext:{keys.CONTEXT}": "false"}}
        yield {**_statement("ArchiveKeys", rights.archive_keys), "Condition": context}
    if rights.passed_to:
        # In China the names of services end otherwise.
        name = "{}.amazonaws.com*"
        yield _statement("PassRole", {_HAND_ON}, "iam:PassedToService", rights.passed_to, name)


def _statement(
    sid: str,
    actions: Iterable[str],
    key: str = "",
    services: Iterable[str] = (),
    pattern: str = "",
) -> Json:
    condition = {"StringLike": {key: sorted(map(pattern.format, services))}}
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": "*",
        **({"Condition": condition} if key else {}),
    }


def _split(statements: Iterable[Json]) -> Iterator[Json]:
    """As few policies as it takes, each with the statements that it has room for."""
    held: list[Json] = []
    for statement in statements:
        if held and length(_document([*held, statement])) > LONGEST:
            yield _document(held)
            held = []
        held.append(statement)
    yield _document(held)


def _document(statements: list[Json]) -> Json:
    return {"Version": _VERSION, "Statement": statements}
