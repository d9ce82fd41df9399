"""How people are told of alerts, as a story: see `tests.crash.stories`."""

import json
from typing import Any

from cpm.engine import alerts
from cpm.models.alerts import Alert
from cpm.models.notifications import Channel, ChannelType, Delivery, DeliveryOutcome
from tests.crash.stories import Story
from tests.engine.notifying import raise_one
from tests.engine.world import REGION, World


class NoticeStory(Story):
    """An alert is raised, and then resolved; a topic that has yet to be made tells of both."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.cause = f"cause {Alert.objects.count()}"
        Channel.objects.all().delete()
        self.topics = set(self._topics())
        self.channel = Channel.objects.create(
            user=world.user,
            name="ops",
            channel_type=ChannelType.SNS,
            account=world.account,
            region=REGION,
        )

    def ask(self) -> None:
        if not self._alerts().exists():
            raise_one(self.world.user, self.cause)
        self.world.drain()
        alerts.resolve(self.cause)

    def check(self) -> None:
        (topic,) = set(self._topics()) - self.topics
        self.channel.refresh_from_db()
        assert self.channel.topic_arn == topic
        sent = list(self.channel.deliveries.order_by("pk"))
        assert [self._event(each) for each in sent] == ["raised", "resolved"]
        assert {each.outcome for each in sent} == {DeliveryOutcome.DELIVERED}
        assert self._alerts().get().resolved_at is not None

    def _event(self, delivery: Delivery) -> str:
        (alert,) = json.loads(delivery.body)["alerts"]
        return str(alert["event"])

    def _alerts(self) -> Any:
        return Alert.objects.filter(cause=self.cause)

    def _topics(self) -> list[str]:
        pages = self.world.client("sns").get_paginator("list_topics").paginate()
        return [each["TopicArn"] for page in pages for each in page["Topics"]]
