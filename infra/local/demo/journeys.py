"""Where the demo's visitors come from: touchpoints before an order, and the visit that led to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

MOST_TOUCHES = 6
REACH = timedelta(days=40)
_LAST_MOMENT = timedelta(minutes=20)
_SHARE_OF_UNKNOWN_ORIGIN = 0.05


@dataclass(frozen=True, slots=True)
class Origin:
    """A way into the shop. ``landing`` is a path with its query, ``click_ids`` the ids that ad platforms
    append.
    """

    source: str | None
    medium: str | None
    campaign: str | None
    landing: str
    referrer: str | None
    click_ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Touchpoint:
    """A visitor's touch. Either ``visitor_id`` or, for who refused the pixel, only ``customer_id`` names the
    visitor.
    """

    touchpoint_id: str
    visitor_id: str | None
    session_id: str
    customer_id: int
    source: str | None
    medium: str | None
    campaign: str | None
    click_ids: Mapping[str, str]
    landing_page: str
    referrer: str | None
    occurred_at: datetime


_ORIGINS = (
    Origin("google", "cpc", "brand-search",
           "/collections/all?utm_source=google&utm_medium=cpc&utm_campaign=brand-search",
           "https://www.google.com/", {"gclid": "Cj0KCQ"}),
    Origin("facebook", "paid_social", "spring-launch",
           "/products/wool-throw?utm_source=facebook&utm_medium=paid_social&utm_campaign=spring-launch",
           "https://l.facebook.com/", {"fbclid": "IwAR2x"}),
    Origin("tiktok", "paid_social", "maker-week",
           "/?utm_source=tiktok&utm_medium=paid_social&utm_campaign=maker-week",
           "https://www.tiktok.com/", {"ttclid": "E.C.P"}),
    Origin("newsletter", "email", "friday-letter",
           "/pages/letter?utm_source=newsletter&utm_medium=email&utm_campaign=friday-letter", None),
    Origin("instagram", "social", None, "/?utm_source=instagram&utm_medium=social", "https://www.instagram.com/"),
    Origin(None, None, None, "/blogs/notes/care", "https://www.google.com/"),
    Origin(None, None, None, "/collections/gifts", "https://duckduckgo.com/"),
    Origin("partners", "affiliate", "gift-guide",
           "/?utm_source=partners&utm_medium=affiliate&utm_campaign=gift-guide",
           "https://giftguide.example/"),
    Origin(None, None, None, "/products/camp-lantern?ref=creator", "https://www.youtube.com/"),
    Origin(None, None, None, "/", "https://forum.example/thread/42"),
    Origin(None, None, None, "/", None),
)  # fmt: skip


def visit_of(chance: Random) -> Origin | None:
    """The visit that led to an order; one order in twenty says nothing of its origin."""
    return None if chance.random() < _SHARE_OF_UNKNOWN_ORIGIN else chance.choice(_ORIGINS)


def touchpoints_before(
    chance: Random, order_id: int, customer_id: int, visitor_id: str | None, ordered_at: datetime
) -> tuple[Touchpoint, ...]:
    """Up to six touches in the forty days before an order, oldest first, at instants that all differ."""
    number = chance.randint(0, MOST_TOUCHES)
    seconds = int((REACH - _LAST_MOMENT).total_seconds())
    ages = sorted(chance.sample(range(seconds), number), reverse=True)
    touches = []
    for place, age in enumerate(ages, start=1):
        origin = chance.choice(_ORIGINS)
        suffix = f"{order_id}{place:02d}"
        clicks = {name: f"{start}{suffix}" for name, start in origin.click_ids.items()}
        query = "&".join(f"{name}={value}" for name, value in clicks.items())
        joint = "&" if "?" in origin.landing else "?"
        touches.append(
            Touchpoint(
                touchpoint_id=f"touch-{suffix}",
                visitor_id=visitor_id,
                session_id=f"session-{suffix}",
                customer_id=customer_id,
                source=origin.source,
                medium=origin.medium,
                campaign=origin.campaign,
                click_ids=clicks,
                landing_page=f"{origin.landing}{joint}{query}" if query else origin.landing,
                referrer=origin.referrer,
                occurred_at=ordered_at - _LAST_MOMENT - timedelta(seconds=age),
            )
        )
    return tuple(touches)
