"""Who this server is, for the marks on what it makes in AWS."""

import uuid

from cpm.aws import tags
from cpm.models.backups import Backup
from cpm.models.operations import Operation
from cpm.models.settings import Setting

_SECTION = "identifier"
_KEY = "cpm_uuid"


def server_id() -> str:
    """The server's own id, made up when it is asked for the first time, and never changed."""
    row, _ = Setting.objects.get_or_create(
        section=_SECTION, defaults={"value": {_KEY: str(uuid.uuid4())}}
    )
    if _KEY not in row.value:
        row.value = {**row.value, _KEY: str(uuid.uuid4())}
        row.save(update_fields=["value"])
    return str(row.value[_KEY])


def marks(operation: Operation) -> dict[str, str]:
    """The tags by which what the operation makes is known as ours, and as its own."""
    marks = {tags.SERVER_ID: server_id(), tags.TOKEN: str(operation.token)}
    backup = operation.backup or (operation.recovery and operation.recovery.backup)
    if isinstance(backup, Backup):
        marks[tags.POLICY_NAME] = backup.policy_name
        marks[tags.BACKUP_ID] = str(backup.pk)
    return marks
