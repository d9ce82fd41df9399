"""EC2 instances: crash-consistent snapshots of their volumes, AMIs, and launches from these."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.tagspec import Option
from cpm.resources import (
    _agents,
    _commands,
    _ebs_snapshots,
    _ec2,
    _image_copies,
    _images,
    _instance_adjustments,
    _instance_facts,
    _instance_recovery,
    _instance_scripts,
    _instances,
    _root_exchange,
    _volumes,
    _vss,
)
from cpm.resources._instance_options import RecoverOptions, TargetOptions
from cpm.resources.contract import (
    Ask,
    Driver,
    Effect,
    Json,
    OptionRefused,
    Order,
    Part,
    Refs,
    Resource,
    SnapshotCollection,
    TagRules,
)

_IMAGES_ONLY = ("A", "N")
_APP_AWARE = {"agent_enabled": True, "scripts_enabled": True}
# The step of a chain that makes them.
_SNAPSHOTS = "snapshots"
_NO_ROOT = "an AMI needs the root volume, which is left out"
# `CreateSnapshots` takes so many volumes to leave out.
_MOST_EXCLUDED = 40


def _discover(aws: Aws) -> Iterator[Resource]:
    # A page of instances at a time: their volumes are asked for together, memory stays bounded.
    for page in _pages(_ec2.all_instances(aws)):
        yield from _with_parts(aws, page)


def _describe(aws: Aws, ids: Iterable[str]) -> Iterator[Resource]:
    for page in _pages(_ec2.instances(aws, ids)):
        yield from _with_parts(aws, page)


def _pages(found: Iterable[Json]) -> Iterator[list[Json]]:
    numbered = enumerate(found)
    for _, page in groupby(numbered, key=lambda item: item[0] // _ec2.INSTANCES.per_call):
        yield [instance for _, instance in page]


def _with_parts(aws: Aws, instances: list[Json]) -> Iterator[Resource]:
    ids = [each for instance in instances for each in _ec2.device_mappings(instance).values()]
    described = _ec2.by_ids(aws, _ec2.VOLUMES, ids)
    volumes = {volume["VolumeId"]: _volumes.resource(volume, aws.region) for volume in described}
    images = _images.listed(aws, {instance.get("ImageId", "") for instance in instances})
    for instance in instances:
        yield _instance_facts.resource(instance, volumes, images, aws.region)


def _target_defaults(instance: Resource) -> Json:
    return {"backup_option": "I"} if instance.facts["platform"] == "windows" else {}


def _check_target(aws: Aws, instance: Resource, options: TargetOptions) -> None:
    if options.vss_enabled and instance.facts["platform"] != "windows":
        raise OptionRefused("vss_enabled", "invalid", "only Windows has VSS")
    if options.vss_enabled and not options.agent_enabled:
        raise OptionRefused("vss_enabled", "invalid", "VSS needs the agent")
    if options.vss_enabled and options.backup_option in _IMAGES_ONLY:
        raise OptionRefused("vss_enabled", "invalid", "VSS makes snapshots, and no AMIs")
    if options.backup_option in _IMAGES_ONLY and _leaves_out_root(instance, options):
        raise OptionRefused("volumes_mode", "invalid", _NO_ROOT)
    if options.initial_ami:
        _check_given(aws, instance, options.initial_ami)


def _leaves_out_root(instance: Resource, options: TargetOptions) -> bool:
    # Of a list that is empty more may come: the volumes are named one by one, after this.
    is_open = options.volumes_mode == "I" and not options.volumes
    roots = [volume for volume in instance.facts["volumes"] if _is_root(instance, volume)]
    return not is_open and not any(_is_chosen(root, options) for root in roots)


def _check_given(aws: Aws, instance: Resource, image_id: str) -> None:
    image = _ec2.one(aws, _ec2.IMAGES, image_id)
    if image is None:
        text = f"{aws.region} has no AMI {image_id}"
        raise OptionRefused("initial_ami", "does_not_exist", text)
    if image["State"] != "available":
        text = f"AMI {image_id} is {image['State']}"
        raise OptionRefused("initial_ami", "invalid", text)
    facts = instance.facts
    fits = {"Architecture": facts["architecture"], "RootDeviceName": facts["root_device"]}
    other = [name for name, value in fits.items() if image.get(name) != value]
    if other or image.get("Platform", "") != facts["platform"]:
        text = f"AMI {image_id} does not fit {instance.resource_id}: other root device or platform"
        raise OptionRefused("initial_ami", "invalid", text)


def _plan_snapshots(instance: Resource, options: TargetOptions) -> Iterator[Order]:
    chosen = [volume for volume in instance.facts["volumes"] if _is_chosen(volume, options)]
    if not chosen:
        return
    yield from _made_consistent(instance, options, _copies(instance, options, chosen))
    if options.backup_option == "I" and any(_is_root(instance, each) for each in chosen):
        yield _initial_image(instance, options)


def _copies(instance: Resource, options: TargetOptions, chosen: list[Json]) -> list[Order]:
    if options.backup_option in _IMAGES_ONLY:
        no_reboot = options.backup_option == "N"
        return [_image(instance, chosen, _images.ONLY_AMIS, no_reboot=no_reboot)]
    snapshots = list(_snapshots_of(instance, chosen, by_vss=_wants_vss(instance, options)))
    if _wants_vss(instance, options) and snapshots[0].step == _SNAPSHOTS:
        return list(_vss.instead_of(snapshots, instance.resource_id))
    return snapshots


def _made_consistent(
    instance: Resource, options: TargetOptions, copies: list[Order]
) -> Iterable[Order]:
    """The copies with the instance's own scripts around them, where these are wanted."""
    if not (_is_awake(instance) and options.agent_enabled and options.scripts_enabled):
        return copies
    reboots = options.backup_option == "A"
    return _instance_scripts.around(instance, options.script_timeout, copies, reboots=reboots)


