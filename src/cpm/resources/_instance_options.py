"""What may be asked of the backups of an instance, and of a recovered one."""

from dataclasses import dataclass

from cpm.resources._recovery import VOLUME_TYPES, Tagging
from cpm.resources.options import option

_BACKUP_OPTIONS = {
    "S": "Snapshots only",
    "I": "Snapshots and an initial AMI",
    "A": "AMI only",
    "N": "AMI only, without reboot",
}


@dataclass(frozen=True)
class TargetOptions:
    """How an instance is protected.

    `volumes` are those that `volumes_mode` speaks of; `excluded` are left out by their own tags,
    unless the others are a list of what is wanted.
    """

    backup_option: str = option("S", label="Backup option", choices=_BACKUP_OPTIONS)
    volumes_mode: str = option(
        "A",
        label="Volumes",
        choices={"A": "All", "I": "Only those listed", "E": "All but those listed"},
    )
    initial_ami: str | None = option(None, label="Initial AMI", max_length=64)
    agent_enabled: bool = option(False, label="Application consistent")
    vss_enabled: bool = option(False, label="VSS", help="Windows; needs the agent.")
    scripts_enabled: bool = option(False, label="Backup scripts")
    script_timeout: int | None = option(
        None,
        label="Script timeout (seconds)",
        help="The policy's.",
        minimum=1,
        maximum=86400,
    )
    volumes: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True)
class BlockDevice:
    """What is asked of one volume of the recovered instance."""

    device: str = option(label="Device", max_length=64)
    volume_type: str | None = option(None, label="Volume type", choices=VOLUME_TYPES)
    size_gib: int | None = option(None, label="Size (GiB)", minimum=1, maximum=65536)
    iops: int | None = option(None, label="IOPS", minimum=100, maximum=256000)
    throughput: int | None = option(None, label="Throughput (MiB/s)", minimum=125, maximum=2000)
    encrypted: bool | None = option(None, label="Encrypted")
    kms_key: str | None = option(None, label="KMS key", max_length=2048)
    delete_on_termination: bool | None = option(None, label="Delete on termination")
    skip: bool = option(False, label="Skip", help="Do not recover this volume.")


@dataclass(frozen=True)
class RecoverOptions(Tagging):
    """What may be asked of a recovered instance; what is not asked is as the original was."""

    launch_from: str | None = option(
        None, label="Launch from", choices={"I": "The AMI", "S": "An image of the root snapshot"}
    )
    instance_type: str | None = option(None, label="Instance type", max_length=64)
    key_pair: str | None = option(None, label="Key pair", max_length=255)
    number_of_instances: int = option(1, label="Number of instances", minimum=1, maximum=100)
    subnet: str | None = option(None, label="Subnet", max_length=64)
    vpc_assign_ip: str | None = option(
        None, label="Private IP address", help="The original's, if it is free.", max_length=39
    )
    security_groups: tuple[str, ...] | None = option(None, label="Security groups")
    iam_role: str | None = option(
        None, label="IAM role", help="Name or ARN of an instance profile.", max_length=2048
    )
    user_data: str | None = option(None, label="User data", max_length=16384)
    shutdown_behavior: str | None = option(
        None, label="Shutdown behavior", choices={"stop": "Stop", "terminate": "Terminate"}
    )
    ebs_optimized: bool | None = option(None, label="EBS optimized")
    monitoring: bool | None = option(None, label="Detailed monitoring")
    block_devices: tuple[BlockDevice, ...] = option((), label="Block devices")
    start: bool = option(True, label="Start", help="Leave the instance running.")
