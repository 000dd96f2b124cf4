"""``review.email.queued`` and ``review.email.sent``: what the platform's applications tell of review e-mails."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from tradewind.contracts.payload import StrictPayload
from tradewind.contracts.touchpoints import Id

OrderId = Annotated[int, Field(gt=0, lt=2**63)]
Sequence = Annotated[int, Field(ge=1, le=100)]
Address = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, to_lower=True, max_length=320, pattern=r"^[^\s@<>\"\x00]+@[^\s@<>\"\x00]+$"
    ),
]


class ReviewEmailQueued(StrictPayload):
    """An e-mail to queue for an order that we have. Without an address the order's own is used, without a time the
    tenant's delay from now.
    """

    order_id: OrderId
    sequence: Sequence = 1
    email: Address | None = None
    scheduled_at: AwareDatetime | None = None
    template: (
        Literal["request", "reminder_1", "reminder_2", "photo_request", "thank_you", "incentive"] | None
    ) = None
    force_incentive: bool = False


class ReviewEmailSent(StrictPayload):
    """An e-mail that was sent, or what became of it."""

    order_id: OrderId
    sequence: Sequence
    kind: Literal["sent", "delivered", "opened", "clicked", "bounced", "complained"] = "sent"
    message_id: Id | None = None
    occurred_at: AwareDatetime
    permanent: bool = False
