"""`cpm worker` on a machine of its own."""

import pytest
from typer.testing import CliRunner

from cpm.cli.main import make_app


@pytest.mark.parametrize(
    "arguments", [("--server", "https://cpm.example.com"), ("--token-file", "token")]
)
def test_a_server_and_a_token_belong_together(arguments: tuple[str, str]) -> None:
    assert CliRunner().invoke(make_app(["worker", "web"]), ["worker", *arguments]).exit_code == 2
