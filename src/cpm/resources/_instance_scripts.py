"""Scripts that lie on an instance and run around its copies, through the agent on it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _commands, _ec2, _images, _vss
from cpm.resources.contract import Ask, Effect, Json, Once, Order, Refs, Resource

BEFORE, AFTER, COMPLETE = "before", "after", "complete"
# For targets that are planned without their policy.
_USUAL_SECONDS = 30
# How long it takes AWS to take a command and to tell what came of it, beside the script's own time.
_MARGIN_SECONDS = 120
# How long an instance may take to be back after a reboot.
_REBOOT_SECONDS = 1800


def around(
    instance: Resource, timeout_seconds: int | None, copies: Sequence[Order], *, reboots: bool
) -> Iterator[Order]:
    """The orders of copies, which begin one after the other, with the scripts around them."""
    spec = {
        "instance_id": instance.resource_id,
        "platform": instance.facts["platform"],
        "timeout_seconds": timeout_seconds or _USUAL_SECONDS,
        "reach_seconds": _commands.REACH_SECONDS,
    }
    images = [copy for copy in copies if copy.step == _images.STEP]
    later = {**spec, "devices": sum(len(image.spec["devices"]) for image in images)}
    if reboots:
        later["reach_seconds"] = _REBOOT_SECONDS
    yield _order(BEFORE, spec)
    chained = list(_chained(copies))
    yield from chained
    last = [copy.step for copy in chained if copy.parts][-1]
    yield replace(_order(AFTER, later), after=last, once=Once.UNDER_WAY)
    yield replace(_order(COMPLETE, later), after=AFTER, once=Once.OVER)


def _order(hook: str, spec: Json) -> Order:
    within_seconds = spec["reach_seconds"] + spec["timeout_seconds"] + _MARGIN_SECONDS
    return Order(f"{hook}_script", spec, step=hook, within_seconds=within_seconds)


def _chained(copies: Sequence[Order]) -> Iterator[Order]:
    """The copies as a chain; those that follow others already stay where they are."""
    before, once = BEFORE, Once.OVER
    for number, copy in enumerate(copies):
        if copy.after:
            yield copy
            continue
        chained = replace(copy, step=copy.step or f"copy{number}", after=before, once=once)
        before, once = chained.step, Once.UNDER_WAY
        yield chained


def _start(hook: str) -> Callable[[Aws, Ask], Refs]:
    def start(aws: Aws, ask: Ask) -> Refs:
        if hook == AFTER:
            _wait_for_image(aws, ask)
        document, lines = _script(ask, hook)
        parameters = {"commands": lines, "executionTimeout": [str(ask.spec["timeout_seconds"])]}
        reach_seconds: int = ask.spec["reach_seconds"]
        return _commands.send(aws, ask, document, parameters, reach_seconds=reach_seconds)

    return start


def _wait_for_image(aws: Aws, ask: Ask) -> None:
    """AWS begins the snapshots of an AMI when it has taken the order already.

    Raises Fault as long as they have not begun.
    """
    image_id = ask.earlier.get(_images.STEP, {}).get(ask.spec["instance_id"])
    if image_id is None:
        return
    image = _ec2.one(aws, _ec2.IMAGES, image_id)
    begun = _images.snapshots_made_for(aws, image_id)
    if image is not None and image["State"] == "pending" and len(begun) < ask.spec["devices"]:
        message = f"the snapshots of {image_id} have not begun"
        raise Fault(FaultKind.TRANSIENT, message, operation="ec2:DescribeSnapshots")


def _script(ask: Ask, hook: str) -> tuple[str, list[str]]:
    """The document that runs a script, and the lines that look whether there is one."""
    name = f"{hook}_{ask.marks[tags.POLICY_NAME]}"
    told = {"CPM_POLICY": ask.marks[tags.POLICY_NAME], "CPM_BACKUP_ID": ask.marks[tags.BACKUP_ID]}
    argument = _argument(ask, hook)
    if ask.spec["platform"] == "windows":
        return "AWS-RunPowerShellScript", [
            f"$script = Join-Path $env:ProgramData 'CPM\\scripts\\{name}.ps1'",
            'if (-not (Test-Path $script)) { Write-Output "There is no $script"; exit 0 }',
            *(f"$env:{key} = '{value}'" for key, value in told.items()),
            "$global:LASTEXITCODE = 0",
            f"& $script {argument}".rstrip(),
            "exit $LASTEXITCODE",
        ]
    return "AWS-RunShellScript", [
        f"script=/opt/cpm/scripts/{name}",
        '[ -e "$script" ] || { echo "There is no $script"; exit 0; }',
        *(f"export {key}='{value}'" for key, value in told.items()),
        f'exec "$script" {argument}'.rstrip(),
    ]


def _argument(ask: Ask, hook: str) -> str:
    """What the script is told of how it went so far; the last is told of copies alone."""
    if hook == BEFORE:
        return ""
    others = _NO_COPIES if hook == COMPLETE else frozenset()
    return "0" if ask.failed - others else "1"


# Steps whose failure leaves the copies good.
_NO_COPIES = frozenset({BEFORE, AFTER, _vss.COMMAND, _vss.MADE})


def _effect(hook: str, *permissions: str) -> Effect:
    return Effect(
        name=f"{hook}_script",
        operation="ssm:SendCommand",
        permissions=(*_commands.PERMISSIONS, *permissions),
        start=_start(hook),
        find=_commands.find,
        watch=_commands.WATCH.name,
        for_consistency=True,
    )


EFFECTS = (
    _effect(BEFORE),
    _effect(AFTER, "ec2:DescribeImages", "ec2:DescribeSnapshots"),
    _effect(COMPLETE),
)