def _wants_vss(instance: Resource, options: TargetOptions) -> bool:
    is_asked_for = options.agent_enabled and options.vss_enabled
    return is_asked_for and instance.facts["platform"] == "windows" and _is_awake(instance)


def _is_awake(instance: Resource) -> bool:
    """Whether anything runs on it; what does not is consistent as it is."""
    return instance.facts["state"] not in ("stopping", "stopped")


def _initial_image(instance: Resource, options: TargetOptions) -> Order:
    """What the instance can be launched from: the root alone, as all data come from snapshots."""
    root = [each for each in instance.facts["volumes"] if _is_root(instance, each)]
    order = _image(instance, root, _images.INITIAL_AMIS, no_reboot=True)
    given_ref = options.initial_ami or ""
    return replace(order, parts=[replace(part, given_ref=given_ref) for part in order.parts])


def _is_root(instance: Resource, volume: Json) -> bool:
    return bool(volume["device"] == instance.facts["root_device"])


def _image(
    instance: Resource, chosen: Sequence[Json], collection: str, *, no_reboot: bool
) -> Order:
    """The order of an AMI with the chosen volumes; raises OptionRefused when it would not boot."""
    devices = [volume["device"] for volume in chosen]
    if instance.facts["root_device"] not in devices:
        raise OptionRefused("volumes_mode", "invalid", _NO_ROOT)
    left_out = [volume["device"] for volume in instance.facts["volumes"] if volume not in chosen]
    spec = {
        "instance_id": instance.resource_id,
        "devices": devices,
        "left_out": left_out,
        "no_reboot": no_reboot,
        "tags": dict(instance.tags),
    }
    part = Part(
        kind=_instance_facts.KIND,
        collection=collection,
        resource_id=instance.resource_id,
        resource_name=instance.name,
        instance_id=instance.resource_id,
        size_gib=sum(volume["size_gib"] for volume in chosen),
        encrypted=all(volume["encrypted"] for volume in chosen),
    )
    return Order(_images.CREATE.name, spec, (part,), step=_images.STEP)


