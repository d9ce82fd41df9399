"""`cpm simulator`: the emulated AWS alone, to rehearse on."""

import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cpm.cli.terminal import fail, print_json, say
from cpm.kernel.signals import stop_signals
from cpm.simulator.process import Simulator, SimulatorFailed

DEFAULT_PORT = 5600
DEFAULT_ACCOUNT = "111122223333"


def simulator(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = DEFAULT_PORT,
    account: Annotated[
        list[str] | None,
        typer.Option(help=f"An account to open, 12 digits; repeatable (default {DEFAULT_ACCOUNT})"),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Keep what is made in this file, over restarts.")
    ] = None,
) -> None:
    """Run the emulated AWS; prints its address and the keys of its accounts as JSON."""
    stop = threading.Event()
    with tempfile.TemporaryDirectory(prefix="cpm-simulator-") as logs, stop_signals(stop.set):
        try:
            with Simulator(Path(logs), port=port, state_file=state) as running:
                keys = [running.account(number) for number in account or [DEFAULT_ACCOUNT]]
                print_json(
                    {
                        "aws_endpoint": running.endpoint,
                        "simulator_control": running.control,
                        "accounts": [asdict(key) for key in keys],
                    }
                )
                say("Set CPM_AWS_ENDPOINT to the address; Ctrl-C stops the simulator.")
                stop.wait()
        except SimulatorFailed as error:
            fail(str(error))
