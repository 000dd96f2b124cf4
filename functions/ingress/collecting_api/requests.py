"""Reading a page's touches: checked by hand, since the door starts fast; refused by the path of the fault."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ingress.experiments_api.requests import Fields
from tradewind.contracts.touches import Recorded, Touchpoint, touchpoint_of

MAX_TOUCHES = 100
TYPES = ("click", "view")
DEVICES = ("desktop", "phone", "tablet", "other")
_ADDRESS = re.compile(r"[^\x00-\x1f\ud800-\udfff]{1,4096}")
_TAG = re.compile(r"[^\x00-\x1f\ud800-\udfff]{1,256}")
_TAGS = ("source", "medium", "campaign")
_NAMES = (
    "touch_id", "visitor_id", "session_id", "occurred_at", "type", "landing_page", "referrer_url", "utm", "device",
)  # fmt: skip
"""A page cannot say who a customer is: it would say it of anybody."""


def read_touches(content: Mapping[str, Any], now: datetime) -> list[Touchpoint]:
    """The touches of a batch, classified. Raises RefusedError (400) that names the first field that cannot be."""
    told = Fields(content, "")
    told.allow("touches", "key")
    touches = told.batch("touches", MAX_TOUCHES)
    return [touchpoint_of(_read_touch(touch, f"touches.{at}", now)) for at, touch in enumerate(touches)]


def _read_touch(touch: Any, path: str, now: datetime) -> Recorded:
    told = Fields(touch, path)
    told.allow(*_NAMES)
    return Recorded(
        occurred_at=told.moment("occurred_at", now),
        visitor_id=told.text("visitor_id"),
        customer_id=None,
        session_id=told.text("session_id") if told.has("session_id") else None,
        touch_id=told.text("touch_id") if told.has("touch_id") else None,
        type=told.choice("type", TYPES) if told.has("type") else "click",
        landing_page=_address(told, "landing_page"),
        referrer_url=_address(told, "referrer_url"),
        utm=_read_tags(touch.get("utm") or {}, f"{path}.utm"),
        device=told.choice("device", DEVICES) if told.has("device") else None,
    )


def _address(told: Fields, name: str) -> str | None:
    expected = "1 to 4096 characters, none of them a control character"
    return told.matching(name, _ADDRESS, expected) if told.has(name) else None


def _read_tags(utm: Any, path: str) -> dict[str, str]:
    told = Fields(utm, path)
    told.allow(*_TAGS)
    expected = "1 to 256 characters, none of them a control character"
    return {name: told.matching(name, _TAG, expected) for name in _TAGS if told.has(name)}
