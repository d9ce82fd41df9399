"""Alerts over the API."""

from cpm.engine import alerts
from cpm.models.alerts import AlertCategory, AlertSeverity
from cpm.models.policies import Policy
from tests.api.cast import Caller
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import Estate


def test_a_failed_backup_raises_an_alert_and_a_good_one_resolves_it(
    estate: Estate, cloud: Cloud
) -> None:
    target = estate.target("volumes", cloud.volume())
    estate.caller.put(f"{estate.path}options/", {"retry_count": 0})
    cloud.ec2.delete_volume(VolumeId=target["resource_id"])
    estate.run()
    raised = estate.caller.get("/alerts/?category=backup&severity=error").json
    assert raised
    for alert in raised:
        assert alert == {
            "id": alert["id"],
            "user": estate.caller.id,
            "category": "Backup",
            "severity": "Error",
            "title": alert["title"],
            "message": alert["message"],
            "alert_time": alert["alert_time"],
            "resolved_time": None,
            "policy": estate.policy,
        }
    estate.caller.delete(f"{estate.path}targets/volumes/{target['id']}/")
    estate.target("volumes", cloud.volume())
    estate.run()
    assert estate.caller.get("/alerts/").json == []
    resolved = estate.caller.get("/alerts/?resolved=true").json
    assert {each["id"] for each in raised} <= {each["id"] for each in resolved}
    assert all(each["resolved_time"] for each in resolved)
    assert estate.caller.get("/alerts/?resolved=all").json == resolved


def test_the_servers_own_alerts_are_roots(
    estate: Estate, root: Caller, stranger: Caller, independent: Caller
) -> None:
    alerts.raise_alert(
        "disk",
        user=None,
        category=AlertCategory.SYSTEM,
        severity=AlertSeverity.WARNING,
        title="The disk is nearly full",
        message="4 % are left.",
    )
    policy = Policy.objects.select_related("user").get(pk=estate.policy)
    alerts.raise_alert(
        "policy",
        user=policy.user,
        category=AlertCategory.BACKUP,
        title="It failed",
        message="Twice.",
        policy=policy,
    )
    (systems, policys) = root.get("/alerts/").json
    assert systems["user"] == root.id
    assert "policy" not in systems
    assert estate.caller.get("/alerts/").json == [policys]
    assert root.get(f"/alerts/?user={root.id}").json == [systems]
    assert root.get("/alerts/?search=nearly FULL").json == [systems]
    assert root.get("/alerts/?ordering=-severity").json == [systems, policys]
    assert root.get(f"/alerts/?policy={estate.policy}").json == [policys]
    for person in (stranger, independent):
        assert person.get("/alerts/").json == []
    assert root.get("/alerts/?resolved=perhaps&category=x").codes == {
        "resolved": ["invalid"],
        "category": ["invalid_choice"],
    }
