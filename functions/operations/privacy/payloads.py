"""Shopify's compliance bodies and its word that an app was uninstalled, as far as they are read."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from operations.privacy.model import Topic

Id = Annotated[int, Field(gt=0, le=2**63 - 1)]


class Wire(BaseModel):
    model_config = ConfigDict(extra="ignore")


class RequestCustomer(Wire):
    """Any of the three may be missing."""

    id: Id | None = None
    email: str | None = None
    phone: str | None = None


class RequestNumber(Wire):
    id: Id | None = None


class ComplianceRequest(Wire):
    """``topic`` is given by hand only; a webhook's is read from where it was kept."""

    shop_domain: Annotated[str, Field(min_length=1, max_length=255)]
    topic: Topic | None = None
    customer: RequestCustomer | None = None
    orders_requested: list[Id] = Field(default_factory=list)
    orders_to_redact: list[Id] = Field(default_factory=list)
    data_request: RequestNumber | None = None


class AppUninstalled(Wire):
    """The shop as Shopify last saw it. By hand ``shop_domain`` may stand for it."""

    myshopify_domain: str | None = None
    domain: str | None = None
