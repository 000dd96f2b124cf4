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

from tradewind.advertising import ConversionApis
from tradewind.catalogue import Catalogue
from tradewind.clock import Clock
from tradewind.exporting import Couriers, WebhookSender
from tradewind.ports import (
    DiscountCodes,
    EmailSender,
    HotCounters,
    LongMachines,
    MachineStarter,
    Messenger,
    PayloadStore,
    Shopify,
    TenantDirectory,
    UnsubscribeLinks,
)
from tradewind.spending import AdReports
from tradewind.surveys import Survey
from tradewind.tasks.run import Outbox, Run
from tradewind.tenancy.database import PlatformDb, TenantDb
from tradewind.tenancy.tenant import Tenant


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


_SCOPE = "tradewind.tasks.scope"
_SHOP = frozenset({Need.DATABASE, Need.CACHE, Need.KEY, Need.INTERNET})
PROVIDERS: Mapping[Any, Provider] = {
    Clock: Provider(f"{_SCOPE}:clock"),
    Run: Provider(f"{_SCOPE}:run", frozenset({Need.DATABASE})),
    Outbox: Provider(f"{_SCOPE}:outbox", frozenset({Need.DATABASE})),
    Tenant: Provider(f"{_SCOPE}:tenant", frozenset({Need.DATABASE})),
    TenantDb: Provider(f"{_SCOPE}:tenant_db", frozenset({Need.DATABASE})),
    PlatformDb: Provider(f"{_SCOPE}:platform_db", frozenset({Need.PLATFORM_DATABASE})),
    TenantDirectory: Provider(f"{_SCOPE}:directory", frozenset({Need.PLATFORM_DATABASE})),
    PayloadStore: Provider(f"{_SCOPE}:payloads", frozenset({Need.PAYLOADS})),
    MachineStarter: Provider(f"{_SCOPE}:machines", frozenset({Need.MACHINE})),
    LongMachines: Provider(f"{_SCOPE}:long_machines", frozenset({Need.LONG_MACHINE})),
    HotCounters: Provider("tradewind.tasks.counting:hot_counters", frozenset({Need.DATABASE, Need.CACHE})),
    Shopify: Provider(
        "tradewind.integrations.shopify.provider:shopify",
        _SHOP,
    ),
    ConversionApis: Provider(
        "tradewind.integrations.conversions:conversion_apis",
        frozenset({Need.DATABASE, Need.CACHE, Need.KEY, Need.INTERNET}),
    ),
    AdReports: Provider(
        "tradewind.integrations.ad_reports:ad_reports",
        frozenset({Need.DATABASE, Need.KEY, Need.INTERNET}),
    ),
    Couriers: Provider(
        "tradewind.integrations.couriers:couriers",
        frozenset({Need.DATABASE, Need.KEY, Need.INTERNET}),
    ),
    WebhookSender: Provider(
        "tradewind.integrations.webhook_sender:webhook_sender",
        frozenset({Need.DATABASE, Need.KEY, Need.INTERNET}),
    ),
    Survey: Provider(
        "tradewind.integrations.fairing.provider:survey",
        frozenset({Need.DATABASE, Need.CACHE, Need.KEY, Need.INTERNET}),
    ),
    Catalogue: Provider("tradewind.integrations.shopify.provider:catalogue", _SHOP),
    DiscountCodes: Provider("tradewind.integrations.shopify.provider:discount_codes", _SHOP),
    Messenger: Provider(
        "tradewind.integrations.slack.provider:messenger",
        frozenset({Need.DATABASE, Need.CACHE, Need.KEY, Need.INTERNET}),
    ),
    EmailSender: Provider(
        "tradewind.integrations.resend.provider:email_sender",
        frozenset({Need.DATABASE, Need.CACHE, Need.KEY, Need.INTERNET}),
    ),
    UnsubscribeLinks: Provider(
        "tradewind.tasks.scope:unsubscribe_links", frozenset({Need.DATABASE, Need.KEY})
    ),
}
