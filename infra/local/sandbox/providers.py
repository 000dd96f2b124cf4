"""The providers that the sandbox plays, by name. A new one is a package and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from infra.local.sandbox.fairing.provider import FairingProvider
from infra.local.sandbox.ga4.provider import Ga4Provider
from infra.local.sandbox.google_ads.provider import GoogleAdsProvider
from infra.local.sandbox.meta.provider import MetaProvider
from infra.local.sandbox.provider import Provider
from infra.local.sandbox.receiver.provider import ReceiverProvider
from infra.local.sandbox.resend.provider import ResendProvider
from infra.local.sandbox.shopify.provider import ShopifyProvider
from infra.local.sandbox.slack.provider import SlackProvider
from infra.local.sandbox.tiktok.provider import TikTokProvider

PROVIDERS: Mapping[str, Callable[[], Provider]] = {
    "shopify": ShopifyProvider,
    "resend": ResendProvider,
    "slack": SlackProvider,
    "ga4": Ga4Provider,
    "meta": MetaProvider,
    "tiktok": TikTokProvider,
    "google_ads": GoogleAdsProvider,
    "receiver": ReceiverProvider,
    "fairing": FairingProvider,
}
