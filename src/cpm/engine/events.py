"""The log that users read: codes and values in rows, made into text when they are shown.

Values are ids, names, counts and AWS's own words; a secret is never among them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cpm.kernel import clock
from cpm.models.backups import Backup
from cpm.models.events import Event, Severity, Stream
from cpm.models.recoveries import Recovery

_ROWS_PER_INSERT = 500
INFO, WARNING, ERROR = Severity.INFO, Severity.WARNING, Severity.ERROR


@dataclass(frozen=True)
class Line:
    """How much a kind of event matters, and how it reads."""

    severity: Severity
    text: str


CATALOGUE = {
    "backup_started": Line(INFO, "Backup of policy {policy} started."),
    "backup_repeats": Line(INFO, "Repeating what failed in backup {of} (attempt {attempt})."),
    "backup_succeeded": Line(INFO, "Backup successful: {snapshots} snapshots."),
    "backup_partial": Line(
        WARNING,
        "Backup partially successful: {snapshots} snapshots, {failed} resources and {scripts} "
        "scripts failed.",
    ),
    "backup_failed": Line(ERROR, "Backup failed: {reason}"),
    "backup_repeat_planned": Line(INFO, "What failed will be repeated in {minutes} minutes."),
    "backup_repeat_dropped": Line(
        INFO, "What failed is not repeated: the policy has a newer backup, or is gone."
    ),
    "run_skipped": Line(
        WARNING, "The run due at {due} was skipped, because this backup was still under way."
    ),
    "region_unreachable": Line(
        WARNING, "Resources in {region} cannot be read at present, trying again: {error}"
    ),
    "region_failed": Line(ERROR, "Resources in {region} could not be read: {error}"),
    "target_missing": Line(ERROR, "{kind} {resource} in {region} does not exist any longer."),
    "target_removed": Line(
        WARNING,
        "{kind} {resource} in {region} does not exist any longer and was taken out of the policy.",
    ),
    "target_empty": Line(WARNING, "Nothing of {kind} {resource} is to be protected."),
    "target_refused": Line(ERROR, "{kind} {resource} cannot be protected: {error}"),
    "snapshots_started": Line(INFO, "Started for {resource}: {refs}."),
    "step_of_backup": Line(INFO, "{effect} of {resource}: {refs}."),
    "step_output": Line(INFO, "Output of {effect} of {resource}:\n{output}"),
    "step_done": Line(INFO, "{effect} of {resource}: done."),
    "snapshot_failed": Line(ERROR, "Snapshot of {resource} failed: {error}"),
    "script_done": Line(INFO, "The {hook} script is done, after {seconds} seconds."),
    "script_absent": Line(INFO, "There is no {hook} script: {error}."),
    "script_failed": Line(ERROR, "The {hook} script failed: {error}"),
    "script_output": Line(INFO, "Output of the {hook} script:\n{output}"),
    "call_queued": Line(
        INFO, "{operation} waits for its turn in AWS's rate limit, about {seconds} seconds."
    ),
    "call_refused": Line(WARNING, "AWS refused {operation}, trying again: {error}"),
    "answer_lost": Line(
        WARNING, "The answer to {operation} was lost; finding out whether it was carried out."
    ),
    "snapshot_expired": Line(INFO, "{snapshot} of {resource} has expired and will be deleted."),
    "snapshot_deleted": Line(INFO, "{snapshot} of {resource} was deleted."),
    "snapshot_let_go": Line(INFO, "{snapshot} of {resource} is needed here no more; it stays."),
    "snapshot_not_deleted": Line(
        ERROR, "{snapshot} of {resource} (backup {record}) could not be deleted: {error}"
    ),
    "snapshot_adopted": Line(
        WARNING, "{snapshot} of {resource} was found in AWS and now belongs to this record."
    ),
    "snapshot_found_again": Line(INFO, "{snapshot} of {resource} is in AWS again."),
    "snapshot_vanished": Line(ERROR, "{snapshot} of {resource} was deleted by somebody else."),
    "dr_started": Line(INFO, "Making {copies} copies in {places}."),
    "copy_step_started": Line(INFO, "{effect} for {resource} in {region}: {refs}."),
    "copies_queued": Line(
        INFO,
        "{waiting} copies wait for their turn in {region}: AWS makes {most} at once. That may "
        "take {estimate}.",
    ),
    "limit_reached": Line(
        INFO, "AWS's limit is reached for {operation}; trying again in {seconds} seconds: {error}"
    ),
    "dr_progress": Line(INFO, "{done} of {copies} copies are over."),
    "copy_failed": Line(ERROR, "Copy of {snapshot} ({resource}) to {region} failed: {error}"),
    "copy_abandoned": Line(
        ERROR,
        "Copy of {snapshot} ({resource}) to {region} was not complete in time and was given up: "
        "{error}",
    ),
    "dr_nothing": Line(INFO, "There was nothing to copy."),
    "dr_succeeded": Line(INFO, "DR successful: {copies} copies."),
    "dr_partial": Line(WARNING, "DR partially successful: {copies} copies, {failed} failed."),
    "dr_failed": Line(ERROR, "DR failed: none of {failed} copies could be made."),
    "s3_waits": Line(INFO, "Copying to S3 waits for copies that are under way."),
    "s3_started": Line(INFO, "Copying {copies} EBS snapshots to S3 repository {repository}."),
    "s3_copy_started": Line(INFO, "Copying {snapshot} of {resource} to S3: {what}."),
    "s3_reads_all": Line(WARNING, "Of {snapshot} of {resource} everything has to be read: {error}"),
    "s3_copy_refused": Line(
        WARNING, "Copying {snapshot} of {resource} to S3 failed, trying again: {error}"
    ),
    "s3_copy_failed": Line(ERROR, "{snapshot} of {resource} could not be copied to S3: {error}"),
    "s3_copy_succeeded": Line(
        INFO, "{snapshot} of {resource} is in S3: {size}, for which {stored} were stored."
    ),
    "s3_copy_expired": Line(INFO, "{snapshot} of {resource} has expired in S3 and will go."),
    "s3_progress": Line(
        INFO, "{percent} % is copied to S3, at {rate} MiB/s; the rest takes {eta}."
    ),
    "s3_nothing": Line(INFO, "There was nothing to copy to S3."),
    "s3_succeeded": Line(INFO, "Copied to S3: {copies} snapshots."),
    "s3_partial": Line(WARNING, "Copied to S3 in part: {copies} snapshots, {failed} failed."),
    "s3_failed": Line(ERROR, "Copying to S3 failed: none of {failed} snapshots was copied."),
    "original_goes": Line(
        INFO, "{snapshot} of {resource} will be deleted, as its copies are complete."
    ),
    "snapshot_marked": Line(
        INFO, "{snapshot} of {resource} was marked as expired; its account forbids deleting."
    ),
    "recovery_started": Line(INFO, "Recovery of {resource} from backup {source} started."),
    "recovery_differs": Line(WARNING, "Not as the original: {note}."),
    "step_started": Line(INFO, "{effect}: {refs}."),
    "step_failed": Line(ERROR, "{effect} of {resource} failed: {error}"),
    "step_undone": Line(INFO, "Taken back: {refs} ({effect})."),
    "step_not_undone": Line(ERROR, "Left behind: {refs} ({effect}): {error}"),
    "restore_started": Line(
        INFO, "Putting {size} of {resource} into {snapshot}, from {copy} in {repository}."
    ),
    "restore_progress": Line(
        INFO, "{percent} % of {resource} is back, at {rate} MiB/s; the rest takes {eta}."
    ),
    "restore_put": Line(INFO, "All {size} of {resource} are in {snapshot}, verified."),
    "recovery_delayed": Line(WARNING, "The recovery does not get on, trying again: {error}"),
    "recovery_succeeded": Line(INFO, "Recovered as {result}."),
    "recovery_partial": Line(WARNING, "Recovered as {result}, but not completely: {error}"),
    "recovery_failed": Line(ERROR, "Recovery failed: {error}"),
    "scan_started": Line(INFO, "Scan of account {account} in {region} started."),
    "scan_finished": Line(
        INFO,
        "Scan of account {account} in {region} finished: {added} targets added, {removed} removed, "
        "{changed} changed, {problems} problems.",
    ),
    "scan_delayed": Line(
        WARNING,
        "Tags of account {account} in {region} cannot be read at present, trying again: {error}",
    ),
    "scan_failed": Line(ERROR, "Tags of account {account} in {region} could not be read: {error}"),
    "scan_incomplete": Line(
        WARNING,
        "{kinds} of account {account} in {region} could not be read, so that nothing is taken out "
        "of policies: {error}",
    ),
    "tag_policy_made": Line(
        INFO, "Policy {policy} was made as a copy of {template}, for {kind} {resource} in {region}."
    ),
    "tag_added": Line(INFO, "{kind} {resource} in {region} was added to policy {policy}: {tag}."),
    "tag_changed": Line(
        INFO, "The options of {kind} {resource} in {region} in policy {policy} follow {tag}."
    ),
    "tag_removed": Line(
        INFO, "{kind} {resource} in {region} was taken out of policy {policy}: no tag names it."
    ),
    "tag_no_backup": Line(
        INFO, "{kind} {resource} in {region} was taken out of policy {policy}: no-backup."
    ),
    "tag_left_out": Line(
        INFO,
        "Volumes that their tags leave out of {kind} {resource} in {region} in policy {policy}: "
        "{volumes}.",
    ),
    "tag_empty": Line(WARNING, "A tag of {kind} {resource} in {region} says nothing."),
    "tag_beside_no_backup": Line(
        WARNING, "{text} on {kind} {resource} in {region} has no effect beside no-backup."
    ),
    "tag_no_policy": Line(WARNING, "{text} on {kind} {resource} in {region} names no policy."),
    "tag_bad_policy_name": Line(
        WARNING, "{text} on {kind} {resource} in {region} cannot be the name of a policy."
    ),
    "tag_bad_template_name": Line(
        WARNING, "{text} on {kind} {resource} in {region} cannot name a template."
    ),
    "tag_unknown_option": Line(
        WARNING, "{text} on {kind} {resource} in {region}: there is no such option."
    ),
    "tag_second_backup_option": Line(
        WARNING, "{text} on {kind} {resource} in {region} contradicts an option before it."
    ),
    "tag_foreign_option": Line(
        WARNING, "{text} on {kind} {resource} in {region}: it is no option of such a resource."
    ),
    "tag_option_refused": Line(
        WARNING, "{policy}#{text} on {kind} {resource} in {region} has no effect: {error}"
    ),
    "tag_refused": Line(
        WARNING, "{kind} {resource} in {region} cannot be added to policy {policy}: {error}"
    ),
    "tag_unknown_policy": Line(
        WARNING,
        "{kind} {resource} in {region} names policy {policy}, which account {account} lacks.",
    ),
    "tag_other_account": Line(
        WARNING,
        "{kind} {resource} in {region} names policy {policy}, which is of another account.",
    ),
    "tag_unknown_template": Line(
        WARNING,
        "{kind} {resource} in {region} names template {policy}, which account {account} lacks.",
    ),
    "tag_other_template": Line(
        WARNING,
        "{kind} {resource} in {region} names template {policy}, which is of another account.",
    ),
    "tag_over_limit": Line(
        WARNING, "{kind} {resource} in {region} was not added to policy {policy}: {error}"
    ),
    "tag_exclusion_overruled": Line(
        WARNING,
        "{kind} {resource} in {region} excludes itself, but policy {policy} names the volumes of "
        "{whole} that it protects.",
    ),
    "cleanup_started": Line(INFO, "Cleanup started."),
    "cleanup_finished": Line(
        INFO,
        "Cleanup finished: {expired} snapshots expired, {retried} deletions tried again, "
        "{records} old records and {audit} old audit entries removed.",
    ),
    "kept_frozen": Line(INFO, "Backup {record} of policy {policy} is kept: it is frozen."),
    "kept_generation": Line(
        INFO,
        "Backup {record} of policy {policy} is kept: it is one of the {generations} newest full "
        "successes.",
    ),
    "kept_not_yet_old": Line(
        INFO,
        "Backup {record} of policy {policy} is kept: fewer than {generations} full successes are "
        "newer.",
    ),
    "kept_in_progress": Line(
        INFO,
        "Backup {record} of policy {policy} is old enough to go, but kept while work on it is "
        "under way.",
    ),
    "record_expired": Line(
        INFO, "Backup {record} of policy {policy} has expired: {snapshots} snapshots are to go."
    ),
    "record_let_go": Line(
        INFO,
        "Of backup {record} of policy {policy}, {snapshots} shared images stay in AWS: others need "
        "them, or their owner does.",
    ),
    "record_emptied": Line(INFO, "Nothing is left in AWS of backup {record} of policy {policy}."),
    "record_needed": Line(
        INFO, "Snapshots of backup {record} of policy {policy} are to go, but kept: {reason}."
    ),
    "record_not_emptied": Line(
        ERROR,
        "Snapshots of backup {record} of policy {policy} could not be deleted, among them "
        "{snapshot} of {resource}: {error}",
    ),
    "record_forgotten": Line(
        INFO,
        "The record of backup {record} of policy {policy} is removed: nothing has been left of it "
        "for {days} days.",
    ),
    "inventory_finished": Line(
        INFO,
        "Inventory of account {account} in {region}: {listed} snapshots listed, {adopted} taken "
        "into their records, {unknown} that belong to no record, {vanished} deleted by somebody "
        "else.",
    ),
    "inventory_unknown": Line(
        WARNING, "{snapshot} of account {account} in {region} belongs to no record: {reason}."
    ),
    "discovery_failed": Line(
        WARNING, "{kinds} of account {account} in {region} could not be listed: {error}"
    ),
    "s3_copy_found": Line(
        INFO, "Found in S3, and recorded again: {snapshot}, a copy of {resource}."
    ),
    "archive_collected": Line(
        INFO,
        "S3 repository {repository}: {copies} copies need {packs} packs; {deleted} packs with "
        "{freed} that nothing needs were deleted, {locked} are locked, {missing} are missing.",
    ),
    "archive_brought_back": Line(
        WARNING,
        "S3 repository {repository}: somebody has deleted {objects} objects that are needed; the "
        "bucket had them still, and they are back.",
    ),
    "archive_not_collected": Line(
        ERROR,
        "S3 repository {repository}: {unreadable} manifests or pages cannot be read, among them "
        "{name}, so nobody knows what is garbage; nothing was deleted.",
    ),
    "archive_verified": Line(
        INFO,
        "S3 repository {repository}: all of it was read again in {portions} portions; {damages} "
        "damages are there.",
    ),
    "archive_not_cared_for": Line(
        WARNING, "S3 repository {repository} could not be looked after: {error}"
    ),
    "inventory_failed": Line(
        WARNING, "{kinds} of account {account} in {region} could not be compared: {error}"
    ),
}


def log(
    code: str,
    *,
    backup: Backup | None = None,
    recovery: Recovery | None = None,
    stream: Stream | None = None,
    **values: Any,
) -> None:
    """Add a line to the log of a record or a stream. Raises KeyError for an unknown code."""
    event(code, backup=backup, recovery=recovery, stream=stream, **values).save(force_insert=True)


def log_all(lines: Iterable[Event]) -> None:
    """Add many lines at once."""
    Event.objects.bulk_create(lines, batch_size=_ROWS_PER_INSERT)


def event(
    code: str,
    *,
    backup: Backup | None = None,
    recovery: Recovery | None = None,
    stream: Stream | None = None,
    **values: Any,
) -> Event:
    """The line as a row that is not stored yet, for those who store many at once."""
    return Event(
        at=clock.now(),
        severity=CATALOGUE[code].severity,
        code=code,
        values=values,
        backup=backup,
        recovery=recovery,
        stream=stream or "",
    )


def text(code: str, values: dict[str, Any]) -> str:
    """A line as it reads. A code of another version of the product is shown as it is."""
    line = CATALOGUE.get(code)
    if line is None:
        return f"{code} {values}" if values else code
    return line.text.format_map(_Shown(values))


class _Shown(dict[str, Any]):
    """Values for a template; one that is not there shows that, and spoils nothing."""

    def __missing__(self, key: str) -> str:
        return f"({key}?)"
