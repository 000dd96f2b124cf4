"""One Resend account (a team): its limit, its quotas, what it remembers of keys, and what it has sent."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

CALLS_PER_SECOND = 5
KEY_SECONDS = 24 * 3600.0
_DAY, _MONTH = 86_400.0, 30 * 86_400.0
KEPT_BODIES = 200


@dataclass(frozen=True, slots=True)
class SentEmail:
    """An e-mail that left. ``tags`` as Resend gives them back in webhooks."""

    id: str
    account: str
    to: str
    subject: str
    tags: Mapping[str, str]
    at: float

    def document(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "account": self.account,
            "to": self.to,
            "subject": self.subject,
            "tags": dict(self.tags),
            "at": self.at,
        }


@dataclass(slots=True)
class Remembered:
    """What a key was used for. ``answer`` is None while its first call is still at work."""

    digest: str
    at: float
    answer: tuple[int, Any] | None


@dataclass(slots=True)
class Account:
    """``clock`` gives seconds that only grow. A limit or quota of zero is none."""

    name: str
    clock: Callable[[], float]
    calls_per_second: int = CALLS_PER_SECOND
    daily_quota: int = 0
    monthly_quota: int = 0
    domain: str | None = None
    """The verified domain; without one, every domain is taken for verified."""
    webhook_url: str | None = None
    webhook_secret: str | None = None
    busiest: int = 0
    """The most calls that came in any second, refused ones included."""
    refused_for_rate: int = 0
    _arrivals: deque[float] = field(default_factory=deque)
    _sent: deque[float] = field(default_factory=deque)
    _keys: dict[str, Remembered] = field(default_factory=dict)

    def arrive(self) -> float | None:
        """Count a call: None where it may pass, else the seconds until there is room. Refused calls take no room."""
        now = self.clock()
        while self._arrivals and self._arrivals[0] <= now - 1.0:
            self._arrivals.popleft()
        self.busiest = max(self.busiest, len(self._arrivals) + 1)
        if self.calls_per_second and len(self._arrivals) >= self.calls_per_second:
            self.refused_for_rate += 1
            return self._arrivals[0] + 1.0 - now
        self._arrivals.append(now)
        return None

    def rate_headers(self) -> dict[str, str]:
        if not self.calls_per_second:
            return {}
        left = self.calls_per_second - len(self._arrivals)
        return {
            "ratelimit-limit": str(self.calls_per_second),
            "ratelimit-remaining": str(max(0, left)),
            "ratelimit-reset": "1",
        }

    def quota_headers(self) -> dict[str, str]:
        return {
            "x-resend-daily-quota": str(self._since(_DAY)),
            "x-resend-monthly-quota": str(self._since(_MONTH)),
        }

    def exceeded(self, emails: int) -> str | None:
        """The name of the quota that so many more e-mails would pass."""
        if self.monthly_quota and self._since(_MONTH) + emails > self.monthly_quota:
            return "monthly_quota_exceeded"
        if self.daily_quota and self._since(_DAY) + emails > self.daily_quota:
            return "daily_quota_exceeded"
        return None

    def _since(self, seconds: float) -> int:
        now = self.clock()
        return sum(1 for at in self._sent if at > now - seconds) if self._sent else 0

    def count_sent(self) -> None:
        if self.daily_quota or self.monthly_quota:
            self._sent.append(self.clock())

    def recall(self, key: str, body: bytes) -> Remembered | str | None:
        """What the key was used for: the earlier answer, the name of the refusal, or None for a new key."""
        kept = self._keys.get(key)
        if kept is None or self.clock() - kept.at >= KEY_SECONDS:
            return None
        if kept.digest != hashlib.sha256(body).hexdigest():
            return "invalid_idempotent_request"
        return kept if kept.answer is not None else "concurrent_idempotent_requests"

    def remember(self, key: str, body: bytes, answer: tuple[int, Any] | None) -> None:
        self._keys[key] = Remembered(hashlib.sha256(body).hexdigest(), self.clock(), answer)
