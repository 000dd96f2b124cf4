"""The tenant's ``Catalogue`` and ``DiscountCodes``, apart from ``Shopify``: who syncs orders imports neither."""

from __future__ import annotations

from tradewind.integrations.shopify.admin_api import AdminApi
from tradewind.integrations.shopify.catalogue_client import CatalogueClient
from tradewind.integrations.shopify.discounts import ShopifyDiscountCodes
from tradewind.integrations.shopify.provider import access
from tradewind.tasks.scope import Scope


def catalogue(scope: Scope) -> CatalogueClient:
    """The tenant's catalogue. Raises MisconfiguredError where the tenant has no shop."""
    return CatalogueClient(_api(scope))


def discount_codes(scope: Scope) -> ShopifyDiscountCodes:
    """The tenant's discount codes. Raises MisconfiguredError where the tenant has no shop."""
    return ShopifyDiscountCodes(_api(scope))


def _api(scope: Scope) -> AdminApi:
    return AdminApi(**access(scope.settings, scope.tenant, scope.session, scope.process.clock))
