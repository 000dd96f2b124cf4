"""Where a visit came from, pure: which channel brought it, by its landing page, referrer and tags.

Shared by whoever stores touches, so that a visit has the same channel whoever tells of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import SplitResult, parse_qs, urlsplit


class Channel(StrEnum):
    DIRECT = "direct"
    ORGANIC = "organic"
    PAID = "paid"
    SOCIAL = "social"
    EMAIL = "email"
    AFFILIATE = "affiliate"
    CREATOR = "creator"
    REFERRAL = "referral"


_CLICK_IDS = ("gclid", "fbclid", "ttclid", "msclkid")
_PAID_MEDIA = frozenset({"cpc", "ppc", "paid", "paidsearch", "paid_social", "paidsocial", "display"})
_SEARCH = ("google", "bing", "yahoo", "duckduckgo", "baidu", "ecosia", "yandex")
_SOCIAL = ("facebook", "instagram", "twitter", "tiktok", "linkedin", "pinterest", "youtube", "reddit", "t.co")


@dataclass(frozen=True, slots=True)
class Visit:
    """Where a visit came from, as far as the landing page and referrer tell."""

    channel: Channel
    source: str | None
    medium: str | None
    campaign: str | None
    click_id: str | None


def classify_visit(landing_page: str | None, referrer_url: str | None, utm: Mapping[str, str]) -> Visit:
    """Classify a visit. Paid comes first (medium or click id), then creator, e-mail, affiliate, social, organic."""
    query = {name: values[0] for name, values in parse_qs(_split(landing_page).query).items()}
    source = _tag("source", utm, query)
    medium = _tag("medium", utm, query)
    click = next((f"{name}:{query[name]}" for name in _CLICK_IDS if query.get(name)), None)
    host = (_split(referrer_url).hostname or "").removeprefix("www.")
    channel = _channel(
        source, medium, host, paid=bool(click), by_creator=bool({"ref", "creator"} & query.keys())
    )
    return Visit(channel, source or host or None, medium, _tag("campaign", utm, query), click)


def _split(address: str | None) -> SplitResult:
    """An address's parts; one that is none, such as ``http://[``, says nothing."""
    try:
        return urlsplit(address or "")
    except ValueError:
        return urlsplit("")


def _tag(name: str, utm: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    value = utm.get(name) or query.get(f"utm_{name}")
    return value.strip().lower() or None if value else None


def _channel(source: str | None, medium: str | None, host: str, *, paid: bool, by_creator: bool) -> Channel:  # noqa: PLR0911 - a table of rules, first match wins
    origin = source or host
    if paid or (medium in _PAID_MEDIA):
        return Channel.PAID
    if by_creator or medium in {"creator", "influencer"}:
        return Channel.CREATOR
    if medium == "email" or source in {"email", "newsletter", "klaviyo"}:
        return Channel.EMAIL
    if medium == "affiliate":
        return Channel.AFFILIATE
    if medium == "social" or any(name in origin for name in _SOCIAL):
        return Channel.SOCIAL
    if medium == "organic" or any(name in origin for name in _SEARCH):
        return Channel.ORGANIC
    return Channel.REFERRAL if origin or medium else Channel.DIRECT
