"""Who this server is, for the marks on what it makes in AWS."""

from cpm.aws import tags
from cpm.engine.settings import Identifier
from cpm.models.backups import Backup
from cpm.models.machines import WorkerMachine
from cpm.models.operations import Operation


def server_id() -> str:
    """The server's own id, which never changes."""
    return Identifier.current().cpm_uuid


def marks(operation: Operation, of_server: str) -> dict[str, str]:
    """The tags by which what the operation makes is known as this server's, and as its own."""
    marks = {tags.SERVER_ID: of_server, tags.TOKEN: str(operation.token)}
    backup = operation.backup or (operation.recovery and operation.recovery.backup)
    if isinstance(backup, Backup):
        marks[tags.POLICY_NAME] = backup.policy_name
        marks[tags.BACKUP_ID] = str(backup.pk)
    return marks


def machine_marks(machine: WorkerMachine) -> dict[str, str]:
    """The tags by which a worker machine is known as this server's, and as its row's."""
    return {tags.SERVER_ID: server_id(), tags.TOKEN: str(machine.token)}
