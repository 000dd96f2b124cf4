"""The providers that the sandbox plays, by name. A new one is a package and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from infra.local.sandbox.provider import Provider
from infra.local.sandbox.resend.provider import ResendProvider
from infra.local.sandbox.shopify.provider import ShopifyProvider
from infra.local.sandbox.slack.provider import SlackProvider

PROVIDERS: Mapping[str, Callable[[], Provider]] = {
    "shopify": ShopifyProvider,
    "resend": ResendProvider,
    "slack": SlackProvider,
}
