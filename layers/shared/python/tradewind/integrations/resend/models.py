"""Resend's wire format: what ``POST /emails/batch`` and, with pictures, ``POST /emails`` carry and answer."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from tradewind.errors import ProviderUnavailableError
from tradewind.integrations.transport import Answer
from tradewind.ports import Email, EmailOutcome

PROVIDER = "resend"
MOST_IN_A_BATCH = 100
_UNSPECIFIED = "refused without a reason"


def to_wire(email: Email) -> dict[str, Any]:
    """An e-mail as Resend takes it. The same e-mail gives the same object: a repeated call must not differ."""
    wire: dict[str, Any] = {
        "from": email.sender,
        "to": [email.to],
        "subject": email.subject,
        "html": email.html,
        "text": email.text,
        "headers": dict(sorted(email.headers.items())),
        "tags": [{"name": name, "value": value} for name, value in sorted(email.tags.items())],
    }
    if email.pictures:
        wire["attachments"] = [
            {
                "filename": picture.name,
                "content": b64encode(picture.content).decode(),
                "content_type": "image/png",
                "content_id": picture.name,
            }
            for picture in email.pictures
        ]
    return wire | ({"reply_to": email.reply_to} if email.reply_to else {})


def read_outcome(answer: Answer) -> EmailOutcome:
    """The outcome of a single e-mail that was taken. Raises ProviderUnavailableError for an answer without its id."""
    try:
        return EmailOutcome(str(json.loads(answer.body)["id"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProviderUnavailableError(PROVIDER, "answer cannot be read", outcome_unknown=True) from error


def read_outcomes(answer: Answer, emails: Sequence[Email]) -> tuple[EmailOutcome, ...]:
    """The outcomes of a batch that was taken: ids of those that are sent, in order, and by index why others are not.

    Raises ProviderUnavailableError for an answer that tells it of none or too few.
    """
    try:
        document = json.loads(answer.body)
        ids = [str(item["id"]) for item in document["data"]]
        refusals = {
            int(item["index"]): str(item.get("message") or _UNSPECIFIED)
            for item in document.get("errors") or []
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ProviderUnavailableError(PROVIDER, "answer cannot be read", outcome_unknown=True) from error
    if len(ids) + len(refusals) != len(emails) or not all(0 <= at < len(emails) for at in refusals):
        reason = f"answer tells of {len(ids)} sent and {len(refusals)} refused of {len(emails)}"
        raise ProviderUnavailableError(PROVIDER, reason, outcome_unknown=True)
    sent = iter(ids)
    return tuple(
        EmailOutcome(None, refusals[at]) if at in refusals else EmailOutcome(next(sent))
        for at in range(len(emails))
    )
