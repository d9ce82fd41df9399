"""The guided tour: what an operator does on a first day, over the API, and what AWS says of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cpm.demo.client import ApiClient, Refused
from cpm.demo.estate import DATABASE, HOME_REGION, LOOSE_VOLUMES, OTHER_REGION, Estate, InAws
from cpm.demo.state import DemoAccount
from cpm.kernel import clock

POLICY = "shop"
SCHEDULE = "every-night"
GENERATIONS = 2
PATIENCE_SECONDS = 300.0
LOOK_SECONDS = 0.5
# What the API answers where a backup of the policy is under way already.
IN_PROGRESS = 409

Json = dict[str, Any]
Progress = Callable[[str, int], None]


class TourFailed(Exception):
    """The product did not do what the tour promises."""


@dataclass
class Summary:
    """What the tour did, step by step, and the snapshots that are left in AWS."""

    steps: list[tuple[str, str]] = field(default_factory=list)
    snapshots: list[InAws] = field(default_factory=list)

    def add(self, step: str, result: str) -> None:
        """Notes a step that went well."""
        self.steps.append((step, result))


class Tour:
    """Walks through the product as the owner of one API key."""

    def __init__(self, client: ApiClient, estate: Estate, progress: Progress) -> None:
        """`progress` is told what is going on and how far it is, in percent."""
        self._client = client
        self._estate = estate
        self._progress = progress
        self.summary = Summary()

    def set_up(self, accounts: list[DemoAccount]) -> Json:
        """Registers the accounts, a schedule and a policy with targets; the policy's record."""
        for account in accounts:
            self._ensure_account(account)
        existing = self._client.get(f"/policies/?name={POLICY}")
        if existing:
            return dict(existing[0])
        schedule = self._ensure_schedule()
        owner = self._client.get(f"/accounts/backup/?name={accounts[0].name}")[0]
        policy: Json = self._client.post(
            "/policies/",
            name=POLICY,
            account=owner["id"],
            description="The shop: its machines, loose volumes and database",
            generations=GENERATIONS,
            schedules=[schedule["id"]],
        )
        self._add_targets(policy["id"], accounts[0].name)
        return policy

    def back_up(self, policy: Json) -> Json:
        """Runs the policy now and waits for the end; the backup's record."""
        backup = self._start(policy)
        path = f"/backups/{backup['id']}/"
        backup = self._follow(path, f"backup {backup['id']} of {policy['name']}")
        if backup["status"] != "B":
            raise TourFailed(f"backup {backup['id']} ended {backup['status']}: {self._log(path)}")
        snapshots = self._client.get(f"{path}snapshots/")
        self.summary.add(f"backup {backup['id']}", f"{len(snapshots)} snapshots completed")
        return backup

    def _start(self, policy: Json) -> Json:
        """A backup that is under way: a new one, or that of an earlier start or of the schedule."""
        runs = f"/policies/{policy['id']}/backups/"
        while True:
            try:
                started: Json = self._client.post(runs)
            except Refused as refusal:
                if refusal.status != IN_PROGRESS:
                    raise
            else:
                return started
            running = self._client.get(f"/backups/?policy={policy['id']}&status=P")
            if running:
                return dict(running[0])

    def rotate(self, policy: Json) -> None:
        """Backs up beyond the limit and sees to it that the oldest generation is gone in AWS."""
        first = self.back_up(policy)
        doomed = self._references(first)
        for _ in range(GENERATIONS):
            self.back_up(policy)

        def are_gone() -> bool:
            return not doomed & {snapshot.snapshot_id for snapshot in self._in_aws()}

        if not clock.wait_until(
            are_gone, timeout_seconds=PATIENCE_SECONDS, interval_seconds=LOOK_SECONDS
        ):
            raise TourFailed(f"snapshots of backup {first['id']} were not rotated out")
        self.summary.add(
            f"rotation beyond {GENERATIONS} generations",
            f"{len(doomed)} snapshots of backup {first['id']} deleted in AWS",
        )

    def recover_a_volume(self, policy: Json) -> None:
        """Recovers a loose volume from the newest backup and compares it with the original."""
        backup = self._client.get(f"/backups/?policy={policy['id']}&status=B&ordering=-start_time")[
            0
        ]
        path = f"/backups/{backup['id']}/snapshots/volumes/"
        snapshot = next(
            row for row in self._client.get(path) if row["resource_name"] == LOOSE_VOLUMES[0]
        )
        recovery = self._client.post(f"{path}{snapshot['id']}/recover/")
        record = self._follow(
            f"/recoveries/{recovery['id']}/", f"recovery of {snapshot['resource_id']}"
        )
        if record["status"] != "S":
            raise TourFailed(
                f"recovery {recovery['id']} ended {record['status']}: {record['error']}"
            )
        self._compare(snapshot["resource_id"], record["result_resource_id"])

    def finish(self) -> Summary:
        """The summary, with the snapshots as AWS reports them now."""
        self.summary.snapshots = self._in_aws()
        return self.summary

    def _ensure_account(self, account: DemoAccount) -> None:
        if not self._client.get(f"/accounts/backup/?name={account.name}"):
            self._client.post(
                "/accounts/backup/",
                name=account.name,
                authentication="C",
                aws_access_key=account.access_key_id,
                aws_secret_key=account.secret_access_key,
                scan_regions=[HOME_REGION, OTHER_REGION],
            )
            self.summary.add(f"account {account.name}", f"AWS account {account.account_number}")

    def _ensure_schedule(self) -> Json:
        existing = self._client.get(f"/schedules/?name={SCHEDULE}")
        if existing:
            return dict(existing[0])
        start = clock.now().replace(hour=2, minute=0).strftime("%Y-%m-%dT%H:%M:00Z")
        made: Json = self._client.post(
            "/schedules/", name=SCHEDULE, every_unit="D", every_how_many=1, start_date=start
        )
        return made

    def _add_targets(self, policy_id: int, account: str) -> None:
        count = 0
        for region in (HOME_REGION, OTHER_REGION):
            for instance in self._estate.instances(account, region):
                self._add_target(policy_id, "instances", instance["InstanceId"], region)
                count += 1
        for name in LOOSE_VOLUMES:
            named = {"Name": "tag:Name", "Values": [name]}
            for volume in self._estate.volumes(account, HOME_REGION, Filters=[named]):
                self._add_target(policy_id, "volumes", volume["VolumeId"], HOME_REGION)
                count += 1
        self._add_target(policy_id, "rds_databases", DATABASE, HOME_REGION)
        self.summary.add(f"policy {POLICY}", f"protects {count + 1} resources")

    def _add_target(self, policy_id: int, collection: str, resource_id: str, region: str) -> None:
        self._client.post(
            f"/policies/{policy_id}/targets/{collection}/", resource_id=resource_id, region=region
        )

    def _follow(self, path: str, what: str) -> Json:
        deadline = clock.monotonic() + PATIENCE_SECONDS
        while clock.monotonic() < deadline:
            record: Json = self._client.get(path)
            self._progress(what, record["progress"] or 0)
            if record["status"] != "P":
                self._progress(what, 100)
                return record
            clock.sleep(LOOK_SECONDS)
        raise TourFailed(f"{what} took longer than {PATIENCE_SECONDS:.0f} s: {self._log(path)}")

    def _log(self, path: str) -> str:
        try:
            return "; ".join(line["message"] for line in self._client.get(f"{path}logs/")[-5:])
        except Refused as refusal:
            return str(refusal)

    def _references(self, backup: Json) -> set[str]:
        rows = self._client.get(f"/backups/{backup['id']}/snapshots/")
        return {row["snapshot_id"] for row in rows}

    def _in_aws(self) -> list[InAws]:
        return [
            snapshot
            for region in (HOME_REGION, OTHER_REGION)
            for snapshot in self._estate.snapshots("production", region, POLICY)
        ]

    def _compare(self, original_id: str, recovered_id: str) -> None:
        original, recovered = (
            next(self._estate.volumes("production", HOME_REGION, VolumeIds=[volume_id]))
            for volume_id in (original_id, recovered_id)
        )
        if original["Size"] != recovered["Size"]:
            raise TourFailed(f"{recovered_id} has {recovered['Size']} GiB, not {original['Size']}")
        if not _tags(original).items() <= _tags(recovered).items():
            raise TourFailed(f"{recovered_id} has not all tags of {original_id}")
        self.summary.add(
            f"recovery of {original_id}",
            f"{recovered_id}: {recovered['Size']} GiB, the same {len(_tags(original))} tags",
        )


def _tags(described: Json) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in described.get("Tags", [])}
