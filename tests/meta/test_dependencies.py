"""Every runtime dependency is justified, and the lock file names no address."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_runtime_dependency_has_its_sentence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {re.split(r"[\[<>=]", text)[0] for text in project["dependencies"]}
    text = (ROOT / "docs" / "dependencies.md").read_text()
    justified = set(re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE))
    assert required == justified


def test_the_lock_files_pin_every_package_by_hash_and_name_no_address() -> None:
    for name in ("requirements.lock", "bootstrap.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        packages = re.findall(r"^[a-z0-9][^ \n]*==", text, flags=re.MULTILINE)
        assert packages
        assert text.count("--hash=sha256:") >= len(packages)
