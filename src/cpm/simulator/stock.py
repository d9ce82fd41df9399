"""moto as it comes: every operation that this layer does not answer itself goes through here."""

import io
import logging
import traceback
from collections.abc import Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from cpm.simulator.errors import AwsError
from cpm.simulator.operations import Operation
from cpm.simulator.web import Answer, Request

_log = logging.getLogger(__name__)
_ANONYMOUS = "000000000000"


class Stock:
    """moto's WSGI application, called in process; its failures become AWS's errors."""

    def __init__(self) -> None:
        self._application = DomainDispatcherApplication(create_backend_app)

    def answer(self, request: Request, operation: Operation, account: str | None) -> Answer:
        """moto's answer for the caller's account; 501 when it lacks the operation."""
        try:
            answer = self._call(_environment(request, account or _ANONYMOUS))
        except AwsError:
            raise
        except NotImplementedError as failure:
            raise not_implemented(operation, str(failure)) from failure
        except Exception as failure:
            raise internal_error(operation) from failure
        if _is_unrouted(answer):
            raise not_implemented(operation, "")
        return answer

    def _call(self, environment: dict[str, Any]) -> Answer:
        answer = Answer(500)

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
            answer.status = int(status.split(maxsplit=1)[0])
            answer.headers = headers

        chunks: Iterable[bytes] = self._application(environment, start_response)
        answer.body = b"".join(chunks)
        return answer


def internal_error(operation: Operation) -> AwsError:
    """An InternalError for the client; the traceback of what is being handled goes to the log."""
    _log.error("%s failed\n%s", operation, traceback.format_exc())
    return AwsError("InternalError", f"An internal error has occurred in {operation}", 500)


def _environment(request: Request, account: str) -> dict[str, Any]:
    environment = dict(request.environment)
    environment["wsgi.input"] = io.BytesIO(request.body)
    environment["CONTENT_LENGTH"] = str(len(request.body))
    environment.pop("HTTP_TRANSFER_ENCODING", None)
    environment["wsgi.input_terminated"] = True
    environment["HTTP_X_MOTO_ACCOUNT_ID"] = account
    return environment


def _is_unrouted(answer: Answer) -> bool:
    kinds = [value for name, value in answer.headers if name.lower() == "content-type"]
    return (
        answer.status in (404, 405)
        and any(kind.startswith("text/html") for kind in kinds)
        and (b"<!doctype html>" in answer.body)
    )


def not_implemented(operation: Operation, detail: str) -> AwsError:
    """The loud answer to a call that the emulated AWS cannot carry out."""
    text = f"The simulator does not have {operation}. {detail}".strip()
    return AwsError("NotImplemented", text, 501)
