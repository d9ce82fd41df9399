"""The support bundle: what whoever is asked for help wants to see."""

import tarfile
import tempfile
from io import BytesIO
from typing import IO

from django.http import FileResponse

from cpm.api.negotiation import ANYTHING
from cpm.api.operations import Operation
from cpm.api.request import Request
from cpm.kernel import clock
from cpm.queries import support
from cpm.queries.people import Person
from cpm.services.access import Action

_MOST_IN_MEMORY = 1024 * 1024
_FOLDER = "support_logs"


def show(request: Request) -> FileResponse:
    """Download logs, versions, configuration and row counts; no secrets are among them."""
    file = tempfile.SpooledTemporaryFile(_MOST_IN_MEMORY)  # noqa: SIM115 - the response closes it
    try:
        _write(file, request.person)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return FileResponse(
        file, as_attachment=True, filename="support_logs.bz2", content_type="application/x-bzip2"
    )


def _write(file: IO[bytes], viewer: Person) -> None:
    with tarfile.open(fileobj=file, mode="w:bz2") as archive:
        for name, content in support.documents(viewer):
            entry = tarfile.TarInfo(f"{_FOLDER}/{name}")
            entry.size, entry.mtime = len(content), int(clock.now().timestamp())
            archive.addfile(entry, BytesIO(content))
        for path in support.logs():
            # A log that grows meanwhile is taken as long as it was when its turn came.
            archive.add(path, f"{_FOLDER}/logs/{path.name}")


OPERATIONS = (
    Operation(
        "GET",
        "/system/support_logs/",
        show,
        Action.READ_SUPPORT_LOGS,
        produces=(ANYTHING,),
    ),
)
