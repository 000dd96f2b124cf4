"""Steps on the way to a purchase, as a storefront tells them. Pure."""

from __future__ import annotations

from datetime import datetime

from analytics.ad_platforms.model import default_consent, event_id
from analytics.ad_platforms.payloads import TikTokEvent
from tradewind.advertising import Browser, Consent, Consents, ConversionEvent, EventName, Item, Person
from tradewind.errors import InvalidPayloadError
from tradewind.money import minor_digits
from tradewind.tenancy.tenant import Tenant

_NAMES = {
    "AddToCart": EventName.ADD_TO_CART,
    "ViewContent": EventName.VIEW_CONTENT,
    "InitiateCheckout": EventName.INITIATE_CHECKOUT,
}


def funnel_event(payload: TikTokEvent, tenant: Tenant, accepted_at: datetime) -> ConversionEvent:
    """Raises InvalidPayloadError where the publisher gives no id, or a currency that does not exist."""
    if payload.event_id is None:
        raise InvalidPayloadError("event_id", "is missing", "the publisher's own id of the event")
    currency = payload.currency or tenant.currency
    try:
        minor_digits(currency)
    except ValueError as error:
        raise InvalidPayloadError("currency", str(error)) from error
    visitor = payload.visitor
    consent = Consent(visitor.consent) if visitor.consent else default_consent(tenant.settings)
    return ConversionEvent(
        _NAMES[payload.event],
        event_id(tenant.id, payload.event_id),
        payload.moment(accepted_at),
        currency,
        payload.value_cents,
        payload.value_cents,
        items=tuple(Item(each.id, each.name, each.quantity, each.unit_price_cents) for each in payload.items),
        person=Person(visitor.customer_id, visitor.email, visitor.phone),
        browser=Browser(
            client_ip=visitor.client_ip,
            user_agent=visitor.user_agent,
            page_url=visitor.page_url,
            ttp=visitor.ttp,
            ttclid=visitor.ttclid,
        ),
        consents=Consents(consent, consent),
    )