def _snapshots_of(instance: Resource, chosen: list[Json], *, by_vss: bool) -> Iterator[Order]:
    spec = _snapshots_spec(instance, instance.facts["volumes"], chosen)
    # VSS gives all volumes the same tags.
    spec["copy_tags"] = spec["copy_tags"] and not by_vss
    # Each copy knows which belong with it, so that a recovery notices when one is missing.
    chosen = [volume | {"set_devices": spec["devices"]} for volume in chosen]
    if len(spec["exclude"]) > _MOST_EXCLUDED:
        # AWS cannot leave out so many; then each is a call, and consistent by itself.
        yield from map(_ebs_snapshots.single, chosen)
        return
    yield Order("snapshots", spec, tuple(map(_volumes.part, chosen)), step=_SNAPSHOTS)
    if not spec["copy_tags"]:
        wanted = {volume["volume_id"]: volume["tags"] for volume in chosen}
        yield Order("tag_snapshots", {"tags": wanted}, step="tags", after=_SNAPSHOTS)


def _is_chosen(volume: Json, options: TargetOptions) -> bool:
    is_listed = volume["volume_id"] in options.volumes
    is_left_out = volume["volume_id"] in options.excluded
    return {
        "A": not is_left_out,
        "I": is_listed,
        "E": not is_listed and not is_left_out,
    }[options.volumes_mode]


def _leave_out(options: Json, any_volume: bool) -> Json | None:
    mode = options.get("volumes_mode", "A")
    if mode == "I":
        return None
    return {**options, "volumes_mode": "E" if any_volume else "A"}


def _snapshots_spec(instance: Resource, volumes: list[Json], chosen: list[Json]) -> Json:
    root_device = instance.facts["root_device"]
    left_out = [volume for volume in volumes if volume not in chosen]
    return {
        "instance_id": instance.resource_id,
        "devices": [volume["device"] for volume in chosen],
        "exclude_root": any(volume["device"] == root_device for volume in left_out),
        "exclude": [volume["volume_id"] for volume in left_out if volume["device"] != root_device],
        # Else the marks go into the call, and the volumes' tags follow as far as there is room.
        "copy_tags": all(tags.can_be_copied_by_aws(volume["tags"]) for volume in chosen),
    }


def _snapshots(aws: Aws, ask: Ask) -> Refs:
    by_vss = ask.earlier.get(_vss.MADE)
    return dict(by_vss) if by_vss else _crash_consistent(aws, ask)


def _crash_consistent(aws: Aws, ask: Ask) -> Refs:
    spec = ask.spec
    what = " ".join([spec["instance_id"], *spec["devices"]])
    chosen = {"InstanceId": spec["instance_id"], "ExcludeBootVolume": spec["exclude_root"]}
    if spec["exclude"]:
        chosen["ExcludeDataVolumeIds"] = spec["exclude"]
    made = aws.call(
        "ec2",
        "CreateSnapshots",
        Description=_ebs_snapshots.description(ask.marks, what),
        InstanceSpecification=chosen,
        TagSpecifications=[tags.specification("snapshot", ask.marks)],
        **({"CopyTagsFromSource": "volume"} if spec["copy_tags"] else {}),
    )
    return {each["VolumeId"]: each["SnapshotId"] for each in made["Snapshots"]}


def _tag_snapshots(aws: Aws, ask: Ask) -> Refs:
    for volume_id, snapshot_id in ask.earlier[_SNAPSHOTS].items():
        _ec2.put_tags(aws, ask, snapshot_id, ask.spec["tags"].get(volume_id, {}))
    return {}


