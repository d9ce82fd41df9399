"""`python -m cpm.machine`: what `cpm worker --server` runs, where nothing else of cpm is there."""

import argparse
import sys
from pathlib import Path

from cpm.machine.process import Options, run


def main() -> int:
    """Reads the arguments and works to the end; the exit status."""
    parser = argparse.ArgumentParser(prog="cpm worker", description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--token-file", required=True, type=Path)
    parser.add_argument("--ca-cert", type=Path)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--connections", type=int, default=8)
    given = parser.parse_args()
    return run(
        Options(given.server, given.token_file, given.ca_cert, given.concurrency, given.connections)
    )


if __name__ == "__main__":
    sys.exit(main())
