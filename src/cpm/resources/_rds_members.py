"""The members of a recovered cluster: the writer, then the readers, as the original had them."""

from collections.abc import Iterator, Sequence

from cpm.aws.sessions import Aws
from cpm.resources import _rds, _rds_clusters, _rds_instances, _rds_network, _rds_ties
from cpm.resources._rds_options import ClusterOptions
from cpm.resources._rds_recovery import chosen, given
from cpm.resources._recovery import wanted_tags
from cpm.resources.contract import Json, OptionRefused, Order
from cpm.resources.copied import Source

# What is asked of members has no meaning where AWS makes them, or where there are none.
_OF_MEMBERS = ("instance_identifier", "availability_zone")


def check(aws: Aws, source: Source, options: ClusterOptions, snapshot: Json) -> None:
    """Raise OptionRefused unless what is asked of the members can be."""
    if _rds_clusters.is_serverless(source.facts):
        text = "a serverless cluster has no members"
        _refuse(options, (*_OF_MEMBERS, "instance_class"), text)
    elif not _rds_clusters.is_aurora(source.facts):
        text = "AWS itself makes the members of a Multi-AZ cluster"
        _refuse(options, _OF_MEMBERS, text)
    if options.instance_class:
        _rds_network.check_class(aws, "instance_class", options.instance_class, snapshot)


def _refuse(options: ClusterOptions, names: Sequence[str], text: str) -> None:
    for name in names:
        if getattr(options, name):
            raise OptionRefused(name, "invalid", text)


def orders(
    aws: Aws, source: Source, options: ClusterOptions, group: Json | None
) -> Iterator[Order]:
    """What makes the members of the cluster that the step `cluster` has restored."""
    if _rds_clusters.is_serverless(source.facts) or not _rds_clusters.is_aurora(source.facts):
        return
    writer, *readers = source.facts["members"] or [_only_member(source, options)]
    asked = (options.instance_identifier or "").lower()
    ids = [writer["id"], *(reader["id"] for reader in readers)]
    taken = _rds.taken(aws, _rds.INSTANCES, [asked, *ids])
    wishes = [
        _rds.naming("instance_identifier", asked, writer["id"], taken),
        # They come after the writer, which may have got one of their names.
        *(_rds.naming("", None, reader["id"], taken | {asked}) for reader in readers),
    ]
    zones = [options.availability_zone, *(None for _ in readers)]
    for number, member in enumerate([writer, *readers]):
        zone = _rds_network.zone(aws, source, zones[number], member["availability_zone"], group)
        parameters = given({**_parameters(aws, source, options, member), "AvailabilityZone": zone})
        wanted = wanted_tags(options, member["tags"])
        spec = {**wishes[number], "tags": wanted, "parameters": parameters}
        made = _order(number, spec)
        yield made
        ties = member.get("ties") or _rds_ties.NONE
        yield from _rds_ties.orders(aws, source, ties, _rds.INSTANCES, made.step, after=made.step)


def _order(number: int, spec: Json) -> Order:
    if number == 0:
        return Order(_rds_instances.CREATE_WRITER.name, spec, step="writer", after="cluster")
    return Order(_rds_instances.CREATE_READER.name, spec, step=f"reader-{number}", after="writer")


def _parameters(aws: Aws, source: Source, options: ClusterOptions, member: Json) -> Json:
    public = chosen(options.publicly_accessible, member["publicly_accessible"])
    original = member["parameter_group"]
    return {
        "DBInstanceClass": options.instance_class or member["instance_class"],
        "Engine": source.facts["engine"],
        "PubliclyAccessible": public,
        "DBParameterGroupName": _rds_network.group(
            aws, source, _rds_network.PARAMETERS, None, original
        ),
        "PromotionTier": member["promotion_tier"],
        "AutoMinorVersionUpgrade": member["auto_minor_version_upgrade"],
        "PreferredMaintenanceWindow": member["maintenance_window"],
    }


def _only_member(source: Source, options: ClusterOptions) -> Json:
    """The first of a cluster that had none: one must be there."""
    if not options.instance_class:
        text = f"{source.resource_id} had no members: say of which class its first is to be"
        raise OptionRefused("instance_class", "required", text)
    return {
        "id": f"{source.resource_id[: _rds.LONGEST_NAME - 2].rstrip('-')}-1",
        "promotion_tier": None,
        "instance_class": None,
        "availability_zone": None,
        "publicly_accessible": False,
        "parameter_group": None,
        "auto_minor_version_upgrade": True,
        "maintenance_window": None,
        "tags": source.facts["tags"],
    }
