"""``touchpoint.recorded``: a visitor came by, as the storefront's own pixel or server tells it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from tradewind.contracts.payload import StrictPayload

EARLIEST = datetime(2004, 1, 1, tzinfo=UTC)
AHEAD = timedelta(minutes=5)
"""How far a storefront's clock may be ahead of ours."""


def _possible(moment: datetime) -> datetime:
    if not EARLIEST <= moment <= datetime.now(UTC) + AHEAD:
        raise ValueError(f"{moment.isoformat()} lies outside {EARLIEST.year} to five minutes from now")
    return moment.astimezone(UTC)


def _storable(text: str) -> str:
    if any(sign == "\x00" or "\ud800" <= sign <= "\udfff" for sign in text):
        raise ValueError("holds a null byte or half a surrogate pair, which Postgres cannot store")
    return text


Id = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_storable)]
Tag = Annotated[str, StringConstraints(max_length=256), AfterValidator(_storable)]
Address = Annotated[str, StringConstraints(max_length=4096), AfterValidator(_storable)]


class UtmTags(StrictPayload):
    """The tags of a visit, where the landing page does not carry them itself."""

    source: Tag | None = None
    medium: Tag | None = None
    campaign: Tag | None = None


class TouchpointRecorded(StrictPayload):
    """A touch of a known visitor or customer. ``touch_id`` is the publisher's own id of the touch: a touch told twice
    under it is stored once. Without it, a touch is the same where all that is told of it is the same.
    """

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["visitor_id"]}, {"required": ["customer_id"]}]},
    )

    occurred_at: Annotated[AwareDatetime, AfterValidator(_possible)]
    visitor_id: Id | None = None
    customer_id: Annotated[int, Field(gt=0, lt=2**63, strict=True)] | None = None
    session_id: Id | None = None
    touch_id: Id | None = None
    type: Literal["click", "view"] = "click"
    landing_page: Address | None = None
    referrer_url: Address | None = None
    utm: UtmTags = Field(default_factory=UtmTags)

    @model_validator(mode="after")
    def _of_somebody(self) -> TouchpointRecorded:
        if self.visitor_id is None and self.customer_id is None:
            raise ValueError("visitor_id or customer_id is required: a touch of nobody leads to no order")
        return self


class VisitorIdentified(StrictPayload):
    """A visitor logged in or checked out: whose e-mail address that was, trimmed and in small letters, as SHA-256."""

    visitor_id: Id
    email_sha256: Annotated[str, StringConstraints(to_lower=True, pattern=r"^[0-9a-fA-F]{64}$")]
