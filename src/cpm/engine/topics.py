"""SNS topics: messages published to a topic of the user's, which the server makes where it lacks.

People subscribe to the topic in AWS. By e-mail they get text, everything else gets JSON.
"""

import json

from cpm.aws import tags
from cpm.engine import accounts, identity
from cpm.engine.messages import Message
from cpm.models.notifications import Channel, ChannelType
from cpm.resources import sns


def is_missing(channel: Channel) -> bool:
    """Whether there is no topic yet."""
    return channel.channel_type == ChannelType.SNS and not channel.topic_arn


def make(channel: Channel) -> None:
    """Make the topic; AWS gives the same again to whoever asks again. Raises Fault."""
    server_id = identity.server_id()
    name = f"cpm-{server_id[:8]}-{channel.pk}"
    aws = accounts.aws_of(channel.account, channel.region)
    arn = sns.create_topic(aws, name, {tags.SERVER_ID: server_id})
    Channel.objects.filter(pk=channel.pk, topic_arn="").update(topic_arn=arn, error="")


def publish(channel: Channel, message: Message) -> None:
    """Publish a message; raises Fault."""
    aws = accounts.aws_of(channel.account, channel.region)
    texts = {"default": message.body, "email": message.text, "sms": message.subject}
    attributes = {"delivery_id": message.key, "kind": message.kind, "severity": message.severity}
    sns.publish(aws, channel.topic_arn, message.subject, json.dumps(texts), attributes)
