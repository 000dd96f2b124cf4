"""The three shops of the demo, their creators, and what they sell."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DemoShop:
    """A tenant and its Shopify shop. ``app_secret`` signs the demo's webhooks; it protects nothing."""

    slug: str
    name: str
    shop: str
    currency: str
    zone: str
    app_secret: str


@dataclass(frozen=True, slots=True)
class DemoCreator:
    """A creator of one shop. ``rate_percent`` overrides the tier's; an inactive one earns nothing."""

    slug: str
    name: str
    code: str
    rate_percent: int | None = None
    is_active: bool = True


SHOPS = (
    DemoShop(
        "alder", "Alder & Ash", "alder-ash.myshopify.com", "USD", "America/New_York", "demo-secret-alder"
    ),
    DemoShop(
        "birch",
        "Birch Outfitters",
        "birch-outfitters.myshopify.com",
        "USD",
        "Europe/Berlin",
        "demo-secret-birch",
    ),
    DemoShop(
        "cedar", "Cedar Supply", "cedar-supply.myshopify.com", "CAD", "America/Toronto", "demo-secret-cedar"
    ),
)
NEWCOMER = DemoShop("dune", "Dune Optics", "dune-optics.myshopify.com", "USD", "UTC", "demo-secret-dune")
"""Comes when the others are through, with a past that a model is trained on."""
STRANGER = "no-such-tenant.myshopify.com"

CREATORS = (
    DemoCreator("alder", "Ava Lindqvist", "AVA10"),
    DemoCreator("alder", "Leo Marsh", "LEOFINDS", rate_percent=14),
    DemoCreator("alder", "Nia Okafor", "NIALOVES"),
    DemoCreator("alder", "Rex Dune", "REXWAS", is_active=False),
    DemoCreator("birch", "Mila Hartmann", "MILAOUTSIDE"),
    DemoCreator("birch", "Tom Fjell", "TOMTRAILS", rate_percent=20),
    DemoCreator("birch", "Ida Storm", "IDA15"),
    DemoCreator("cedar", "June Tremblay", "JUNEMAKES"),
    DemoCreator("cedar", "Oli Bouchard", "OLIBUILDS", rate_percent=8),
    DemoCreator("cedar", "Sam Reyes", "SAMSHOP"),
)
SHOP_CODES = ("WELCOME5", "SUMMER10", "FREESHIPCLUB", "THANKYOU15")

PRODUCTS = (
    "Enamel Mug", "Linen Towel", "Beeswax Candle", "Walnut Board", "Wool Throw", "Canvas Tote",
    "Copper Kettle", "Rain Shell", "Merino Socks", "Field Notebook", "Oak Tray", "Clay Planter",
    "Camp Lantern", "Leather Belt", "Cotton Apron", "Trail Flask",
)  # fmt: skip

FIRST_NAMES = (
    "Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gia", "Hugo", "Ines", "Jon", "Kaya", "Luis", "Maja", "Noor",
    "Otto", "Pia", "Quin", "Rosa", "Sven", "Tara",
)  # fmt: skip
LAST_NAMES = (
    "Abbott", "Berg", "Castro", "Doyle", "Evans", "Fischer", "Gupta", "Hansen", "Ivanov", "Jensen", "Kaur",
    "Larsen", "Moreau", "Novak", "Ortiz", "Petrov", "Quist", "Rossi", "Sato", "Tanaka",
)  # fmt: skip


def shop_of(customer_id: int) -> DemoShop:
    """A customer buys in one shop only, chosen by a hash."""
    return SHOPS[hashlib.sha256(f"customer:{customer_id}".encode()).digest()[0] % len(SHOPS)]
