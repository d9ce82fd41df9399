"""Keys of KMS, as far as copies for other accounts depend on them."""

from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources._recovery import NO_FIELD
from cpm.resources.contract import OptionRefused
from cpm.resources.copied import CopyWish

# IAM actions of planning copies.
READ_PERMISSIONS = ("kms:DescribeKey",)


def is_aws_managed(aws: Aws, key_id: str) -> bool:
    """Whether it is AWS's own key, which no other account can ever use; raises Fault."""
    key = aws.call("kms", "DescribeKey", KeyId=key_id)["KeyMetadata"]
    return bool(key["KeyManager"] == "AWS")


def usable(aws: Aws, key_id: str) -> str:
    """The ARN of a key, empty where it may not be used now; raises Fault."""
    key = aws.call("kms", "DescribeKey", KeyId=key_id)["KeyMetadata"]
    return str(key["Arn"]) if key["KeyState"] == "Enabled" else ""


def check_sharing_key(aws: Aws, wish: CopyWish) -> None:
    """Raise OptionRefused unless what AWS's own key encrypts can be copied under another one."""
    what = f"{wish.original.aws_ref} is encrypted with AWS's own key and cannot be shared"
    where = f"{wish.source_region} of {wish.source_account}"
    try:
        is_no_use = is_aws_managed(aws, wish.sharing_key)
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise
        text = f"{what}; {where} has no key {wish.sharing_key} to copy it under"
        raise OptionRefused(NO_FIELD, "does_not_exist", text) from None
    if is_no_use:
        text = f"{what}; {wish.sharing_key} in {where} is AWS's own, too"
        raise OptionRefused(NO_FIELD, "invalid", text)
