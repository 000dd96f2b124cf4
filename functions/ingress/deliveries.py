"""What the receiver needs to know of a provider: how its deliveries are signed and what they say. One class each.

Everything here is pure and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from ingress.strict_json import parse_object
from tradewind.contracts.shopify import COMPLIANCE_TOPICS
from tradewind.errors import InvalidPayloadError
from tradewind.integrations.resend import webhook as resend_webhook
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
    """A provider whose webhooks can be received. ``header_prefixes`` begin the headers that matter of a delivery."""

    header_prefixes: tuple[str, ...]

    def secret_label(self, app: str) -> tuple[str, str]:
        """Name and app under which the signing secret of an app lies among the credentials."""

    def account_of(self, request: Request) -> str:
        """Whom the delivery claims to be for, before it is verified; empty where it does not say."""

    def verify(self, request: Request, secrets: Sequence[bytes]) -> bool: ...

    def id_of(self, headers: Mapping[str, str]) -> str:
        """What makes it the same delivery again, as far as it says; empty where it does not."""

    def read(self, request: Request) -> Delivery:
        """Read a verified delivery. Raises InvalidPayloadError that names what is wrong."""

    def entity_of(self, topic: str, body: Mapping[str, Any]) -> str:
        """The id of what the body is about, which orders messages; raises InvalidPayloadError."""


class ShopifyWebhooks:
    """Shopify's deliveries: shop domain, topic and delivery id in headers, HMAC over the raw body."""

    header_prefixes: tuple[str, ...] = ("x-shopify-",)

    def secret_label(self, app: str) -> tuple[str, str]:
        return "app_secret", app

    def account_of(self, request: Request) -> str:
        return request.headers.get("x-shopify-shop-domain", "").strip().lower()

    def verify(self, request: Request, secrets: Sequence[bytes]) -> bool:
        return shopify_webhook.verify(
            request.raw_body, shopify_webhook.signature_of(request.headers), secrets
        )

    def id_of(self, headers: Mapping[str, str]) -> str:
        return headers.get("x-shopify-webhook-id", "")

    def read(self, request: Request) -> Delivery:
        read = shopify_webhook.read_headers(request.headers)
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


class ResendWebhooks:
    """Resend's deliveries, signed the Svix way: what they are about stands in their body.

    ``/webhooks/resend`` takes those of the account that tenants share: the e-mail's own tags name its tenant, and the
    signature under the platform's secret says that we wrote them. ``/webhooks/resend/{slug}`` takes those of a tenant's
    own account, whatever they name.
    """

    header_prefixes: tuple[str, ...] = ("svix-", "webhook-")

    def secret_label(self, app: str) -> tuple[str, str]:  # noqa: ARG002 - one account has one secret
        return "webhook_secret", "default"

    def account_of(self, request: Request) -> str:
        if request.app != "default":
            return request.app
        try:
            return str(
                UUID(resend_webhook.tags_of(parse_object(request.raw_body.decode())).get("tenant", ""))
            )
        except (InvalidPayloadError, UnicodeDecodeError, ValueError):
            return ""

    def verify(self, request: Request, secrets: Sequence[bytes]) -> bool:
        texts = [secret.decode() for secret in secrets]
        usable = [text for text in texts if resend_webhook.is_usable(text)]
        return resend_webhook.verify(request.raw_body, request.headers, usable, request.received_at)

    def id_of(self, headers: Mapping[str, str]) -> str:
        return headers.get("svix-id") or headers.get("webhook-id", "")

    def read(self, request: Request) -> Delivery:
        told = resend_webhook.read_event(request.headers, request.raw_body)
        return Delivery(told.topic, self.account_of(request), told.id, told.id, told.sent_at)

    def entity_of(self, topic: str, body: Mapping[str, Any]) -> str:  # noqa: ARG002 - all topics say it alike
        return resend_webhook.tags_of(body)["order"]


PROVIDERS: Mapping[str, WebhookProvider] = {"shopify": ShopifyWebhooks(), "resend": ResendWebhooks()}
