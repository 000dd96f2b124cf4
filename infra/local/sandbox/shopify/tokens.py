"""Access and refresh tokens of one shop, as Shopify's expiring offline tokens behave.

A shop for which no tokens were registered accepts any access token. A refresh token that was used stays valid
until the one that replaced it is first used.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

ACCESS_SECONDS = 3600.0
REFRESH_SECONDS = 90 * 86_400


class RefusedError(Exception):
    """A refresh that Shopify refuses; the text is OAuth's error code."""


@dataclass(slots=True)
class TokenBook:
    """``clock`` gives seconds that only grow."""

    clock: Callable[[], float]
    is_strict: bool = False
    client_id: str | None = None
    client_secret: str | None = None
    _expires: dict[str, float] = field(default_factory=dict)
    _replaced: dict[str, str] = field(default_factory=dict)
    _refresh: set[str] = field(default_factory=set)
    _dead_refresh: set[str] = field(default_factory=set)

    def register(self, document: Mapping[str, Any]) -> None:
        """Take tokens, their life and the client's id and secret, as far as given.

        From then on only known access tokens are accepted. ``{"expire": true}`` ends all that are
        known; ``{"expire": "token"}`` ends one, known or not.
        """
        ended = document.get("expire")
        if ended:
            for token in [*self._expires] if ended is True else [str(ended)]:
                self._expires[token] = float("-inf")
        if document.get("access_token"):
            self.is_strict = True
            seconds = float(document.get("expires_in", ACCESS_SECONDS))
            self._expires[str(document["access_token"])] = self.clock() + seconds
        if document.get("refresh_token"):
            self._refresh.add(str(document["refresh_token"]))
        self.client_id = document.get("client_id", self.client_id)
        self.client_secret = document.get("client_secret", self.client_secret)

    def accepts(self, token: str) -> bool:
        expires = self._expires.get(token)
        if expires is None:
            return bool(token) and not self.is_strict
        return self.clock() < expires

    def refresh(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Exchange a refresh token. Raises RefusedError."""
        if document.get("grant_type") != "refresh_token":
            raise RefusedError("unsupported_grant_type")
        if not document.get("client_id") or not document.get("client_secret"):
            raise RefusedError("invalid_client")
        if self.client_id not in (None, document["client_id"]):
            raise RefusedError("invalid_client")
        if self.client_secret not in (None, document["client_secret"]):
            raise RefusedError("invalid_client")
        used = str(document.get("refresh_token") or "")
        is_known = used in self._refresh or not self._refresh
        if not used or used in self._dead_refresh or not is_known:
            raise RefusedError("invalid_grant")
        replaced = self._replaced.get(used)
        if replaced is not None:
            self._dead_refresh.add(replaced)
        return self._issue(used)

    def _issue(self, used: str) -> Mapping[str, Any]:
        access, renewed = f"shpat_{secrets.token_hex(16)}", f"shprt_{secrets.token_hex(16)}"
        self._expires[access] = self.clock() + ACCESS_SECONDS
        self._refresh |= {used, renewed}
        self._replaced[renewed] = used
        return {
            "access_token": access,
            "scope": "read_orders,read_customers,read_fulfillments",
            "expires_in": int(ACCESS_SECONDS),
            "refresh_token": renewed,
            "refresh_token_expires_in": REFRESH_SECONDS,
        }
