"""`cpm demo`: from nothing to a recovered volume, and everything gone afterwards."""

import json
import os
import re
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from tests.cli.commands import START_SECONDS, DemoServer, cpm, start, stop, wait_for_file


def test_the_whole_tour_protects_rotates_and_recovers(tmp_path: Path) -> None:
    data = tmp_path / "data"
    done = cpm("demo", "--once", "--port", "0", "--data", str(data))
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(set(re.findall(r"snap-[0-9a-f]+", done.stdout))) >= 10
    assert "deleted in AWS" in done.stdout
    assert re.search(
        r"recovery of vol-[0-9a-f]+ +vol-[0-9a-f]+: \d+ GiB, the same \d tags", done.stdout
    )
    assert "backup successful" in done.stdout


def test_a_second_start_goes_on_with_what_is_there(tmp_path: Path) -> None:
    data, ready_file, output = tmp_path / "data", tmp_path / "ready.json", tmp_path / "output"
    arguments = ("demo", "--port", "0", "--data", str(data), "--ready-file", str(ready_file))
    seen = []
    for _ in range(2):
        process = start(*arguments, output=output)
        wait_for_file(ready_file, process, output)
        seen.append(json.loads(ready_file.read_text()))
        ready_file.unlink()
        assert stop(process) == 0, output.read_text()
    first, second = seen
    assert first["api_key"] == second["api_key"]
    assert first["accounts"] == second["accounts"]


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    data, ready_file, output = tmp_path / "data", tmp_path / "ready.json", tmp_path / "output"
    process = start(
        *("demo", "--no-seed-run", "--port", "0"),
        *("--data", str(data), "--ready-file", str(ready_file)),
        output=output,
    )
    wait_for_file(ready_file, process, output)
    process.send_signal(number)
    assert process.wait(START_SECONDS) == 0, output.read_text()
    left = subprocess.run(
        ["pgrep", "-f", str(data)], capture_output=True, text=True, check=False
    ).stdout
    assert left == ""
