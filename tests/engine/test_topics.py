"""Topics: made in the user's account or given, and read there by whoever subscribes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cpm.models.alerts import AlertSeverity
from cpm.models.notifications import Channel, ChannelType, Delivery, DeliveryOutcome
from cpm.resources import permissions
from cpm.resources.permissions import AccountType
from tests.engine.notifying import after, raise_one, work
from tests.engine.test_rights import grant, policy_without
from tests.engine.world import REGION, World


@pytest.fixture
def guarded(world: World) -> Iterator[World]:
    """An AWS that asks for rights."""
    world.simulator.config(enforce_iam=True)
    yield world
    world.simulator.config(enforce_iam=False)


def channel(world: World, **columns: Any) -> Channel:
    return Channel.objects.create(
        user=world.user,
        name="ops",
        channel_type=ChannelType.SNS,
        account=world.account,
        region=REGION,
        **columns,
    )


def queue_of(world: World, topic_arn: str) -> str:
    """A queue that is subscribed to the topic."""
    url = str(world.client("sqs").create_queue(QueueName="alerts")["QueueUrl"])
    arn = world.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    world.client("sns").subscribe(
        TopicArn=topic_arn, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"]
    )
    return url


def received(world: World, url: str) -> list[Any]:
    found = world.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [json.loads(each["Body"]) for each in found.get("Messages", ())]


def test_alerts_arrive_at_a_topic_that_the_server_makes(guarded: World) -> None:
    world = guarded
    grant(world, world.account, world.credentials, *permissions.documents(AccountType.BACKUP))
    made = channel(world)
    raise_one(world.user)
    after(minutes=1)
    made.refresh_from_db()
    assert made.topic_arn.endswith(f"-{made.pk}")
    (tag,) = world.client("sns").list_tags_for_resource(ResourceArn=made.topic_arn)["Tags"]
    assert tag["Key"] == "cpm_server_id"
    url = queue_of(world, made.topic_arn)
    raise_one(world.user, "größer", AlertSeverity.WARNING)
    after(minutes=1)
    (envelope,) = received(world, url)
    assert envelope["Subject"] == "[CPM] Warning: gr??er"
    attributes = {name: each["Value"] for name, each in envelope["MessageAttributes"].items()}
    message = json.loads(envelope["Message"])
    assert attributes == {
        "delivery_id": message["delivery_id"],
        "kind": "alerts",
        "severity": "Warning",
    }
    assert message["alerts"][0]["title"] == "größer"


def test_a_topic_that_was_given_is_used(world: World) -> None:
    arn = world.client("sns").create_topic(Name="mine")["TopicArn"]
    url = queue_of(world, arn)
    channel(world, topic_arn=arn)
    raise_one(world.user)
    after(minutes=1)
    assert len(received(world, url)) == 1
    assert world.simulator.counts()["sns:CreateTopic"] == 1


@pytest.mark.parametrize("action", ["sns:CreateTopic", "sns:Publish"])
def test_without_one_of_its_actions_the_channel_says_what_was_denied(
    guarded: World, action: str
) -> None:
    world = guarded
    grant(world, world.account, world.credentials, *policy_without(action))
    made = channel(world)
    raise_one(world.user)
    after(minutes=1)
    work()
    made.refresh_from_db()
    assert action in made.error
    assert "not authorized" in made.error
    assert not Delivery.objects.filter(outcome=DeliveryOutcome.DELIVERED).exists()


def test_an_answer_that_was_lost_is_asked_for_again(world: World) -> None:
    made = channel(world)
    world.simulator.faults([{"op": "sns:*", "kind": "lost", "times": 1}])
    raise_one(world.user)
    after(minutes=1)
    after(minutes=1)
    made.refresh_from_db()
    assert Delivery.objects.get().outcome == DeliveryOutcome.DELIVERED
    arns = [each["TopicArn"] for each in world.client("sns").list_topics()["Topics"]]
    assert arns == [made.topic_arn]
