"""A customer's own rules, pure: what is written, which tags and segments a customer earns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tradewind.catalogue import CustomerProfile


@dataclass(frozen=True, slots=True)
class StoredCustomer:
    """A customer as the rules read it. ``profile_at`` is None where only orders have told of the customer."""

    customer_id: int
    profile_at: datetime | None
    deleted_at: datetime | None
    email: str | None
    accepts_marketing: bool
    orders_count: int
    total_spent_cents: int
    country_code: str | None
    tags: tuple[str, ...]
    segments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A tag or segment, and all that a customer must fulfil to have it. What is None asks for nothing."""

    name: str
    min_orders: int | None = None
    max_orders: int | None = None
    min_spent_cents: int | None = None
    accepts_marketing: bool | None = None
    country: str | None = None
    email_domain: str | None = None
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class CustomerRules:
    """A tenant's rules: tags are added at Shopify and never taken away; segments are ours and follow the customer."""

    tags: tuple[Rule, ...] = field(default_factory=tuple)
    segments: tuple[Rule, ...] = field(default_factory=tuple)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> CustomerRules:
        """Read ``settings["customer_rules"]``: lists ``tags`` and ``segments`` of rules, each with its ``name``.

        Raises ValueError for a rule that asks for what no rule can.
        """
        own = settings.get("customer_rules") or {}
        return cls(_rules(own.get("tags") or ()), _rules(own.get("segments") or ()))


def _rules(given: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
    try:
        return tuple(Rule(**each) for each in given)
    except TypeError as error:
        raise ValueError(f"setting customer_rules: {error}") from None


def earned(customer: StoredCustomer, rules: Sequence[Rule]) -> tuple[str, ...]:
    """The names of the rules that a customer fulfils, in their order, each once."""
    return tuple(dict.fromkeys(rule.name for rule in rules if _fulfils(customer, rule)))


def missing_tags(customer: StoredCustomer, rules: Sequence[Rule]) -> tuple[str, ...]:
    """Tags that a customer has earned and does not have; Shopify compares tags without regard to case."""
    present = {tag.casefold() for tag in customer.tags}
    return tuple(tag for tag in earned(customer, rules) if tag.casefold() not in present)


def _fulfils(customer: StoredCustomer, rule: Rule) -> bool:
    domain = (customer.email or "").rpartition("@")[2].lower()
    tags = {tag.casefold() for tag in customer.tags}
    asked = (
        rule.min_orders is None or customer.orders_count >= rule.min_orders,
        rule.max_orders is None or customer.orders_count <= rule.max_orders,
        rule.min_spent_cents is None or customer.total_spent_cents >= rule.min_spent_cents,
        rule.accepts_marketing is None or customer.accepts_marketing == rule.accepts_marketing,
        rule.country is None or customer.country_code == rule.country.upper(),
        rule.email_domain is None or domain == rule.email_domain.lower(),
        rule.tag is None or rule.tag.casefold() in tags,
    )
    return all(asked)


def contains(stored: StoredCustomer | None, changed_at: datetime | None) -> bool:
    """Whether the stored profile is the changed one already: an equal instant is the same state."""
    return (
        stored is not None
        and stored.profile_at is not None
        and stored.deleted_at is None
        and changed_at is not None
        and stored.profile_at >= changed_at
    )


def to_row(customer: CustomerProfile) -> dict[str, Any]:
    moment = customer.updated_at.isoformat()
    return {
        "shopify_customer_id": customer.id,
        "email": customer.email,
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "phone": customer.phone,
        "accepts_marketing": customer.accepts_marketing,
        "tags": list(customer.tags),
        "source_updated_at": moment,
        "profile_updated_at": moment,
        "shopify_created_at": customer.created_at.isoformat(),
        "locale": customer.locale,
        "account_state": customer.state,
        "verified_email": customer.verified_email,
        "orders_count": customer.orders_count,
        "total_spent_cents": customer.total_spent_cents,
        "currency": customer.currency,
        "default_address_id": next((each.id for each in customer.addresses if each.is_default), None),
    }


def to_address_rows(customers: Iterable[CustomerProfile]) -> list[dict[str, Any]]:
    return [
        {
            "shopify_customer_id": customer.id,
            "shopify_address_id": address.id,
            "first_name": address.first_name,
            "last_name": address.last_name,
            "company": address.company,
            "address1": address.address1,
            "address2": address.address2,
            "city": address.city,
            "province_code": address.province_code,
            "country_code": address.country_code,
            "zip": address.zip,
            "phone": address.phone,
        }
        for customer in customers
        for address in customer.addresses
    ]
