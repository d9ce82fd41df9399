"""All benchmarks, one after the other: `python -m bench [--quick]`."""

import argparse
import subprocess
import sys

# Each has a process of its own, because each has a database of its own.
_BENCHMARKS = ("bench.api", "bench.aws_calls", "bench.clients", "bench.removal")


def main() -> int:
    """Run them all; 0 when all of them ran, whatever they measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything")
    options = ["--quick"] if parser.parse_args().quick else []
    commands = [[sys.executable, "-m", name, *options] for name in _BENCHMARKS]
    return max(subprocess.run(command, check=False).returncode for command in commands)


if __name__ == "__main__":
    sys.exit(main())
