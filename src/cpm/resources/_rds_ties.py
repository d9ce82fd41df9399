"""What ties a database to other services: its directory, its monitoring, its insights, its roles.

A restore takes none of it, or fails as a whole when a directory or a role is not there any longer.
So the database is tied when it is there, one tie after the other: one that AWS refuses leaves the
recovery partial, and the others follow all the same.
"""

from collections.abc import Iterator
from functools import partial

from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault
from cpm.resources import _rds
from cpm.resources.contract import Ask, Effect, Json, Once, Order, Refs
from cpm.resources.copied import Source

# What a database has that is tied to nothing, and one of a time before ties were remembered.
NONE: Json = {"monitoring": {}, "insights": {}, "directory": {}, "roles": []}
_OF_MEMBERS = ("monitoring", "insights")
# A membership that is being ended, or that never was.
_NO_MEMBERSHIP = ("disabl", "failed", "remov")
# How a membership says it, and how one is asked for: of a directory of AWS's, and of one's own.
_DIRECTORY = {"Domain": "Domain", "IAMRoleName": "DomainIAMRoleName"}
_OWN_DIRECTORY = {
    "FQDN": "DomainFqdn",
    "OU": "DomainOu",
    "AuthSecretArn": "DomainAuthSecretArn",
    "DnsIps": "DomainDnsIps",
}


def facts(described: Json) -> Json:
    """The ties of an instance or a cluster as RDS describes it: as parameters of changes."""
    return {
        "monitoring": _monitoring(described),
        "insights": _insights(described),
        "directory": _directory(described),
        "roles": [
            {name: role[name] for name in ("RoleArn", "FeatureName") if role.get(name)}
            for role in described.get("AssociatedRoles", ())
        ],
    }


def of_member(ties: Json) -> Json:
    """The ties that a member of an Aurora cluster has by itself; the others are its cluster's."""
    return NONE | {name: ties[name] for name in _OF_MEMBERS}


def of_aurora(ties: Json) -> Json:
    """The ties that an Aurora cluster has beside those of its members."""
    return ties | {name: NONE[name] for name in _OF_MEMBERS}


def orders(
    aws: Aws,
    source: Source,
    ties: Json,
    listing: _rds.Listing,
    made_by: str,
    *,
    after: str,
    once: Once = Once.DONE,
) -> Iterator[Order]:
    """What ties the database that a step has made as the original was, from another step on."""
    changes = [ties[name] for name in ("insights", "monitoring", "directory")]
    wishes = [(f"modify_{_word(listing)}", {"parameters": each}) for each in changes]
    wishes += [(f"add_role_to_{_word(listing)}", {"parameters": each}) for each in ties["roles"]]
    for number, (effect, spec) in enumerate(wishes, start=1):
        if _means_something(aws, source, spec["parameters"]):
            step = f"{made_by}-tie-{number}"
            yield Order(effect, spec | {"of": made_by}, step=step, after=after, once=once)
            after, once = step, Once.OVER


def dropped(aws: Aws, source: Source, ties: Json) -> Iterator[str]:
    """The ties that mean nothing where the database comes back, as lines of a log."""
    for tie in (ties["monitoring"], ties["directory"], *ties["roles"]):
        if tie and not _means_something(aws, source, tie):
            what = tie.get("Domain") or tie.get("DomainFqdn")
            role = tie.get("MonitoringRoleArn") or tie.get("RoleArn")
            yield f"{f'directory {what}' if what else f'role {role}'} means nothing here"


def modify(listing: _rds.Listing, watch: str) -> Effect:
    """The effect that changes what a step has made; the data are there without."""
    return Effect(
        name=f"modify_{_word(listing)}",
        operation=f"rds:Modify{listing.noun}",
        permissions=(f"rds:Modify{listing.noun}", "iam:PassRole"),
        start=partial(_modify, listing),
        watch=watch,
        tidies_up=True,
    )


def add_role(listing: _rds.Listing, watch: str) -> Effect:
    """The effect that gives what a step has made one of the original's roles."""
    return Effect(
        name=f"add_role_to_{_word(listing)}",
        operation=f"rds:AddRoleTo{listing.noun}",
        permissions=(f"rds:AddRoleTo{listing.noun}", "iam:PassRole"),
        start=partial(_add_role, listing),
        watch=watch,
        tidies_up=True,
    )


def _monitoring(described: Json) -> Json:
    interval, role = described.get("MonitoringInterval"), described.get("MonitoringRoleArn")
    return {"MonitoringInterval": interval, "MonitoringRoleArn": role} if interval and role else {}


def _insights(described: Json) -> Json:
    """Performance Insights; what is kept is encrypted with AWS's own key, wherever it is."""
    if not described.get("PerformanceInsightsEnabled"):
        return {}
    days = described.get("PerformanceInsightsRetentionPeriod")
    kept = {"PerformanceInsightsRetentionPeriod": days} if days else {}
    return {"EnablePerformanceInsights": True, **kept}


def _directory(described: Json) -> Json:
    for membership in described.get("DomainMemberships", ()):
        status = membership.get("Status") or ""
        if not any(part in status for part in _NO_MEMBERSHIP):
            words = _OWN_DIRECTORY if membership.get("AuthSecretArn") else _DIRECTORY
            return {
                asked: membership[name] for name, asked in words.items() if membership.get(name)
            }
    return {}


def _means_something(aws: Aws, source: Source, tie: Json) -> bool:
    """Roles are an account's, wherever; a directory is where the original is."""
    role = tie.get("MonitoringRoleArn") or tie.get("RoleArn")
    if role:
        return aws.account_number in ("", role.split(":")[4])
    is_directory = "Domain" in tie or "DomainFqdn" in tie
    return bool(tie) and not (is_directory and source.is_elsewhere)


def _modify(listing: _rds.Listing, aws: Aws, ask: Ask) -> Refs:
    made = ask.earlier[ask.spec["of"]]
    for name in made.values():
        wanted = {"ApplyImmediately": True, **ask.spec["parameters"]}
        aws.call("rds", f"Modify{listing.noun}", **{listing.id: name}, **wanted)
    return made


def _add_role(listing: _rds.Listing, aws: Aws, ask: Ask) -> Refs:
    made = ask.earlier[ask.spec["of"]]
    for name in made.values():
        named = {listing.id: name, **ask.spec["parameters"]}
        try:
            aws.call("rds", f"AddRoleTo{listing.noun}", **named)
        except Fault as fault:
            # By an earlier attempt.
            if "RoleAlreadyExists" not in fault.code:
                raise
    return made


def _word(listing: _rds.Listing) -> str:
    return "instance" if listing is _rds.INSTANCES else "cluster"
