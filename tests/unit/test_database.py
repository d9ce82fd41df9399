"""How long a database may be silent."""

from cpm.config.database import connection_settings
from cpm.config.environment import Environment


def options(query: str = "") -> dict[str, str]:
    url = f"postgresql://cpm:secret@db.example.com/cpm{query}"
    found: dict[str, str] = connection_settings(Environment(database_url=url))["OPTIONS"]
    return found


def test_a_host_that_has_vanished_is_given_up_within_half_a_minute() -> None:
    given = options()
    assert int(given["connect_timeout"]) <= 30
    assert int(given["tcp_user_timeout"]) <= 30_000


def test_the_url_may_say_otherwise() -> None:
    given = options("?connect_timeout=3&sslmode=require")
    assert (given["connect_timeout"], given["sslmode"]) == ("3", "require")
    assert given["tcp_user_timeout"] == options()["tcp_user_timeout"]
