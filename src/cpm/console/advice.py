"""What somebody can do about an alert: looked up by its cause, of which the ids do not matter."""

_POLICY = {
    "failed": (
        "Read the log of the backup: it names each resource and what AWS said. Mend that and run"
        " the policy again. The alert ends with the next full success."
    ),
    "missing": (
        "Take the resource out of the policy, or recover it. The alert ends with the next run that"
        " finds everything."
    ),
    "no_success": (
        "What was protected before is kept meanwhile. Read the logs of the last backups and mend"
        " what keeps them from a full success."
    ),
    "missed": (
        "Find out why the server or its workers did not run: cpm doctor, and the server's own log."
        " To have a backup now, run the policy."
    ),
    "skipped": (
        "See what the backup that runs is waiting for. If it always takes this long, give the"
        " policy fewer targets, or its schedule a longer interval."
    ),
    "dr": (
        "Read the log of the backup: it names each copy and what AWS said. Often a key or the DR"
        " account does not let the copy in. The alert ends when a later run is copied."
    ),
    "dr_left": (
        "Cleanup tries again by itself. If AWS goes on refusing, the log names what has to be"
        " taken back by hand."
    ),
    "s3": (
        "Read the log of the backup. Often the bucket or its key cannot be reached any longer. The"
        " alert ends when a later run is copied."
    ),
}

_ADVICE = {
    **{f"policy:{what}": advice for what, advice in _POLICY.items()},
    "account:denied": (
        "Check in AWS that the account's keys or role exist and may do what cpm iam-policy prints,"
        " and give the account new ones if not. The alert ends when AWS lets it in."
    ),
    "recovery": (
        "Read the log of the recovery: it says which step failed and what it has left in AWS. The"
        " alert ends when the resource is recovered."
    ),
    "deletions:account": (
        "AWS says why: a permission that cpm iam-policy prints, a lock, or an image that needs the"
        " snapshot. Cleanup tries again by itself."
    ),
    "s3_deletions:repository": (
        "Check that the account may delete in the bucket. Cleanup tries again by itself."
    ),
    "vanished:account": (
        "Find out in AWS CloudTrail who deleted them. They cannot be brought back: run the policies"
        " that have lost their snapshots."
    ),
    "inventory:account": (
        "Look at them in AWS. If nobody needs them, delete them there; the alert ends after the"
        " next daily look."
    ),
    "tagscan:account": (
        "Check that the account may read tags (cpm iam-policy), or scan fewer regions. The alert"
        " ends with the next good scan."
    ),
    "repository:damage": (
        "Do not recover from these copies before others. If the bucket keeps versions, bring back"
        " the earlier ones of its objects. The next copy stores the data anew."
    ),
    "repository:care": (
        "Check that the account still reaches the bucket and its key. It is tried again by itself."
    ),
    "machines:worker": (
        "Check the network and the rights that the worker's configuration names. Changing it has a"
        " machine tried at once."
    ),
    "channel": (
        "Check where the channel leads and whether the receiver runs, then send a test. The alert"
        " ends when a message arrives."
    ),
}


def about(cause: str) -> str:
    """What to do about what causes an alert; nothing where nothing is known."""
    words = [word for word in cause.split(":") if not word.isdigit()]
    return _ADVICE.get(":".join(words[:2])) or _ADVICE.get(words[0], "")
