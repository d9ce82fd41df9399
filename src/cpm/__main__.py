"""`python -m cpm`: the same as the `cpm` command."""

from cpm.cli.main import main

main()
