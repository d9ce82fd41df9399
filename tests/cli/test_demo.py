"""`cpm demo`: from nothing to a recovered volume, and everything gone afterwards."""

import json
import os
import re
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

from cpm.demo.client import ApiClient
from cpm.kernel import clock
from cpm.server.data import DataDirectory
from tests.cli.commands import (
    START_SECONDS,
    STOP_SECONDS,
    DemoServer,
    cpm,
    start,
    wait_for_file,
)


def start_demo(directory: Path) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    """Start the demo with what an earlier start has left; the process, and its ready file."""
    ready_file, output = directory / "ready.json", directory / "output"
    ready_file.unlink(missing_ok=True)
    process = start(
        *("demo", "--port", "0", "--data", str(directory / "data")),
        *("--ready-file", str(ready_file)),
        output=output,
    )
    wait_for_file(ready_file, process, output)
    return process, json.loads(ready_file.read_text())


def client_of(ready: dict[str, Any]) -> ApiClient:
    """Whoever asks the server that wrote the ready file."""
    return ApiClient(ready["url"], Path(ready["ca_cert"]), ready["api_key"])


def backups(ready: dict[str, Any], status: str) -> list[dict[str, Any]]:
    """The records of that status."""
    found: list[dict[str, Any]] = client_of(ready).get(f"/backups/?status={status}")
    return found


def test_the_whole_tour_protects_rotates_and_recovers(tmp_path: Path) -> None:
    data = tmp_path / "data"
    as_shipped = {"CPM_WEB_WORKERS": "2", "CPM_WORKERS": "2"}
    done = cpm("demo", "--once", "--port", "0", "--data", str(data), **as_shipped)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(set(re.findall(r"snap-[0-9a-f]+", done.stdout))) >= 10
    assert len(set(re.findall(r"cpm-orders-[0-9a-f]+", done.stdout))) >= 2
    assert "deleted in AWS" in done.stdout
    assert re.search(
        r"recovery of vol-[0-9a-f]+ +vol-[0-9a-f]+: \d+ GiB, the same \d tags", done.stdout
    )
    assert "backup successful" in done.stdout


def test_a_stopped_demo_leaves_no_process_and_the_next_start_goes_on(tmp_path: Path) -> None:
    output = tmp_path / "output"
    process, first = start_demo(tmp_path)
    clock.wait_until(lambda: bool(backups(first, "P")), timeout_seconds=START_SECONDS)
    running = [backup["id"] for backup in backups(first, "P")]
    assert running, output.read_text()
    end(process, signal.SIGTERM, tmp_path)

    process, second = start_demo(tmp_path)
    done = clock.wait_until(lambda: bool(backups(second, "B")), timeout_seconds=START_SECONDS)
    assert done, output.read_text()
    assert [backup["id"] for backup in backups(second, "B")] == running
    end(process, signal.SIGINT, tmp_path)
    assert first["api_key"] == second["api_key"]
    assert first["accounts"] == second["accounts"]


def end(process: subprocess.Popen[bytes], number: signal.Signals, directory: Path) -> None:
    """Stop a demo by a signal; nothing of it may be left."""
    process.send_signal(number)
    assert process.wait(STOP_SECONDS) == 0, (directory / "output").read_text()
    left = subprocess.run(
        ["pgrep", "-f", str(directory / "data")], capture_output=True, text=True, check=False
    ).stdout
    assert left == ""


def test_two_demos_on_one_directory_do_not_get_in_each_others_way(
    demo_server: DemoServer,
) -> None:
    data = Path(demo_server.ready["data_dir"])
    refused = cpm("demo", "--once", "--port", "0", "--data", str(data))
    assert refused.returncode == 1
    assert f"Another server (process {demo_server.ready['pid']}) runs on {data}" in refused.stderr
    told = cpm("backup", "list", "--data", str(data), "--json")
    assert told.returncode == 0, told.stderr
    known = {backup["id"] for backup in client_of(demo_server.ready).get("/backups/")}
    assert {backup["id"] for backup in json.loads(told.stdout)} == known
    endpoint = demo_server.ready["aws_endpoint"]
    assert DataDirectory(data).aws_endpoint.read_text() == endpoint


def test_what_another_version_has_left_is_told_with_the_way_to_begin_anew(tmp_path: Path) -> None:
    state = tmp_path / "simulator" / "aws.state"
    state.parent.mkdir()
    state.write_bytes(b"cpm-simulator 0, moto 0\n")
    done = cpm("demo", "--port", "0", "--data", str(tmp_path))
    assert done.returncode == 1
    assert str(state) in done.stderr
    assert f"To begin anew, remove {tmp_path}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_ready_file_is_private_and_complete(demo_server: DemoServer) -> None:
    assert set(demo_server.ready) == {
        "url",
        "ca_cert",
        "username",
        "password",
        "api_key",
        "aws_endpoint",
        "aws_access_key_id",
        "aws_secret_access_key",
        "accounts",
        "data_dir",
        "pid",
        "simulator_control",
    }
    os.kill(demo_server.ready["pid"], 0)
    ready_file = demo_server.output.parent / "ready.json"
    assert stat.S_IMODE(ready_file.stat().st_mode) == 0o600
