"""The server's configuration: every setting that differs from PostgreSQL's own, with its reason."""

import os
from pathlib import Path

_MIB = 2**20
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)

PORT = 5432  # names the socket only: nothing listens on the network

ACCESS = """\
# Written at each start. The superuser has no line here and no password: it exists only
# while the server is down (postgres --single).
local all cpm scram-sha-256
"""

_DURABLE = """\
full_page_writes = on
wal_compression = pglz
"""

# For tests: a crash of the machine may cost the data, a crash of postgres still does not.
_NOT_DURABLE = """\
fsync = off
synchronous_commit = off
full_page_writes = off
"""


def configuration(
    *, data: Path, access: Path, socket_directory: Path, override: Path | None, durable: bool
) -> str:
    """The whole text of postgresql.conf; `override`, if there is one, has the last word."""
    memory_bytes = memory_limit_bytes()
    return f"""\
# Written at each start. Settings of your own belong in override.conf, beside this file.
data_directory = {_quoted(data)}
hba_file = {_quoted(access)}
listen_addresses = ''
port = {PORT}
unix_socket_directories = {_quoted(socket_directory)}
unix_socket_permissions = 0700
password_encryption = scram-sha-256
max_connections = 200

shared_buffers = {shared_buffers_mib(memory_bytes)}MB
effective_cache_size = {max(memory_bytes // 2 // _MIB, 128)}MB
work_mem = 8MB
max_wal_size = 1GB
random_page_cost = 1.1
# Few cores and short queries: a parallel plan takes a core from somebody else.
max_parallel_workers_per_gather = 0
jit = off
{_DURABLE if durable else _NOT_DURABLE}
# A client that died in the middle of a transaction must not hold back vacuum for ever.
idle_in_transaction_session_timeout = 10min

timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_destination = stderr
logging_collector = off
log_line_prefix = '%m [%p] '
log_startup_progress_interval = 5s
# Statements and details carry customers' values, and the application logs its own failures.
log_min_error_statement = panic
log_error_verbosity = terse

{f"include = {_quoted(override)}" if override else ""}
"""


def shared_buffers_mib(memory_bytes: int) -> int:
    """An eighth of the memory, from 64 MiB to 1 GiB: workers and web server live here too."""
    return min(max(memory_bytes // 8 // _MIB, 64), 1024)


def memory_limit_bytes() -> int:
    """What this machine, or this container, may use."""
    physical_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical_bytes, *filter(None, map(_read_limit, _CGROUP_LIMITS))])


def _read_limit(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such controller, or `max`
        return None


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
