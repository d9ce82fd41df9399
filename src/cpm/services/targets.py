"""Writes of targets: what a policy protects, with the options that its resource type declares."""

from collections.abc import Mapping
from functools import cache

from django.db import transaction

from cpm.engine.accounts import aws_of
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.policies import Policy, Target, TargetVolume
from cpm.queries import policies, targets
from cpm.queries.errors import one
from cpm.queries.people import Person
from cpm.resources.contract import Driver, OptionRefused, Part, Resource
from cpm.resources.options import make
from cpm.services import access, audit, limits, options, unique
from cpm.services.access import Action
from cpm.services.fields import Field, Fields
from cpm.services.given import Given
from cpm.services.kinds import text
from cpm.services.references import region_name

VOLUME_FIELDS = Fields((Field("volume_id", text(str.strip, max_length=64), required=True),))


@cache
def fields_of(driver: Driver) -> Fields:
    """What a body about a target of this type may hold."""
    resource_id = Field(
        "resource_id",
        text(str.strip, max_length=255),
        required=True,
        fixed=True,
        aliases=(driver.target_id_alias,),
    )
    where = Field("region", region_name(), required=True, fixed=True)
    return Fields((resource_id, where, *options.fields(driver.target_options)))


def add(
    policy_id: int,
    driver: Driver,
    data: Mapping[str, object],
    *,
    actor: Person,
    validate: bool = True,
) -> Target:
    """Let a policy protect one more resource, which AWS must know if it is to `validate`.

    Raises `Forbidden`, `NotFound`, `Invalid` and `Fault`.
    """
    access.require(actor, Action.CHANGE_BACKUPS)
    policy = one(policies.visible_to(actor).select_related("account"), policy_id)
    given = fields_of(driver).read(data)
    _refuse_twice(given, policy, driver)
    given.check()
    resource_id, where = given.pop("resource_id"), given.pop("region")
    found, defaults = Resource(driver.kind, resource_id, where), {}
    if validate:
        found = _described(driver, policy, resource_id, where)
        defaults = driver.target_defaults(found) if driver.target_defaults else {}
        _check_options(driver, policy, found, {**defaults, **given})
    target = Target(
        policy=policy,
        kind=driver.kind,
        resource_id=resource_id,
        region=where,
        name=found.name,
        size_gib=found.size_gib,
        options={**defaults, **given},
    )
    with transaction.atomic(), unique.kept_by("target_unique", "resource_id"):
        owner = limits.lock_owner(policy.user_id)
        one(policies.visible_to(actor).select_for_update(of=("self",), no_key=True), policy_id)
        target.save(force_insert=True)
        limits.check_targets(owner, driver)
        audit.record(actor, "create target", policy.name, f"{driver.label} {resource_id}")
    return target


def update(
    policy_id: int,
    driver: Driver,
    target_id: int,
    data: Mapping[str, object],
    *,
    actor: Person,
    validate: bool = True,
) -> None:
    """Change the options that `data` holds; if it is to `validate`, to what suits the resource.

    Raises `Forbidden`, `NotFound`, `Invalid` and `Fault`.
    """
    access.require(actor, Action.CHANGE_BACKUPS)
    rows = targets.of_type(actor, policy_id, driver).select_related("policy__account")
    target = one(rows, target_id)
    given = fields_of(driver).read(data, partial=True)
    given.check()
    if validate and given:
        _check_changed(driver, target, given)
    with transaction.atomic():
        target = _locked(policy_id, driver, target_id, actor)
        # A tag that added it has its options read anew.
        Target.objects.filter(pk=target_id).update(options=target.options | given, tag="")
        _record(actor, "update target", target, ", ".join(given))


@transaction.atomic
def remove(policy_id: int, driver: Driver, target_id: int, *, actor: Person) -> None:
    """Let a policy protect a resource no longer. Raises `Forbidden` and `NotFound`."""
    access.require(actor, Action.CHANGE_BACKUPS)
    target = _locked(policy_id, driver, target_id, actor)
    Target.objects.filter(pk=target_id).delete()
    _record(actor, "delete target", target)


