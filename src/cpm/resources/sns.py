"""SNS topics, by which users are told of alerts. They are nothing that could be protected."""

from collections.abc import Mapping

from cpm.aws import tags
from cpm.aws.sessions import Aws

# The IAM actions of what is done here.
PERMISSIONS = ("sns:CreateTopic", "sns:Publish", "sns:TagResource")


def create_topic(aws: Aws, name: str, marks: Mapping[str, str]) -> str:
    """Make a topic, or find the one of this name and these tags; returns its ARN. Raises Fault."""
    answer = aws.call("sns", "CreateTopic", Name=name, Tags=tags.to_aws(dict(marks)))
    return str(answer["TopicArn"])


def publish(
    aws: Aws, topic_arn: str, subject: str, texts: str, attributes: Mapping[str, str]
) -> None:
    """Publish `texts`, a JSON object by protocol. Attributes that are empty are left out.

    Raises Fault.
    """
    aws.call(
        "sns",
        "Publish",
        TopicArn=topic_arn,
        # SNS takes nothing but ASCII here.
        Subject=subject.encode("ascii", "replace").decode(),
        Message=texts,
        MessageStructure="json",
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value}
            for name, value in attributes.items()
            if value
        },
    )
