"""Shopify's compliance bodies and its word that an app was uninstalled, as far as they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from operations.privacy.model import Topic
from tradewind.contracts.payload import Payload

Id = Annotated[int, Field(gt=0, le=2**63 - 1)]


class RequestCustomer(Payload):
    """Any of the three may be missing."""

    id: Id | None = None
    email: str | None = None
    phone: str | None = None


class RequestNumber(Payload):
    id: Id | None = None


class ComplianceRequest(Payload):
    """``topic`` is given by hand only; a webhook's is read from where it was kept. A deleted customer's webhook is the
    customer itself, without a shop.
    """

    shop_domain: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    topic: Topic | None = None
    customer: RequestCustomer | None = None
    orders_requested: list[Id] = Field(default_factory=list)
    orders_to_redact: list[Id] = Field(default_factory=list)
    data_request: RequestNumber | None = None

    @model_validator(mode="before")
    @classmethod
    def _take_deleted(cls, body: Any) -> Any:
        if isinstance(body, Mapping) and "id" in body and "customer" not in body:
            return {**body, "customer": {name: body.get(name) for name in ("id", "email", "phone")}}
        return body


class AppUninstalled(Payload):
    """The shop as Shopify last saw it. By hand ``shop_domain`` may stand for it."""

    myshopify_domain: str | None = None
    domain: str | None = None
