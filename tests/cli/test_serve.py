"""`cpm serve` and the commands beside it."""

import json
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cpm.demo.client import ApiClient
from cpm.kernel import clock
from cpm.postgres import discard
from cpm.server import ports
from tests.cli.commands import START_SECONDS, DemoServer, cpm, start, stop


class Server:
    """A `cpm serve` on a data directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self.port = ports.claim("127.0.0.1", 0)
        self.output = directory / "output"
        self.process = self._start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def restart(self) -> None:
        self.process = self._start()

    def cpm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return cpm(*arguments, "--data", str(self.data))

    def client(self, api_key: str) -> ApiClient:
        return ApiClient(self.url, self.data / "tls" / "certificate.pem", api_key)

    def _start(self) -> subprocess.Popen[bytes]:
        process = start(
            *("serve", "--data", str(self.data), "--bind", "127.0.0.1", "--port", str(self.port)),
            output=self.output,
        )
        assert clock.wait_until(
            lambda: self._answers() or process.poll() is not None, timeout_seconds=START_SECONDS
        )
        assert process.poll() is None, self.output.read_text()
        return process

    def _answers(self) -> bool:
        certificate = self.data / "tls" / "certificate.pem"
        if not certificate.exists():
            return False
        tls = ssl.create_default_context(cafile=str(certificate))
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", context=tls, timeout=10):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("serve"))
    yield running
    if running.process.poll() is None:
        assert stop(running.process) == 0, running.output.read_text()
    discard(running.data / "postgres")


def test_a_key_made_beside_the_running_server_opens_the_api(server: Server) -> None:
    made = server.cpm("apikey", "create", "root")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip().splitlines()[-1]
    users = server.client(key).get("/users/")
    assert [user["username"] for user in users] == ["root"]


def test_a_revoked_key_opens_nothing(server: Server) -> None:
    key = server.cpm("apikey", "create", "root").stdout.strip().splitlines()[-1]
    assert _created_at(server) is not None
    assert server.cpm("apikey", "revoke", "root").returncode == 0
    assert _created_at(server) is None
    with pytest.raises(Exception, match="HTTP 401"):
        server.client(key).get("/users/")


def test_a_second_server_on_the_data_directory_is_refused(server: Server) -> None:
    other_port = str(ports.claim("127.0.0.1", 0))
    refused = server.cpm("serve", "--bind", "127.0.0.1", "--port", other_port)
    assert refused.returncode == 1
    assert f"Another server (process {server.process.pid}) runs on" in refused.stderr


def test_a_port_in_use_is_refused_with_a_hint(server: Server, tmp_path: Path) -> None:
    refused = cpm(
        *("serve", "--data", str(tmp_path / "other")),
        *("--bind", "127.0.0.1", "--port", str(server.port)),
    )
    assert refused.returncode == 1
    assert "in use by another program" in refused.stderr
    assert "--port" in refused.stderr


def test_users_are_made_and_listed_from_the_command_line(server: Server) -> None:
    made = cpm(
        *("user", "create", "anna", "--password-stdin", "--data", str(server.data)),
        stdin="correct-horse-battery\n",
    )
    assert made.returncode == 0, made.stderr
    users = json.loads(server.cpm("user", "list", "--json").stdout)
    assert [(user["username"], user["user_type"]) for user in users] == [
        ("root", "R"),
        ("anna", "M"),
    ]


def test_the_doctor_finds_a_running_server_well(server: Server) -> None:
    found = json.loads(server.cpm("doctor", "--json").stdout)
    by_check = {finding["check"]: finding for finding in found}
    for check in ("data directory", "certificate", "database", "tables", "workers"):
        assert by_check[check]["ok"], by_check[check]


def test_the_doctor_says_what_to_do_when_nothing_runs(tmp_path: Path) -> None:
    done = cpm("doctor", "--data", str(tmp_path / "empty"))
    assert done.returncode == 1
    assert "cpm serve" in done.stdout


def test_the_doctor_asks_the_aws_of_the_demo_beside_which_he_stands(
    demo_server: DemoServer,
) -> None:
    done = cpm("doctor", "--data", demo_server.ready["data_dir"])
    assert done.returncode == 0, done.stdout
    assert f"AWS: {urlsplit(demo_server.ready['aws_endpoint']).netloc} answers" in done.stdout


def test_a_killed_server_leaves_nothing_and_starts_again(server: Server) -> None:
    key = server.cpm("apikey", "create", "root").stdout.strip().splitlines()[-1]
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    assert clock.wait_until(lambda: not _processes_of(server.data), timeout_seconds=60)
    server.restart()
    assert [user["username"] for user in server.client(key).get("/users/")][:1] == ["root"]


def test_wrong_usage_exits_with_2(tmp_path: Path) -> None:
    assert cpm("serve", "--no-such-option").returncode == 2
    for command in ("serve", "demo", "simulator"):
        refused = cpm(command, "--port", "99999")
        assert refused.returncode == 2
        assert "--port" in refused.stderr
    bad = cpm("doctor", "--data", str(tmp_path), CPM_TIME_ZONE="Mars/Olympus")
    assert bad.returncode == 2
    assert "CPM_TIME_ZONE" in bad.stderr


def _created_at(server: Server) -> str | None:
    shown = json.loads(server.cpm("apikey", "show", "root", "--json").stdout)
    created_at: str | None = shown["created_at"]
    return created_at


def _processes_of(data: Path) -> str:
    return subprocess.run(
        ["pgrep", "-f", str(data)], capture_output=True, text=True, check=False
    ).stdout
