"""Log lines: one JSON object each (or readable text), on stderr, from every process alike."""

import logging
import sys

import structlog

from cpm.config.environment import Environment

# Other people's libraries tell more than an operator wants.
_LEVELS = {
    **dict.fromkeys(("botocore", "boto3", "urllib3", "procrastinate"), logging.WARNING),
    # It warns of each attempt to reach a database that is away; the worker tells that it is.
    "psycopg": logging.ERROR,
}


def configure(environment: Environment) -> None:
    """Sets up logging for this process: structlog's and the standard library's go the same way."""
    level = logging.getLevelNamesMapping()[environment.log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        # What is not told is not even put together.
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(environment.log_format),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, quiet in _LEVELS.items():
        logging.getLogger(name).setLevel(quiet)


def _renderer(log_format: str) -> structlog.typing.Processor:
    if log_format == "text":
        return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    return structlog.processors.JSONRenderer()
