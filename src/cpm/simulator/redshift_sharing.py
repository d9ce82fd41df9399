"""Redshift's snapshots are opened to other accounts, one by one, and closed again."""

from collections.abc import Mapping
from typing import Any

from cpm.simulator.calls import Call, Handlers
from cpm.simulator.errors import AwsError
from cpm.simulator.redshift_snapshots import accounts_with_access, bad_state, own


def install(handlers: Handlers) -> None:
    """Answer what moto lacks."""
    handlers.add(
        "redshift",
        {"AuthorizeSnapshotAccess": authorize_access, "RevokeSnapshotAccess": revoke_access},
    )


def authorize_access(call: Call) -> Mapping[str, Any]:
    """Let another account restore a manual snapshot."""
    snapshot, account = _snapshot(call), call.params["AccountWithRestoreAccess"]
    if len(account) != 12 or not account.isdigit():
        raise AwsError("InvalidParameterValue", f"{account} is not an account id")
    if snapshot.snapshot_type != "manual":
        raise bad_state("Only manual snapshots can be shared.")
    if account in accounts_with_access(snapshot):
        text = f"Account {account} is authorized already."
        raise AwsError("AuthorizationAlreadyExists", text)
    snapshot.accounts_with_restore_access.append({"AccountId": account})
    return {"Snapshot": snapshot}


def revoke_access(call: Call) -> Mapping[str, Any]:
    """End that; what the account restored stays with it."""
    snapshot, account = _snapshot(call), call.params["AccountWithRestoreAccess"]
    if account not in accounts_with_access(snapshot):
        raise AwsError("AuthorizationNotFound", f"Account {account} is not authorized.", 404)
    snapshot.accounts_with_restore_access.remove({"AccountId": account})
    return {"Snapshot": snapshot}


def _snapshot(call: Call) -> Any:
    name = call.get("SnapshotIdentifier") or call.get("SnapshotArn", "").rsplit("/", 1)[-1]
    return own(call, name)
