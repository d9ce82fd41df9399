"""The guide's own samples run as they are, but for host, key and certificate."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import DemoServer

CREATE = """
curl -sS -X POST https://$HOST/api/schedules/ \\
  -H 'Accept: application/json; version=1.1.0' \\
  -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' \\
  -d '{
    "name": "sample",
    "every_unit": "W",
    "every_how_many": 1
  }'
"""
UPDATE = """
curl -sS -X PUT https://$HOST/api/schedules/$ID/ \\
  -H 'Accept: application/json; version=1.1.0' \\
  -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' \\
  -d '{
    "name": "sample",
    "every_unit": "O",
    "every_how_many": 1
  }'
"""
LIST = """
curl -sS -X GET 'https://'$HOST'/api/schedules/?ordering=every_unit,every_how_many' \\
  -H 'Accept: application/json; version=1.1.0' \\
  -H "Authorization: Bearer $TOKEN"
"""
DELETE = """
curl -sS -o /dev/null -w '%{http_code}' -X DELETE https://$HOST/api/schedules/$ID/ \\
  -H 'Accept: application/json; version=1.1.0' \\
  -H "Authorization: Bearer $TOKEN"
"""
OBTAIN = "curl -sS https://$HOST/api/token/obtain/api_key/ -d api_key=$KEY"

KEYS_OF_A_WEEKLY_SCHEDULE = [
    "id",
    "name",
    "description",
    "user",
    "every_unit",
    "every_how_many",
    "start_date",
    "end_date",
    "last_modified",
    "disable_times",
]


class Shell:
    """Runs samples with the variables that the guide names."""

    def __init__(self, server: DemoServer) -> None:
        self._variables = {
            "HOST": server.url.removeprefix("https://"),
            "CURL_CA_BUNDLE": server.ca,
            "KEY": server.ready["api_key"],
        }
        self._variables["TOKEN"] = self.json(OBTAIN)["access"]

    def text(self, sample: str, **variables: str) -> str:
        done = subprocess.run(
            ["bash", "-c", sample],
            env={**os.environ, **self._variables, **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def json(self, sample: str, **variables: str) -> Any:
        return json.loads(self.text(sample, **variables))


@pytest.fixture(scope="module")
def shell(demo_server: DemoServer) -> Shell:
    return Shell(demo_server)


def test_the_curl_samples_create_update_list_and_delete_a_schedule(shell: Shell) -> None:
    created = shell.json(CREATE)
    assert list(created) == KEYS_OF_A_WEEKLY_SCHEDULE
    assert (created["name"], created["description"]) == ("sample", None)
    assert (created["every_unit"], created["every_how_many"]) == ("W", 1)
    assert (created["end_date"], created["disable_times"]) == (None, [])
    schedule_id = str(created["id"])

    updated = shell.json(UPDATE, ID=schedule_id)
    assert list(updated) == KEYS_OF_A_WEEKLY_SCHEDULE
    assert (updated["id"], updated["every_unit"]) == (created["id"], "O")
    assert updated["start_date"] == created["start_date"]

    for unit, count in (("H", 10), ("M", 5), ("O", 2), ("W", 7)):
        shell.json(
            CREATE.replace('"sample"', f'"every_{count}_{unit}"')
            .replace('"W"', f'"{unit}"')
            .replace('"every_how_many": 1', f'"every_how_many": {count}')
        )
    listed = shell.json(LIST)
    order = [(row["every_unit"], row["every_how_many"]) for row in listed]
    assert order == [("M", 5), ("H", 10), ("W", 7), ("O", 1), ("O", 2)]
    assert "allow_on_sunday" in listed[0]
    assert "allow_on_sunday" not in listed[2]

    for row in listed:
        assert shell.text(DELETE, ID=str(row["id"])) == "204"
    assert shell.json(LIST) == []


PYTHON_SAMPLE = """
import sys

import requests

VERIFY_SSL = True

URL_API = "https://{host}/api/"
URL_TOKEN_OBTAIN = URL_API + "token/obtain/api_key/"
URL_TOKEN_REFRESH = URL_API + "token/refresh/"
URL_API_USERS = URL_API + "users/"

HEADER_ACCEPT = "application/json; version=1.1.0"
HEADER_AUTHORIZATION = "Bearer {access_token}"


def post_obtain_token(host, api_key):
    url = URL_TOKEN_OBTAIN.format(host=host)
    headers = {"Accept": HEADER_ACCEPT}
    data = {"api_key": api_key}
    response = requests.post(url=url, headers=headers, data=data, verify=VERIFY_SSL)
    assert response.status_code == 200
    response_json = response.json()
    return response_json["access"], response_json["refresh"]


def get_users(host, access_token):
    url = URL_API_USERS.format(host=host)
    authorization = HEADER_AUTHORIZATION.format(access_token=access_token)
    headers = {"Accept": HEADER_ACCEPT, "Authorization": authorization}
    response = requests.get(url=url, headers=headers, verify=VERIFY_SSL)
    assert response.status_code == 200
    return response.json()


def post_refresh_token(host, refresh_token):
    url = URL_TOKEN_REFRESH.format(host=host)
    headers = {"Accept": HEADER_ACCEPT}
    data = {"refresh": refresh_token}
    response = requests.post(url=url, headers=headers, data=data, verify=VERIFY_SSL)
    assert response.status_code == 200
    return response.json()["access"]


def run_demo(host, api_key):
    access_token, refresh_token = post_obtain_token(host=host, api_key=api_key)
    users1 = get_users(host=host, access_token=access_token)
    print(users1)
    access_token = post_refresh_token(host=host, refresh_token=refresh_token)
    users2 = get_users(host=host, access_token=access_token)
    print(users2)
    assert users1 == users2


if __name__ == "__main__":
    run_demo(sys.argv[1], sys.argv[2])
"""


def test_the_python_sample_prints_the_users_twice(demo_server: DemoServer, tmp_path: Path) -> None:
    script = tmp_path / "sample.py"
    script.write_text(PYTHON_SAMPLE)
    host = demo_server.url.removeprefix("https://")
    done = subprocess.run(
        [sys.executable, str(script), host, demo_server.ready["api_key"]],
        env={**os.environ, "REQUESTS_CA_BUNDLE": demo_server.ca},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == second
    assert "'username': 'root'" in first