def name_volume(
    policy_id: int,
    driver: Driver,
    target_id: int,
    data: Mapping[str, object],
    *,
    actor: Person,
    validate: bool = True,
) -> TargetVolume:
    """Name a volume of a target, to be included or left out as its `volumes_mode` says.

    Raises `Forbidden`, `NotFound`, `Invalid` and `Fault`.
    """
    access.require(actor, Action.CHANGE_BACKUPS)
    rows = targets.of_type(actor, policy_id, driver).select_related("policy__account")
    target = one(rows, target_id)
    given = VOLUME_FIELDS.read(data)
    unique.refuse_taken(given, "volume_id", target.volumes.filter(added_by_tag=False))
    given.check()
    part = _part(driver, target, given["volume_id"]) if validate else None
    volume = TargetVolume(
        target=target,
        volume_id=given["volume_id"],
        device=part.device if part else None,
        size_gib=part.size_gib if part else None,
    )
    with transaction.atomic(), unique.kept_by("target_volume_unique", "volume_id"):
        _locked(policy_id, driver, target_id, actor)
        # Whoever names it makes it his own.
        target.volumes.filter(volume_id=volume.volume_id, added_by_tag=True).delete()
        volume.save(force_insert=True)
        _record(actor, "create target volume", target, volume.volume_id)
    return volume


@transaction.atomic
def forget_volume(
    policy_id: int, driver: Driver, target_id: int, volume_id: int, *, actor: Person
) -> None:
    """Name a volume no longer. Raises `Forbidden` and `NotFound`."""
    access.require(actor, Action.CHANGE_BACKUPS)
    target = _locked(policy_id, driver, target_id, actor)
    volume = one(targets.volumes(actor, policy_id, driver, target_id), volume_id)
    volume.delete()
    _record(actor, "delete target volume", target, volume.volume_id)


def _locked(policy_id: int, driver: Driver, target_id: int, actor: Person) -> Target:
    rows = targets.of_type(actor, policy_id, driver).select_related("policy")
    return one(rows.select_for_update(of=("self",)), target_id)


def _record(actor: Person, event_type: str, target: Target, detail: str = "") -> None:
    words = [f"{target.resource_id} in {target.region}", *([detail] if detail else [])]
    audit.record(actor, event_type, target.policy.name, ": ".join(words))


def _refuse_twice(given: Given, policy: Policy, driver: Driver) -> None:
    """A policy protects a resource once."""
    if "region" in given:
        siblings = policy.targets.filter(kind=driver.kind, region=given["region"])
        unique.refuse_taken(given, "resource_id", siblings)


def _described(driver: Driver, policy: Policy, resource_id: str, where: str) -> Resource:
    """The resource as AWS describes it; raises `Fault`, and `Invalid` where there is none."""
    for found in driver.describe(aws_of(policy.account, where), [resource_id]):
        if found.resource_id == resource_id:
            return found
    message = f"{driver.label} {resource_id} does not exist in {where} of {policy.account.name}."
    raise Invalid(Problem("does_not_exist", message, "resource_id"))


def _check_changed(driver: Driver, target: Target, given: Given) -> None:
    """Check the options as they will be; what AWS has no longer can be set to anything."""
    if driver.check_target is None:
        return
    named = [volume.volume_id for volume in target.volumes.all()]
    chosen = {**target.options, **given, "volumes": named}
    aws = aws_of(target.policy.account, target.region)
    for found in driver.describe(aws, [target.resource_id]):
        _check_options(driver, target.policy, found, chosen)


def _check_options(
    driver: Driver, policy: Policy, found: Resource, chosen: Mapping[str, object]
) -> None:
    """Raise `Invalid` where the options do not suit the resource, and `Fault`."""
    if driver.check_target is None:
        return
    wanted: object = make(driver.target_options, chosen)
    try:
        driver.check_target(aws_of(policy.account, found.region), found, wanted)
    except OptionRefused as refusal:
        raise Invalid(Problem(refusal.code, refusal.message, refusal.field)) from None


def _part(driver: Driver, target: Target, volume_id: str) -> Part:
    """What would be taken of the volume, if the whole resource were protected."""
    found = _described(driver, target.policy, target.resource_id, target.region)
    for order in driver.plan_snapshots(found, driver.target_options()):
        for part in order.parts:
            if part.resource_id == volume_id:
                return part
    message = f"{target.resource_id} has no volume {volume_id}."
    raise Invalid(Problem("does_not_exist", message, "volume_id"))
