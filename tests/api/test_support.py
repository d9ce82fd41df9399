"""The support bundle: complete, and harmless."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpm.models.users import UserKind
from tests.api.cast import Caller, caller, make_user

PATH = "/system/support_logs/"
PLANTED = "pl4nted-s3cret"


@pytest.fixture(autouse=True)
def data(tmp_path: Path, settings: Any) -> Path:
    """A data directory with logs."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "worker-1.log").write_text("it works\n")
    settings.ENVIRONMENT = replace(
        settings.ENVIRONMENT,
        data=tmp_path,
        secret_key=PLANTED,
        root_password=PLANTED,
        database_url=f"postgresql://anna:{PLANTED}@db.example.com:5432/cpm?sslmode=require",
    )
    return tmp_path


def contents(who: Caller) -> dict[str, bytes]:
    answer = who.get(PATH)
    assert answer.status == 200
    found = {}
    with tarfile.open(fileobj=io.BytesIO(answer.body), mode="r:bz2") as archive:
        for entry in archive:
            file = archive.extractfile(entry)
            assert file is not None
            found[entry.name.removeprefix("support_logs/")] = file.read()
    return found


def test_the_bundle_holds_what_helps(root: Caller, managed: Caller) -> None:
    found = contents(root)
    assert found["logs/worker-1.log"] == b"it works\n"
    assert json.loads(found["versions.json"])["cpm-server"]
    assert json.loads(found["rows.json"])["User"] == 2
    assert json.loads(found["settings.json"])["cleanup"]["cleanup_interval_hours"] == 6
    health = {each["check"]: each["ok"] for each in json.loads(found["health.json"])}
    assert health["database"] is True
    environment = json.loads(found["environment.json"])
    assert environment["DATABASE_URL"] == "postgresql://db.example.com:5432/cpm"
    assert environment["CPM_PORT"] == 443


def test_the_bundle_holds_no_secret(root: Caller) -> None:
    body = {"enabled": True, "address": "proxy", "port": 1, "password": PLANTED}
    root.post("/settings/proxy/", body)
    assert not any(PLANTED.encode() in content for content in contents(root).values())
    assert b"sealed" not in contents(root)["settings.json"]


@pytest.mark.parametrize("accept", ["", "*/*", "text/html", "application/json; version=1.1.0"])
def test_the_bundle_comes_whatever_type_is_asked_for(root: Caller, accept: str) -> None:
    answer = root.get(PATH, **({"accept": accept} if accept else {}))
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/x-bzip2"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="support_logs.bz2"'
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert root.get(PATH, accept="*/*; version=9").status == 406
    assert root.get(PATH, accept="application/json; version=1.0.0").status == 404


def test_the_bundle_is_for_root_and_those_of_his_delegates_who_change_settings(
    root: Caller, managed: Caller
) -> None:
    columns = {"original_user": root.user}
    reader = caller(make_user("rita", UserKind.DELEGATE, **columns))
    writer = caller(make_user("wanda", UserKind.DELEGATE, **columns, allow_settings_changes=True))
    for who in (managed, reader):
        assert who.get(PATH).status == 403
    assert writer.get(PATH).status == 200
