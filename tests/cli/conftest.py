"""A whole demo server for the tests that need one."""

import json
from collections.abc import Iterator

import pytest

from tests.cli.commands import DemoServer, start, stop, wait_for_file


@pytest.fixture(scope="session")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """A demo that has set up nothing but the estate, root and a key."""
    directory = tmp_path_factory.mktemp("demo")
    ready_file, output = directory / "ready.json", directory / "output"
    process = start(
        *("demo", "--no-seed-run", "--port", "0"),
        *("--data", str(directory / "data"), "--ready-file", str(ready_file)),
        output=output,
    )
    try:
        wait_for_file(ready_file, process, output)
        yield DemoServer(json.loads(ready_file.read_text()), output)
    finally:
        status = stop(process)
    assert status == 0, output.read_text()
