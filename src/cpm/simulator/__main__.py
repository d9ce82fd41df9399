"""`python -m cpm.simulator`: an emulated AWS of its own process."""

import argparse
import logging
import os
import sys
import threading
from pathlib import Path

from cpm.simulator.server import Options, serve
from cpm.simulator.state import StateRefused


def main() -> None:
    """Read the command line and serve until told to end."""
    arguments = _parser().parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    stop = threading.Event()
    if arguments.end_with_stdin:
        threading.Thread(target=_wait_for_end_of_stdin, args=(stop,), daemon=True).start()
    options = Options(
        host=arguments.host,
        port=arguments.port,
        accounts=tuple(arguments.account),
        state_file=arguments.state,
        ready_file=arguments.ready_file,
    )
    try:
        serve(options, stop)
    except (StateRefused, OSError) as reason:
        sys.exit(str(reason))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cpm.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 lets the system choose")
    parser.add_argument("--account", action="append", default=[], metavar="NUMBER")
    parser.add_argument("--state", type=Path, metavar="FILE", help="keep everything over restarts")
    parser.add_argument("--ready-file", type=Path, metavar="FILE")
    parser.add_argument(
        "--end-with-stdin", action="store_true", help="end when standard input does"
    )
    return parser


def _wait_for_end_of_stdin(stop: threading.Event) -> None:
    # The parent holds the other end of the pipe: however it dies, the pipe ends. Read without
    # Python's buffer, whose lock this thread would hold for ever when the interpreter ends.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stop.set()


if __name__ == "__main__":
    main()
