"""Which KMS key a snapshot, a volume or a copy is encrypted with."""

from dataclasses import dataclass

from moto.ec2.models import EC2Backend
from moto.kms.models import kms_backends

from cpm.simulator import kms_keys
from cpm.simulator.ec2_errors import invalid_combination
from cpm.simulator.errors import AwsError

_DEFAULT_ALIAS = "alias/aws/ebs"


@dataclass(frozen=True)
class Encryption:
    """Encrypted with a key (its ARN), or not at all."""

    kms_key_id: str | None = None

    @property
    def encrypted(self) -> bool:
        """Whether there is a key."""
        return self.kms_key_id is not None


PLAIN = Encryption()


def requested(
    ec2: EC2Backend, encrypted: bool | None, kms_key_id: str | None, source: Encryption
) -> Encryption:
    """The encryption of something made of `source` with these parameters of the call.

    Never weaker than the source's; without a key named, the source's own or the region's default.
    """
    if kms_key_id and not encrypted and not source.encrypted:
        raise invalid_combination("The parameter KmsKeyId requires the parameter Encrypted.")
    if kms_key_id:
        return Encryption(_arn(ec2, kms_key_id))
    if source.encrypted:
        return source
    if encrypted or ec2.ebs_encryption_by_default:
        return Encryption(default_key(ec2))
    return PLAIN


def default_key(ec2: EC2Backend) -> str:
    """The ARN of the key that EBS uses when none is named, made by AWS on first use."""
    return (
        ec2.default_kms_key_id or kms_keys.aws_managed(ec2.account_id, ec2.region_name, "ebs").arn
    )


def is_aws_managed(ec2: EC2Backend, kms_key_id: str) -> bool:
    """Whether the key is AWS's own for EBS, which no other account can ever use."""
    kms = kms_backends[ec2.account_id][ec2.region_name]
    if not kms.alias_exists(_DEFAULT_ALIAS):
        return False
    return str(kms.describe_key(_DEFAULT_ALIAS).arn) == kms_key_id


def _arn(ec2: EC2Backend, kms_key_id: str) -> str:
    if kms_key_id.startswith("arn:") and ":key/" in kms_key_id:
        return kms_key_id
    kms = kms_backends[ec2.account_id][ec2.region_name]
    name = kms_key_id.rsplit(":", maxsplit=1)[-1]
    try:
        return str(kms.describe_key(name).arn)
    except Exception as failure:
        text = f"The KMS key {kms_key_id} is not found"
        raise AwsError("InvalidParameterValue", text) from failure
