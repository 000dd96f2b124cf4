"""One call of a shop's Admin GraphQL API: the token, the shop's limit, and what its answer means."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Protocol

from tradewind.errors import CredentialsRejectedError
from tradewind.integrations.shopify.answers import PROVIDER, read_data, read_document, read_throttle
from tradewind.integrations.shopify.queries import Operation
from tradewind.integrations.transport import Answer, Transport


class CostLimiter(Protocol):
    """The shop's bucket of points, shared by all workers."""

    def acquire(self, cost: int) -> None:
        """Take ``cost`` points or raise RateLimitedError."""

    def answered(self) -> None:
        """Learn that the call taken for last has ended, well or not."""

    def report(self, available: float, maximum: float, restore_per_second: float) -> None:
        """Learn the bucket as Shopify sees it after a call."""


class TokenSource(Protocol):
    """The shop's access token."""

    def access_token(self) -> str:
        """A token that should be valid."""

    def refresh(self, rejected: str) -> str:
        """Another token than ``rejected``, renewed under a per-shop lock. Raises CredentialsRejectedError."""


class AdminApi:
    """One shop's Admin API. ``base_url`` is the shop's origin, such as ``https://acme.myshopify.com``."""

    def __init__(
        self,
        shop: str,
        *,
        base_url: str,
        api_version: str,
        transport: Transport,
        limiter: CostLimiter,
        tokens: TokenSource,
    ) -> None:
        self.shop = shop
        self.transport = transport
        self._url = f"{base_url.rstrip('/')}/admin/api/{api_version}/graphql.json"
        self._limiter = limiter
        self._tokens = tokens

    def call(self, operation: Operation, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """One operation under the shop's limit; a refused token is renewed once."""
        token = self._tokens.access_token()
        answer = self._post(operation, variables, token)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            answer = self._post(operation, variables, self._tokens.refresh(token))
        document = read_document(answer, self.shop, mutates=operation.mutates)
        throttle = read_throttle(document)
        if throttle is not None:
            self._limiter.report(throttle.available, throttle.maximum, throttle.restore_per_second)
        return read_data(document, self.shop, mutates=operation.mutates)

    def _post(self, operation: Operation, variables: Mapping[str, Any], token: str) -> Answer:
        if not token or not token.isascii() or not token.isprintable():
            raise CredentialsRejectedError(
                f"{self.shop}: the stored access token is no token; store it again"
            )
        body = {"query": operation.text, "variables": variables, "operationName": operation.name}
        self._limiter.acquire(operation.cost)
        try:
            return self.transport.post_json(PROVIDER, self._url, body, {"X-Shopify-Access-Token": token})
        finally:
            self._limiter.answered()
