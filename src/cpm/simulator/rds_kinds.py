"""Snapshots of DB instances and of Aurora clusters: one behaviour, two vocabularies."""

from dataclasses import dataclass
from typing import Any

from moto.rds.models import RDSBackend, rds_backends

from cpm.simulator.errors import AwsError

_LONGEST_PAGE = 100
_SHORTEST_PAGE = 20


@dataclass(frozen=True)
class Kind:
    """The words of one kind of snapshot: in parameters, in answers, in errors, in ARNs."""

    noun: str
    source_noun: str
    fault: str
    arn_type: str
    filter_prefix: str
    source_filter: str
    table_name: str
    source_table_name: str
    # The attribute of a copy that says which snapshot it is of.
    origin_name: str
    longest_name: int

    @property
    def id_name(self) -> str:
        """The parameter and member that names a snapshot."""
        return f"{self.noun}Identifier"

    @property
    def source_id_name(self) -> str:
        """The parameter and member that names what a snapshot is of."""
        return f"{self.source_noun}Identifier"

    def table(self, rds: RDSBackend) -> Any:
        """The snapshots that one account has in one region, by name, whatever its case."""
        return getattr(rds, self.table_name)

    def sources(self, rds: RDSBackend) -> Any:
        """What snapshots can be of, by name."""
        return getattr(rds, self.source_table_name)

    def missing(self, name: str) -> AwsError:
        """There is no such snapshot, for this caller at least."""
        return AwsError(f"{self.noun}NotFound{self.fault}", f"{self.noun} not found: {name}", 404)

    def exists(self, name: str) -> AwsError:
        """A snapshot of that name is there already."""
        text = (
            "Cannot create the snapshot because a snapshot with the identifier "
            f"{name} already exists."
        )
        return AwsError(f"{self.noun}AlreadyExists{self.fault}", text)

    def bad_state(self, text: str) -> AwsError:
        """The snapshot is not in a state that allows the operation."""
        return AwsError(f"Invalid{self.noun}State{self.fault}", text)

    def source_missing(self, name: str) -> AwsError:
        """There is no such instance or cluster."""
        text = f"{self.source_noun} {name} not found."
        return AwsError(f"{self.source_noun}NotFound{self.fault}", text, 404)

    def source_exists(self, name: str) -> AwsError:
        """An instance or cluster of that name is there already."""
        text = f"{self.source_noun} {name} already exists"
        return AwsError(f"{self.source_noun}AlreadyExists{self.fault}", text)

    def source_bad_state(self, text: str) -> AwsError:
        """The instance or cluster is not in a state that allows the operation."""
        return AwsError(f"Invalid{self.source_noun}State{self.fault}", text)


INSTANCE = Kind(
    noun="DBSnapshot",
    source_noun="DBInstance",
    fault="",
    arn_type="snapshot",
    filter_prefix="db-snapshot",
    source_filter="db-instance-id",
    table_name="database_snapshots",
    source_table_name="databases",
    origin_name="source_db_snapshot_identifier",
    longest_name=255,
)
CLUSTER = Kind(
    noun="DBClusterSnapshot",
    source_noun="DBCluster",
    fault="Fault",
    arn_type="cluster-snapshot",
    filter_prefix="db-cluster-snapshot",
    source_filter="db-cluster-id",
    table_name="cluster_snapshots",
    source_table_name="clusters",
    origin_name="source_db_cluster_snapshot_arn",
    longest_name=63,
)
KINDS = (INSTANCE, CLUSTER)


def backend(account: str, region: str) -> RDSBackend:
    """The RDS of one account in one region."""
    return rds_backends[account][region]


def invalid_value(text: str) -> AwsError:
    """A parameter with a value that RDS does not take."""
    return AwsError("InvalidParameterValue", text)


def invalid_combination(text: str) -> AwsError:
    """Parameters that do not go together."""
    return AwsError("InvalidParameterCombination", text)


def key_not_accessible(name: str | None) -> AwsError:
    """The KMS key cannot be used, or none was named where one must be."""
    text = (
        f"Specified KMS key [{name}] does not exist, is not enabled or you do not have "
        "permissions to access it."
    )
    return AwsError("KMSKeyNotAccessibleFault", text)


def check_page_size(size: int) -> None:
    """Raise unless a page may have this many records."""
    if not _SHORTEST_PAGE <= size <= _LONGEST_PAGE:
        raise invalid_value(
            f"Invalid value {size} for MaxRecords. Must be between "
            f"{_SHORTEST_PAGE} and {_LONGEST_PAGE}"
        )
