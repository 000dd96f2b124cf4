"""What the receiver needs to know of a provider: how its deliveries are signed and what they say. One class each.

Everything here is pure and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from tradewind.contracts.shopify import COMPLIANCE_TOPICS
from tradewind.integrations.shopify import webhook as shopify_webhook


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request as far as it is read: header names in lower case, the body's bytes as they were signed."""

    provider: str
    app: str
    headers: Mapping[str, str]
    raw_body: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """A verified delivery. ``account`` is whose it is at the provider (a shop's domain), ``event_id`` what makes it
    the same delivery again.
    """

    topic: str
    account: str
    event_id: str
    correlation_id: str
    triggered_at: datetime | None
    compliance: bool = False


class WebhookProvider(Protocol):
    """A provider whose webhooks can be received."""

    def account_of(self, headers: Mapping[str, str]) -> str:
        """Whom the delivery claims to be for, before it is verified; empty where it does not say."""

    def verify(self, raw_body: bytes, headers: Mapping[str, str], secrets: Sequence[bytes]) -> bool: ...

    def read(self, headers: Mapping[str, str]) -> Delivery:
        """Read a verified delivery. Raises InvalidPayloadError that names what is wrong."""

    def entity_of(self, topic: str, body: Mapping[str, Any]) -> str:
        """The id of what the body is about, which orders messages; raises InvalidPayloadError."""


class ShopifyWebhooks:
    """Shopify's deliveries: shop domain, topic and delivery id in headers, HMAC over the raw body."""

    def account_of(self, headers: Mapping[str, str]) -> str:
        return headers.get("x-shopify-shop-domain", "").strip().lower()

    def verify(self, raw_body: bytes, headers: Mapping[str, str], secrets: Sequence[bytes]) -> bool:
        return shopify_webhook.verify(raw_body, shopify_webhook.signature_of(headers), secrets)

    def read(self, headers: Mapping[str, str]) -> Delivery:
        read = shopify_webhook.read_headers(headers)
        return Delivery(
            topic=read.topic,
            account=read.shop_domain,
            event_id=read.webhook_id,
            correlation_id=read.event_id or read.webhook_id,
            triggered_at=read.triggered_at,
            compliance=read.topic in COMPLIANCE_TOPICS,
        )

    def entity_of(self, topic: str, body: Mapping[str, Any]) -> str:
        return shopify_webhook.entity_of(topic, body)


PROVIDERS: Mapping[str, WebhookProvider] = {"shopify": ShopifyWebhooks()}
