"""What a task may ask for in its signature: one table from type to provider.

The same table tells infra the grants and the environment. Factories are named by path and imported only in a
process that needs them, so that a task which never talks to Shopify does not pay for its client.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Need(StrEnum):
    """A resource that a provider uses; infra turns each into grants, environment and routes."""

    DATABASE = "database"
    PLATFORM_DATABASE = "platform_database"
    CACHE = "cache"
    KEY = "key"
    INTERNET = "internet"
    MACHINE = "machine"
    LONG_MACHINE = "long_machine"
    PAYLOADS = "payloads"


@dataclass(frozen=True, slots=True)
class Provider:
    """``factory`` is ``module:function`` taking the invocation's scope; ``needs`` are its resources."""

    factory: str
    needs: frozenset[Need] = frozenset()

    def load(self) -> Callable[[Any], Any]:
        module, _, name = self.factory.partition(":")
        factory: Callable[[Any], Any] = getattr(importlib.import_module(module), name)
        return factory


_SCOPE, _SHOPIFY = "tradewind.tasks.scope", "tradewind.integrations.shopify"
_SHOP = frozenset({Need.DATABASE, Need.CACHE, Need.KEY, Need.INTERNET})
PROVIDERS: Mapping[str, Provider] = {
    "tradewind.clock.Clock": Provider(f"{_SCOPE}:clock"),
    "tradewind.tasks.run.Run": Provider(f"{_SCOPE}:run", frozenset({Need.DATABASE})),
    "tradewind.tasks.run.Outbox": Provider(f"{_SCOPE}:outbox", frozenset({Need.DATABASE})),
    "tradewind.tenancy.tenant.Tenant": Provider(f"{_SCOPE}:tenant", frozenset({Need.DATABASE})),
    "tradewind.tenancy.database.TenantDb": Provider(f"{_SCOPE}:tenant_db", frozenset({Need.DATABASE})),
    "tradewind.tenancy.database.PlatformDb": Provider(
        f"{_SCOPE}:platform_db", frozenset({Need.PLATFORM_DATABASE})
    ),
    "tradewind.ports.TenantDirectory": Provider(f"{_SCOPE}:directory", frozenset({Need.PLATFORM_DATABASE})),
    "tradewind.ports.PayloadStore": Provider(f"{_SCOPE}:payloads", frozenset({Need.PAYLOADS})),
    "tradewind.ports.MachineStarter": Provider(f"{_SCOPE}:machines", frozenset({Need.MACHINE})),
    "tradewind.ports.LongMachines": Provider(f"{_SCOPE}:long_machines", frozenset({Need.LONG_MACHINE})),
    "tradewind.ports.HotCounters": Provider(
        "tradewind.tasks.counting:hot_counters", frozenset({Need.DATABASE, Need.CACHE})
    ),
    "tradewind.ports.Shopify": Provider(
        f"{_SHOPIFY}.provider:shopify",
        _SHOP,
    ),
    "tradewind.advertising.ConversionApis": Provider(
        "tradewind.integrations.conversions:conversion_apis",
        frozenset({Need.DATABASE, Need.CACHE, Need.KEY, Need.INTERNET}),
    ),
    "tradewind.spending.AdReports": Provider(
        "tradewind.integrations.ad_reports:ad_reports",
        frozenset({Need.DATABASE, Need.KEY, Need.INTERNET}),
    ),
    "tradewind.exporting.Couriers": Provider(
        "tradewind.integrations.couriers:couriers",
        frozenset({Need.DATABASE, Need.KEY, Need.INTERNET}),
    ),
    "tradewind.exporting.WebhookSender": Provider(
        "tradewind.integrations.webhook_sender:webhook_sender",
        frozenset({Need.DATABASE, Need.KEY, Need.INTERNET}),
    ),
    "tradewind.surveys.Survey": Provider(
        "tradewind.integrations.fairing.provider:survey",
        frozenset({Need.DATABASE, Need.CACHE, Need.KEY, Need.INTERNET}),
    ),
    "tradewind.catalogue.Catalogue": Provider(f"{_SHOPIFY}.catalogue_provider:catalogue", _SHOP),
    "tradewind.ports.DiscountCodes": Provider(f"{_SHOPIFY}.catalogue_provider:discount_codes", _SHOP),
    "tradewind.ports.Messenger": Provider(
        "tradewind.integrations.slack.provider:messenger",
        frozenset({Need.DATABASE, Need.CACHE, Need.KEY, Need.INTERNET}),
    ),
    "tradewind.ports.EmailSender": Provider(
        "tradewind.integrations.resend.provider:email_sender",
        frozenset({Need.DATABASE, Need.CACHE, Need.KEY, Need.INTERNET}),
    ),
    "tradewind.ports.UnsubscribeLinks": Provider(
        "tradewind.tasks.scope:unsubscribe_links", frozenset({Need.DATABASE, Need.KEY})
    ),
}
"""By the type's full name: a task imports the types that it asks for, and no others."""


def provider_of(wanted: Any) -> Provider | None:
    """What provides a type; None for a type that nobody provides."""
    return PROVIDERS.get(f"{getattr(wanted, '__module__', '')}.{getattr(wanted, '__qualname__', '')}")
