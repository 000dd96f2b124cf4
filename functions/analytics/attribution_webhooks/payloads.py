"""What webhook tasks take."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from analytics.attribution_exports.payloads import Name, Webhook
from analytics.attribution_webhooks.model import EventType, Subscription
from tradewind.contracts.payload import StrictPayload


class WebhookSubscription(StrictPayload):
    """Who wants to hear of what; one of the same name is replaced, and goes on with what waits for it."""

    name: Name
    url: str
    events: Annotated[tuple[EventType, ...], Field(min_length=1, max_length=3)] = tuple(EventType)
    active: bool = True

    @field_validator("url")
    @classmethod
    def _as_exports_have_it(cls, url: str) -> str:
        return Webhook(url=url).url

    def subscription(self) -> Subscription:
        return Subscription(self.name, self.url, tuple(dict.fromkeys(self.events)), self.active)


class WebhooksToSend(StrictPayload):
    """How many are sent before the rest is handed on."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
