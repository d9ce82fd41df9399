"""What a worker machine does when it starts: user data, for Amazon Linux 2023.

It gets Python, exchanges the token that it finds here for another one, fetches the server's
software, works, and ends itself: after the work, after a failure, and at its deadline in any case.
"""

import shlex
import sys
from dataclasses import dataclass

from cpm.aws.sessions import Proxy

# The programs of a machine are those of the server, compiled for its version of Python.
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
# EC2's own services, which no proxy reaches.
_DIRECT = "169.254.169.254,localhost,127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Script:
    """What is different from machine to machine; `ca_cert` is PEM, empty for what all trust."""

    server_url: str
    token: str
    ca_cert: str
    minutes: int
    connections: int
    proxy: Proxy | None = None

    def text(self) -> str:
        """The user data."""
        values = {
            "server": self.server_url.rstrip("/"),
            "enrolment": self.token,
            "python": PYTHON,
            "minutes": str(self.minutes),
            "connections": str(self.connections),
            "certificate": self.ca_cert.strip(),
            "proxy": self.proxy.url() if self.proxy else "",
        }
        assigned = "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
        return f"{_HEAD}\n{assigned}\n{_BODY}"


_HEAD = """\
#!/bin/bash
# A worker machine of cpm-server. It copies snapshots to S3 and terminates itself when that is done,
# when it cannot go on, and after its time in any case.
set -u"""

_BODY = f"""\
shutdown -P "+$minutes"
trap 'shutdown -P now' EXIT
umask 077
cd "$(mktemp -d -p /var/tmp)" || exit 1

if [ -n "$proxy" ]; then
  export http_proxy=$proxy https_proxy=$proxy HTTP_PROXY=$proxy HTTPS_PROXY=$proxy
  export no_proxy={_DIRECT} NO_PROXY={_DIRECT}
fi
trust=()
if [ -n "$certificate" ]; then
  printf '%s\\n' "$certificate" > server.pem
  trust=(--cacert server.pem)
fi
ask() {{ # what, then more for curl
  curl --silent --show-error --fail --max-time 300 --retry 30 --retry-connrefused \\
    --retry-delay 5 --retry-max-time 900 "${{trust[@]}}" --header @header "${{@:2}}" \\
    "$server/machines/$1"
}}

dnf install --assumeyes --quiet "$python" tar gzip || exit 1

printf 'Authorization: Bearer %s\\n' "$enrolment" > header
ask enrol --output token --data-urlencode "instance_id=$(cloud-init query instance_id)" || exit 1
printf 'Authorization: Bearer %s\\n' "$(cat token)" > header
ask software --output software.tar.gz || exit 1
mkdir software && tar --extract --gzip --file software.tar.gz --directory software || exit 1

options=(--server "$server" --token-file token --concurrency "$(nproc)")
options+=(--connections "$connections")
[ -n "$certificate" ] && options+=(--ca-cert server.pem)
PYTHONPATH=$PWD/software "$python" -P -m cpm.machine "${{options[@]}}"
"""
