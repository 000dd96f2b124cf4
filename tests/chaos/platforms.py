"""The ad platforms: what our ledger says that they were told, and what they say that they count.

A purchase is told again with the same id where its answer was lost or its worker died: then it is the platform that
counts it once, by its own id of the event, and not we who told it once. A refund at GA4 has no such id: it is told at
most once, and where its answer was lost the ledger says that nobody knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from tests.e2e.cloud import Cloud, Tenant

PLACES = {"ga4": "ga4/streams", "meta": "meta/datasets", "tiktok": "tiktok/pixels"}
_NAMES = {"purchase": "purchase", "Purchase": "purchase", "refund": "refund", "Refund": "refund"}
_LEDGER = """
SELECT destination, event_name, shopify_order_id, state, reason, value_cents, attempts FROM conversion_events_sent
WHERE tenant_id = %s
"""

Told = tuple[str, str, int, int]
"""Platform, event, order and cents. A refund is known by its order and amount: GA4 is not told its id."""
Entry = tuple[str, str, int, str, str, int]
"""Platform, event, order, state, reason and cents."""


@dataclass(frozen=True, slots=True)
class Books:
    """A tenant's ledger and the platforms' own counts: ``duplicates`` they dropped, ``repeats`` we told again."""

    ledger: Counter[Entry]
    counted: Counter[Told]
    duplicates: Mapping[str, int]
    repeats: Mapping[str, int]

    def told(self, *states: str) -> Counter[Told]:
        """What the ledger says was told, of those states."""
        return Counter(
            (place, event, order, cents)
            for place, event, order, state, _, cents in self.ledger.elements()
            if state in states
        )


def account_of(platform: str, tenant_id: UUID) -> str:
    return f"G-{tenant_id.hex}" if platform == "ga4" else tenant_id.hex


def connect(tenant: Tenant) -> None:
    """Store what each platform asks for."""
    own = {name: account_of(name, tenant.id) for name in PLACES}
    secrets = {
        "ga4": {"measurement_id": own["ga4"], "api_secret": "s3cret"},
        "meta": {"dataset_id": own["meta"], "access_token": f"EAA{tenant.id.hex}"},
        "tiktok": {"pixel_id": own["tiktok"], "access_token": f"tt_{own['tiktok']}"},
    }
    for provider, credentials in secrets.items():
        asked = {"action": "store-credentials", "tenant": tenant.slug, "provider": provider}
        tenant.cloud.invoke("ingress-admin", asked | {"credentials": credentials})


def read_books(cloud: Cloud, tenant_id: UUID) -> Books:
    rows = cloud.query(_LEDGER, tenant_id)
    repeats = Counter[str]()
    for row in rows:
        repeats[row["destination"]] += max(0, row["attempts"] - 1)
    ledger = Counter[Entry](
        (
            row["destination"], row["event_name"], row["shopify_order_id"], row["state"], row["reason"] or "",
            row["value_cents"],
        )
        for row in rows
    )  # fmt: skip
    seen = {name: _seen(cloud, name, tenant_id) for name in PLACES}
    counted = Counter(_told(name, event) for name, each in seen.items() for event in each["events"])
    return Books(ledger, counted, {name: each["duplicates"] for name, each in seen.items()}, repeats)


def _seen(cloud: Cloud, platform: str, tenant_id: UUID) -> dict[str, Any]:
    answer = cloud.sandbox.get(f"/{PLACES[platform]}/{account_of(platform, tenant_id)}")
    found: dict[str, Any] = answer.raise_for_status().json()
    assert not found["dropped"], f"{platform} drops {found['dropped'][0]}"
    return found


def _told(platform: str, event: Mapping[str, Any]) -> Told:
    """Of an event in a platform's own form."""
    if platform == "ga4":
        about = event["params"]
        return platform, _NAMES[event["name"]], int(about["transaction_id"]), _cents(about["value"])
    about = event["custom_data"] if platform == "meta" else event["properties"]
    name = event["event_name"] if platform == "meta" else event["event"]
    return platform, _NAMES[name], int(about["order_id"]), _cents(about["value"])


def _cents(value: float) -> int:
    return int(Decimal(str(value)) * 100)


def wrong(calm: Sequence[Books], disturbed: Sequence[Books]) -> list[str]:
    """What is amiss after a disturbed run, for a person: each event once at each platform, as the ledger says, and what
    an undisturbed run has told.
    """
    found: list[str] = []
    for number, (one, other) in enumerate(zip(calm, disturbed, strict=True)):
        found += [f"tenant {number}: {line}" for line in (*_unlike(one, other), *_amiss(other))]
    return found


def _unlike(calm: Books, other: Books) -> list[str]:
    """GA4's refunds alone may have been told to an unknown end."""
    one = Counter({_leniently(entry): count for entry, count in calm.ledger.items()})
    two = Counter[Entry]()
    for entry, count in other.ledger.items():
        two[_leniently(entry)] += count
    return [f"not in the ledger: {entry}" for entry in (one - two).elements()] + [
        f"too many in the ledger: {entry}" for entry in (two - one).elements()
    ]


def _leniently(entry: Entry) -> Entry:
    place, event, order, state, reason, cents = entry
    if (place, event, state) == ("ga4", "refund", "sent"):
        return place, event, order, "acknowledged", "", cents
    return entry if state == "acknowledged" else (place, event, order, state, reason, 0)


def _amiss(books: Books) -> list[str]:
    certain, unknown = books.told("acknowledged"), books.told("sent")
    told = [f"acknowledged and not counted: {event}" for event in (certain - books.counted).elements()]
    told += [f"counted too often: {event}" for event in (books.counted - certain - unknown).elements()]
    return told + [
        f"{name} was told {dropped} times again, of which the ledger knows {books.repeats.get(name, 0)}"
        for name, dropped in books.duplicates.items()
        if dropped > books.repeats.get(name, 0)
    ]
