"""`cpm demo`: the product on a sample estate, with nothing to set up."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cpm.cli.connection import read_environment
from cpm.cli.serve import START_ERRORS
from cpm.cli.terminal import fail, stderr
from cpm.demo.client import Refused
from cpm.demo.run import Demo, DemoFailed, DemoOptions
from cpm.demo.tour import TourFailed
from cpm.kernel.faults import Fault
from cpm.simulator.process import SimulatorFailed

DEFAULT_PORT = 8443
_ERRORS = (*START_ERRORS, SimulatorFailed, DemoFailed, TourFailed, Refused, Fault)


def demo(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = DEFAULT_PORT,
    data: Annotated[
        Path | None, typer.Option(help="Where to keep everything (default ~/.cache/cpm-demo).")
    ] = None,
    *,
    once: Annotated[bool, typer.Option("--once", help="Take the whole tour, then end.")] = False,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write addresses and credentials here once all answers.")
    ] = None,
    seed_run: Annotated[
        bool,
        typer.Option(
            "--seed-run/--no-seed-run", help="Set up accounts and a policy, and back up once."
        ),
    ] = True,
) -> None:
    """Show the product at work on an emulated AWS with a sample estate."""
    place = data or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "cpm-demo"
    place.mkdir(parents=True, exist_ok=True, mode=0o711)
    settings = replace(read_environment(place), bind="127.0.0.1", port=port)
    try:
        Demo(DemoOptions(settings, once, ready_file, seed_run), stderr).run()
    except _ERRORS as error:
        advice = f"Logs are in {settings.data / 'logs'}"
        if isinstance(error, SimulatorFailed):
            # Most likely it was left by another version, and AWS and server belong together.
            advice += f"\nTo begin anew, remove {settings.data}"
        fail(f"{error}\n{advice}")
