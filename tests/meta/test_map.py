"""The map of the folders is complete and says nothing of folders that are gone."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _tracked_folders() -> set[str]:
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    folders: set[str] = set()
    for name in listing.splitlines():
        folders.update(str(parent) for parent in Path(name).parents if str(parent) != ".")
    return folders - {"src"}


def _mapped_folders() -> set[str]:
    text = (ROOT / "docs" / "map.md").read_text()
    return set(re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE))


def _stands_for_itself(folder: str) -> bool:
    """Tests mirror what they test; files that are not code belong to the folder above."""
    return folder.startswith("tests/") or "/static" in folder or "/templates" in folder


def test_every_folder_has_its_sentence_and_every_sentence_its_folder() -> None:
    folders = {folder for folder in _tracked_folders() if not _stands_for_itself(folder)}
    assert folders == _mapped_folders()
