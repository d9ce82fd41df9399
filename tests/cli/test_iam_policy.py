"""`cpm iam-policy`: what an account has to allow, from what the drivers declare."""

import json

from cpm.resources import permissions
from cpm.resources.permissions import AccountType
from tests.cli.commands import cpm


def test_the_policy_is_printed_as_iam_takes_it_without_any_server() -> None:
    printed = cpm("iam-policy", "--account-type", "dr", "--forbid-deleting")
    assert printed.returncode == 0, printed.stderr
    (document,) = permissions.documents(AccountType.DR, may_delete=False)
    assert json.loads(printed.stdout) == document


def test_what_an_account_is_not_used_for_is_wrong_usage() -> None:
    assert cpm("iam-policy", "--forbid-deleting").returncode == 2
