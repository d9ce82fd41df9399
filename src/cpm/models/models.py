"""Where Django looks for the tables of the app: every model, by name."""

from cpm.models.accounts import Account, Authentication
from cpm.models.agents import Agent, AgentStatus
from cpm.models.alerts import Alert, AlertCategory, AlertSeverity
from cpm.models.audit import AuditEntry
from cpm.models.backups import (
    Backup,
    BackupOutcome,
    BackupPhase,
    BackupTarget,
    CopyOutcome,
    CopyStatus,
    Trigger,
)
from cpm.models.budgets import ApiBudget
from cpm.models.discoveries import Discovered
from cpm.models.dr_copies import DrCopy, DrCopyPhase
from cpm.models.events import Event, Severity, Stream
from cpm.models.groups import Group, GroupType
from cpm.models.idempotency import KeptAnswer
from cpm.models.machines import MachineOutcome, MachinePhase, WorkerMachine
from cpm.models.metrics import Metric
from cpm.models.notifications import (
    Channel,
    ChannelType,
    Delivery,
    DeliveryKind,
    DeliveryOutcome,
    DeliveryPhase,
    Notice,
)
from cpm.models.operations import Operation, OperationOutcome, OperationPhase
from cpm.models.policies import (
    AutoRemove,
    DurationUnit,
    Policy,
    PolicySchedule,
    StorageClass,
    SuccessIndication,
    Target,
    TargetVolume,
)
from cpm.models.recoveries import Recovery, RecoveryOutcome, RecoveryPhase
from cpm.models.repositories import Encryption, S3Repository
from cpm.models.s3_blocks import S3Block
from cpm.models.s3_copies import S3Copy, S3CopyPhase, S3CopyRange
from cpm.models.s3_restores import S3Restore, S3RestorePhase, S3RestoreRange
from cpm.models.schedules import Schedule
from cpm.models.scripts import Hook, ScriptOutcome, ScriptPhase, ScriptRun
from cpm.models.settings import Setting
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.models.tagscan import TagScan
from cpm.models.users import ApiKey, BadAttempt, UsedAssertion, User, UserKind
from cpm.models.workers import NetworkAccess, Worker

__all__ = [
    "Account",
    "Agent",
    "AgentStatus",
    "Alert",
    "AlertCategory",
    "AlertSeverity",
    "ApiBudget",
    "ApiKey",
    "AuditEntry",
    "Authentication",
    "AutoRemove",
    "Backup",
    "BackupOutcome",
    "BackupPhase",
    "BackupTarget",
    "BadAttempt",
    "Channel",
    "ChannelType",
    "CopyOutcome",
    "CopyStatus",
    "Delivery",
    "DeliveryKind",
    "DeliveryOutcome",
    "DeliveryPhase",
    "Discovered",
    "DrCopy",
    "DrCopyPhase",
    "DurationUnit",
    "Encryption",
    "Event",
    "Group",
    "GroupType",
    "Hook",
    "KeptAnswer",
    "MachineOutcome",
    "MachinePhase",
    "Metric",
    "NetworkAccess",
    "Notice",
    "Operation",
    "OperationOutcome",
    "OperationPhase",
    "Policy",
    "PolicySchedule",
    "Recovery",
    "RecoveryOutcome",
    "RecoveryPhase",
    "S3Block",
    "S3Copy",
    "S3CopyPhase",
    "S3CopyRange",
    "S3Repository",
    "S3Restore",
    "S3RestorePhase",
    "S3RestoreRange",
    "Schedule",
    "ScriptOutcome",
    "ScriptPhase",
    "ScriptRun",
    "Setting",
    "Severity",
    "Snapshot",
    "SnapshotStatus",
    "StorageClass",
    "Stream",
    "SuccessIndication",
    "TagScan",
    "Target",
    "TargetVolume",
    "Trigger",
    "UsedAssertion",
    "User",
    "UserKind",
    "Worker",
    "WorkerMachine",
]
