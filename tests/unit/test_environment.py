"""Settings are read from the environment, and a wrong one is refused by name."""

from dataclasses import fields
from pathlib import Path

import pytest

from cpm.config.environment import READ_ELSEWHERE, BadEnvironment, Environment, read, variable

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def test_values_are_typed() -> None:
    environment = read({"CPM_PORT": "8443", "CPM_HOSTS": "a.example, b.example", "PATH": "/bin"})
    assert environment.port == 8443
    assert environment.hosts == ("a.example", "b.example")


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    assert read({"CPM_SECRET_KEY_FILE": str(tmp_path / "key")}).secret_key == "from a file"


@pytest.mark.parametrize(
    "bad",
    [
        {"CPM_PORT": "https"},
        {"CPM_TIME_ZONE": "Mars/Olympus"},
        {"CPM_AWS_BUDGET_SHARE": "0"},
        {"CPM_POTR": "8443"},
        {"CPM_SECRET_KEY_FILE": "/nonexistent/key"},
        {"CPM_TRUSTED_PROXIES": "10.0.0.0/8,proxy.example.com"},
        {"CPM_TRUSTED_PROXIES": "10.0.0.1/8"},
        {"CPM_WEBHOOK_NETWORKS": "the office"},
        {"CPM_TLS_KEY": "/etc/key.pem"},
    ],
)
def test_what_cannot_be_used_is_refused_by_name(bad: dict[str, str]) -> None:
    with pytest.raises(BadEnvironment, match=next(iter(bad))):
        read(bad)


def test_the_page_on_settings_lists_exactly_what_there_is() -> None:
    rows = [
        f"| `{variable(spec)}` | {_shown(spec.default)} | {spec.metadata['meaning']} |"
        for spec in fields(Environment)
    ]
    rows += [f"| `{name}` |  | {meaning} |" for name, meaning in READ_ELSEWHERE.items()]
    listed = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    assert listed == rows


def _shown(default: object) -> str:
    if isinstance(default, tuple):
        default = ",".join(default)
    return "" if default in ("", None) else f"`{default}`"
