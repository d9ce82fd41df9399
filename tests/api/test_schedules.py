"""Schedules over the API."""

from api.cast import Caller

DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
KEYS = ["id", "name", "description", "user", "every_unit", "every_how_many", "start_date"]
KEYS += ["end_date", "last_modified"]


def made(caller: Caller, **values: object) -> dict[str, object]:
    body = {"name": "nightly", "every_unit": "D", "every_how_many": 1, **values}
    answer = caller.post("/schedules/", body)
    assert answer.status == 201, answer.json
    created: dict[str, object] = answer.json
    return created


def test_a_schedule_is_made_with_what_the_guide_shows(root: Caller) -> None:
    weekly = made(root, every_unit="W")
    assert list(weekly) == [*KEYS, "disable_times"]
    daily = made(root, name="daily", every_unit="D")
    assert list(daily) == [*KEYS, *(f"allow_on_{day}" for day in DAYS), "disable_times"]
    assert root.get("/schedules/").json == [weekly, daily]
