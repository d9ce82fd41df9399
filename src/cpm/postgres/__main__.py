"""Runs the supervisor by itself: `python -m cpm.postgres DIR [--ready-file FILE]`."""

import argparse
import sys
from pathlib import Path

from cpm.postgres.cluster import Cluster
from cpm.postgres.errors import AlreadyRunning, PostgresError
from cpm.postgres.process import EXIT_ALREADY_RUNNING, EXIT_FAILED
from cpm.postgres.supervisor import Supervisor


def main() -> int:
    """Run until told to stop; the exit status says why it ended."""
    arguments = _parser().parse_args()
    try:
        Supervisor(
            Cluster(arguments.directory),
            durable=not arguments.not_durable,
            ready_file=arguments.ready_file,
            lifeline=sys.stdin.fileno() if arguments.lifeline else None,
        ).run()
    except AlreadyRunning as refusal:
        print(refusal, file=sys.stderr)  # noqa: T201 - this is a command
        return EXIT_ALREADY_RUNNING
    except PostgresError as failure:
        print(failure, file=sys.stderr)  # noqa: T201
        return EXIT_FAILED
    except OSError as failure:
        print(  # noqa: T201
            f"cannot run the database in {arguments.directory}: {failure}."
            " Look whether its disk is full, read-only or gone.",
            file=sys.stderr,
        )
        return EXIT_FAILED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cpm.postgres", description="Run the embedded PostgreSQL in DIR."
    )
    parser.add_argument("directory", metavar="DIR", type=Path)
    parser.add_argument("--ready-file", metavar="FILE", type=Path, help="gets the URI when ready")
    parser.add_argument("--lifeline", action="store_true", help="stop when standard input ends")
    parser.add_argument("--not-durable", action="store_true", help="fast and unsafe, for tests")
    return parser


if __name__ == "__main__":
    sys.exit(main())
