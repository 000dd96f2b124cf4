"""What the feature's tasks are given."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, Field, model_validator

from tradewind.contracts.payload import Payload
from tradewind.contracts.reviews import OrderId, Sequence


class QueueRun(Payload):
    """A pass over the queue; a dry run only tells what it would do."""

    dry_run: bool = False


class FailedRun(Payload):
    """A pass over what failed."""

    limit: int = Field(default=25, ge=1, le=1000)


class Waiting(Payload):
    """How long an e-mail waits for its parcel; without it as long as the tenant says."""

    days: int | None = Field(default=None, ge=0, le=365)


class EmailRef(Payload):
    """One e-mail of an order."""

    order_id: OrderId
    sequence: Sequence


class Resend(EmailRef):
    """``force`` passes over state, review, refund and unsubscription; never over a missing address."""

    force: bool = False


class Period(Payload):
    """So many days from ``since`` on; without it, the last ones. The period before it has the same length."""

    since: AwareDatetime | None = None
    days: int = Field(default=30, ge=1, le=366)


_KINDS = {
    "email.sent": "sent",
    "email.delivered": "delivered",
    "email.opened": "opened",
    "email.clicked": "clicked",
    "email.bounced": "bounced",
    "email.complained": "complained",
}


class EmailNews(Payload):
    """What became of an e-mail: the platform's own event, or Resend's webhook, whose tags name our row."""

    order_id: OrderId
    sequence: Sequence
    kind: Literal["sent", "delivered", "opened", "clicked", "bounced", "complained"] = "sent"
    message_id: str | None = Field(default=None, max_length=255)
    occurred_at: AwareDatetime | None = None
    permanent: bool = False

    @model_validator(mode="before")
    @classmethod
    def _of_resend(cls, told: Any) -> Any:
        if not isinstance(told, dict) or "data" not in told or told.get("type") not in _KINDS:
            return told
        data = _object(told["data"])
        tags, bounce = _object(data.get("tags")), _object(data.get("bounce"))
        return {
            "order_id": tags.get("order"),
            "sequence": tags.get("sequence"),
            "kind": _KINDS[told["type"]],
            "message_id": data.get("email_id"),
            "occurred_at": told.get("created_at"),
            "permanent": bounce.get("type") == "Permanent",
        }


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
