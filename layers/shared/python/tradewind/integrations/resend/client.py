"""Resend's API under one account's key: one call, no retry of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tradewind.errors import InvalidPayloadError
from tradewind.integrations.resend.answers import refuse
from tradewind.integrations.resend.models import (
    MOST_IN_A_BATCH,
    PROVIDER,
    read_outcome,
    read_outcomes,
    to_wire,
)
from tradewind.integrations.transport import Answer, Transport
from tradewind.ports import Email, EmailOutcome

USER_AGENT = "tradewind/1.0"
_SUCCESS = range(200, 300)
_LONGEST_KEY = 256


class ResendClient:
    """``api_key`` is asked for at each call, ``before_call`` waits for the account's limits or raises."""

    def __init__(
        self,
        base_url: str,
        transport: Transport,
        api_key: Callable[[], str],
        before_call: Callable[[], None],
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/emails"
        self._transport = transport
        self._api_key = api_key
        self._before_call = before_call

    def send(self, key: str, emails: Sequence[Email]) -> tuple[EmailOutcome, ...]:
        """Send up to 100 e-mails in one call; see ``EmailSender.send``.

        Permissive: an e-mail that Resend refuses does not keep the others from leaving. Batches take no attachments:
        an e-mail with pictures goes alone.
        """
        if not 1 <= len(emails) <= MOST_IN_A_BATCH:
            raise InvalidPayloadError("emails", f"are {len(emails)}", f"1 to {MOST_IN_A_BATCH} go in a call")
        if not 1 <= len(key) <= _LONGEST_KEY:
            raise InvalidPayloadError("key", f"has {len(key)} characters", f"1 to {_LONGEST_KEY} are allowed")
        alone = any(email.pictures for email in emails)
        if alone and len(emails) > 1:
            raise InvalidPayloadError(
                "emails", f"are {len(emails)}, with pictures", "send such e-mails one by one"
            )
        headers = {
            "Authorization": f"Bearer {self._api_key()}",
            "User-Agent": USER_AGENT,
            "Idempotency-Key": key,
        }
        self._before_call()
        if alone:
            return (read_outcome(self._post(self._url, to_wire(emails[0]), headers)),)
        headers["x-batch-validation"] = "permissive"
        wire = [to_wire(email) for email in emails]
        return read_outcomes(self._post(f"{self._url}/batch", wire, headers), emails)

    def _post(self, url: str, body: Mapping[str, Any] | Sequence[Any], headers: Mapping[str, str]) -> Answer:
        answer = self._transport.post_json(PROVIDER, url, body, headers)
        if answer.status not in _SUCCESS:
            refuse(answer)
        return answer