DRIVER = Driver(
    kind=_instance_facts.KIND,
    label="EC2 instance",
    label_plural="EC2 instances",
    target_collection="instances",
    target_id_alias="instance_id",
    recovery_type="I",
    snapshot_collections=(
        SnapshotCollection(
            name=_images.ONLY_AMIS,
            label="AMIs",
            extra_keys=("instance_id",),
            copied_as=_images.ONLY_DR_AMIS,
        ),
        SnapshotCollection(
            name=_images.INITIAL_AMIS,
            label="Initial AMIs",
            extra_keys=("instance_id",),
            shared_watch=_images.WATCH.name,
            copied_as=_images.DR_INITIAL_AMIS,
        ),
        SnapshotCollection(
            name=_images.ONLY_DR_AMIS,
            label="DR AMIs",
            extra_keys=("instance_id",),
            is_copy=True,
            expire=_image_copies.EXPIRE.name,
        ),
        SnapshotCollection(
            name=_images.DR_INITIAL_AMIS,
            label="DR initial AMIs",
            extra_keys=("instance_id",),
            shared_watch=_images.WATCH.name,
            is_copy=True,
            expire=_image_copies.EXPIRE.name,
        ),
    ),
    effects=(
        Effect(
            name="snapshots",
            operation="ec2:CreateSnapshots",
            permissions=("ec2:CreateSnapshots", "ec2:CreateTags", "ec2:DescribeSnapshots"),
            start=_snapshots,
            find=_ebs_snapshots.find,
            watch=_ebs_snapshots.WATCH.name,
            at_source=True,
        ),
        Effect(
            name="tag_snapshots",
            operation="ec2:CreateTags",
            permissions=("ec2:CreateTags",),
            start=_tag_snapshots,
            tidies_up=True,
            at_source=True,
        ),
        _ebs_snapshots.SINGLE,
        *_instance_scripts.EFFECTS,
        *_vss.EFFECTS,
        _images.CREATE,
        _images.DELETE,
        _image_copies.COPY,
        _image_copies.COPY_TO_SHARE,
        _image_copies.SHARE,
        _image_copies.SHARE_PART,
        _image_copies.EXPIRE,
        _images.REGISTER,
        _instances.RUN,
        _instances.TAG_VOLUMES,
        _instances.STOP,
        _instance_adjustments.MODIFY,
        _instance_adjustments.ADJUST,
        *_root_exchange.EFFECTS,
        _images.DEREGISTER,
    ),
    watches=(
        _ebs_snapshots.WATCH,
        _images.WATCH,
        _commands.WATCH,
        _instances.RUNNING,
        _instances.STARTED,
        _instances.STOPPED,
        _volumes.CREATED,
        _volumes.ATTACHED,
        _volumes.DETACHED,
    ),
    read_permissions=(
        "ec2:DescribeImages",
        "ec2:DescribeInstanceAttribute",
        "ec2:DescribeInstanceCreditSpecifications",
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeInstances",
        "ec2:DescribeKeyPairs",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribePlacementGroups",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSnapshots",
        "ec2:DescribeSubnets",
        "ec2:DescribeVolumes",
        *_image_copies.READ_PERMISSIONS,
        *_agents.PERMISSIONS,
        *_instance_recovery.READ_PERMISSIONS,
    ),
    discover=_discover,
    describe=_describe,
    plan_snapshots=_plan_snapshots,
    plan_recovery=_instance_recovery.plan,
    plan_restores=_instance_recovery.plan_restores,
    plan_copy=_image_copies.plan,
    target_options=TargetOptions,
    recover_options=RecoverOptions,
    target_is_changeable=True,
    limit="max_instances",
    shown_options=("backup_option",),
    target_defaults=_target_defaults,
    check_target=_check_target,
    in_aws_words=_instance_facts.in_aws_words,
    inventory=_images.inventory,
    agents=_agents.find,
    tag_rules=TagRules(
        "ec2",
        "instance/",
        {
            Option.ONLY_SNAPS: {"backup_option": "S"},
            Option.INITIAL_AMI: {"backup_option": "I"},
            Option.ONLY_AMIS: {"backup_option": "A"},
            Option.ONLY_AMIS_NOREBOOT: {"backup_option": "N"},
            Option.APP_AWARE: _APP_AWARE,
            Option.APP_AWARE_VSS: {**_APP_AWARE, "vss_enabled": True},
        },
        leave_out=_leave_out,
    ),
)
