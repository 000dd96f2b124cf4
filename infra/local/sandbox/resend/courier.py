"""Carries Resend's webhooks out: signed the Svix way, and again after a moment where nobody takes them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import queue
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from infra.local.sandbox.resend.account import SentEmail

RETRIES = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts; Svix itself waits 5 s, 5 min, 30 min and on to 10 h."""
THREADS = 4
_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook's body under the id that all its attempts share."""

    id: str
    body: bytes


def events_of(
    email: SentEmail, sender: str, kinds: Sequence[str] | None = None, *, permanent: bool = True
) -> list[Event]:
    """What becomes of an e-mail. Without ``kinds`` its recipient decides, as with Resend's test addresses: a local part
    that begins with ``bounced`` or ``complained`` does so; others receive it, and open or click it where they say so.
    """
    return [_event(email, sender, kind, permanent=permanent) for kind in kinds or _fate(email.to)]


def _fate(address: str) -> tuple[str, ...]:
    fates = {
        "bounced": ("sent", "bounced"),
        "complained": ("sent", "delivered", "complained"),
        "opened": ("sent", "delivered", "opened"),
        "clicked": ("sent", "delivered", "opened", "clicked"),
    }
    return next((fate for name, fate in fates.items() if address.startswith(name)), ("sent", "delivered"))


def _event(email: SentEmail, sender: str, kind: str, *, permanent: bool) -> Event:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    data: dict[str, Any] = {
        "email_id": email.id,
        "created_at": now,
        "from": sender,
        "to": [email.to],
        "subject": email.subject,
        "tags": dict(email.tags),
    }
    if kind == "bounced":
        data["bounce"] = {
            "type": "Permanent" if permanent else "Transient",
            "subType": "General" if permanent else "MailboxFull",
            "message": "The recipient's mailbox does not exist." if permanent else "The mailbox is full.",
        }
    if kind == "clicked":
        data["click"] = {"link": "https://example.com/", "timestamp": now, "ipAddress": "", "userAgent": ""}
    body = {"type": f"email.{kind}", "created_at": now, "data": data}
    return Event(f"msg_{uuid4().hex}", json.dumps(body).encode())


class Courier:
    """Delivers in the background; four at once, so that no order is promised."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[str, str, Event]] = queue.SimpleQueue()
        self._open = 0
        self._answers: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def send(self, url: str, secret: str, event: Event) -> None:
        with self._lock:
            self._open += 1
            while len(self._threads) < THREADS:
                thread = threading.Thread(target=self._work, daemon=True)
                self._threads.append(thread)
                thread.start()
        self._waiting.put((url, secret, event))

    def standing(self) -> dict[str, Any]:
        """How many are not taken yet, and the answers by status."""
        with self._lock:
            return {"open": self._open, "answers": dict(self._answers)}

    def _work(self) -> None:
        while True:
            url, secret, event = self._waiting.get()
            for wait in RETRIES:
                time.sleep(wait)
                answer = _post(url, secret, event)
                with self._lock:
                    self._answers[answer] += 1
                if answer.startswith("2"):
                    break
            with self._lock:
                self._open -= 1


def signed(event: Event, secret: str, at: int) -> dict[str, str]:
    """The headers of an attempt, by Svix's own description of its scheme."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{event.id}.{at}.".encode() + event.body, hashlib.sha256).digest()
    return {
        "svix-id": event.id,
        "svix-timestamp": str(at),
        "svix-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def _post(url: str, secret: str, event: Event) -> str:
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname or "127.0.0.1", at.port, timeout=_TIMEOUT_S)
    headers = {"content-type": "application/json", **signed(event, secret, int(time.time()))}
    try:
        connection.request("POST", at.path, event.body, headers)
        return str(connection.getresponse().status)
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()
