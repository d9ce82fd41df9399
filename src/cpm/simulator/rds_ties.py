"""Directories and Performance Insights of databases: moto forgets them when a database changes."""

from collections.abc import Mapping
from typing import Any

from moto.rds.models import DBCluster, DBInstance, DomainMembership, RDSBackend

from cpm.simulator.calls import Handlers
from cpm.simulator.patches import replace

_NO_DIRECTORY = "none"
# By RDS where nobody says otherwise.
_RETENTION_DAYS = 7
_modify_instance = RDSBackend.modify_db_instance
_modify_cluster = RDSBackend.modify_db_cluster


def install(_handlers: Handlers) -> None:
    """Let changes of databases tell of them."""
    replace(RDSBackend, "modify_db_instance", _modify_instance_and_tie)
    replace(RDSBackend, "modify_db_cluster", _modify_cluster_and_tie)


def tie(database: Any, facts: Mapping[str, Any]) -> None:
    """Give a database the directory and the insights that are in `facts`, by moto's names."""
    domain, own = facts.get("domain"), facts.get("domain_fqdn")
    if domain == _NO_DIRECTORY:
        database.domain_memberships = []
    elif domain or own:
        database.domain_memberships = [_membership(facts)]
    wanted = facts.get("enable_performance_insights")
    if wanted is not None:
        days = facts.get("performance_insights_retention_period") or _RETENTION_DAYS
        database.performance_insights_enabled = wanted
        database.performance_insights_retention_period = days if wanted else None


def _membership(facts: Mapping[str, Any]) -> DomainMembership:
    return DomainMembership(
        domain=facts.get("domain"),
        iam_role_name=facts.get("domain_iam_role_name"),
        domain_ou=facts.get("domain_ou"),
        domain_fqdn=facts.get("domain_fqdn"),
        auth_secret_arn=facts.get("domain_auth_secret_arn"),
        dns_ips=facts.get("domain_dns_ips"),
    )


def _modify_instance_and_tie(
    rds: RDSBackend, db_instance_identifier: str, db_kwargs: dict[str, Any]
) -> DBInstance:
    database = _modify_instance(rds, db_instance_identifier, db_kwargs)
    tie(database, db_kwargs)
    return database


def _modify_cluster_and_tie(rds: RDSBackend, kwargs: dict[str, Any]) -> DBCluster:
    name = kwargs["db_cluster_identifier"]
    wanted = dict(kwargs)
    answer = _modify_cluster(rds, kwargs)
    tie(rds.clusters[kwargs.get("new_db_cluster_identifier") or name], wanted)
    return answer
