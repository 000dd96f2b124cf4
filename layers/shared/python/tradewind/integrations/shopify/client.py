"""The Admin GraphQL API of one shop: ``ShopifyClient`` is the port ``Shopify``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

from tradewind.errors import InvalidPayloadError, RateLimitedError, TerminalError
from tradewind.integrations.shopify import queries
from tradewind.integrations.shopify.admin_api import AdminApi, CostLimiter, TokenSource
from tradewind.integrations.shopify.answers import messages_of, refuse_user_errors
from tradewind.integrations.shopify.models import (
    Fulfillment,
    Identified,
    Instant,
    Line,
    LinePage,
    Order,
    PageInfo,
    Refund,
    RefundLine,
    RefundLinePage,
    Subscription,
    SubscriptionPage,
    Wire,
    gid,
    read,
)
from tradewind.integrations.transport import Transport
from tradewind.ports import OrderPage, OrderUpdate, ShopifyOrder, UpdatePage, WebhookSubscription

_MOST_ORDERS = 100
_ALREADY_SUBSCRIBED = "already been taken"


class _RefundList(Wire):
    refunds: tuple[Refund, ...]


class _FulfillmentList(Wire):
    fulfillments: tuple[Fulfillment, ...]


class _OrderLines(Wire):
    line_items: LinePage


class _RefundLines(Wire):
    refund_line_items: RefundLinePage


class _OrderConnection(Wire):
    nodes: tuple[Order, ...]
    page_info: PageInfo


class _Stamp(Identified):
    updated_at: Instant


class _UpdateConnection(Wire):
    nodes: tuple[_Stamp, ...]
    page_info: PageInfo


class ShopifyClient:
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
        self._api = AdminApi(
            shop,
            base_url=base_url,
            api_version=api_version,
            transport=transport,
            limiter=limiter,
            tokens=tokens,
        )

    def find_order(self, order_id: int) -> ShopifyOrder | None:
        data = self._api.call(queries.FIND_ORDER, {"id": gid("Order", order_id)})
        return None if data.get("order") is None else self._whole(read(Order, data["order"], "order"))

    def list_orders(
        self, *, updated_from: datetime | None, updated_to: datetime | None, cursor: str | None, limit: int
    ) -> OrderPage:
        """A page of at most ``limit`` orders, fewer where the shop's limit is reached before.

        Asked for in calls of ``ORDERS_PER_CALL``, since no call may cost more. Raises RateLimitedError only where
        not even the first call may pass, so that a page is always progress.
        """
        if not 1 <= limit <= _MOST_ORDERS:
            raise ValueError(f"limit is {limit}; ask for 1 to {_MOST_ORDERS} orders")
        search = search_updated(updated_from, updated_to)
        found: list[ShopifyOrder] = []
        while True:
            first = min(limit - len(found), queries.ORDERS_PER_CALL)
            try:
                data = self._api.call(queries.LIST_ORDERS, {"first": first, "after": cursor, "query": search})
                page = read(_OrderConnection, data.get("orders"), "orders")
                found.extend([self._whole(order) for order in page.nodes])
            except RateLimitedError:
                if not found:
                    raise
                return OrderPage(tuple(found), cursor)
            cursor = page.page_info.next_cursor
            if cursor is None or len(found) >= limit:
                return OrderPage(tuple(found), cursor)

    def list_order_updates(
        self, *, updated_from: datetime | None, updated_to: datetime | None, cursor: str | None, limit: int
    ) -> UpdatePage:
        """A page of at most ``limit`` (<= 250) orders' last changes, both bounds included."""
        if not 1 <= limit <= queries.MAX_UPDATES:
            raise ValueError(f"limit is {limit}; ask for 1 to {queries.MAX_UPDATES} updates")
        variables = {"first": limit, "after": cursor, "query": search_updated(updated_from, updated_to)}
        data = self._api.call(queries.LIST_ORDER_UPDATES, variables)
        page = read(_UpdateConnection, data.get("orders"), "orders")
        updates = tuple(OrderUpdate(stamp.number, stamp.updated_at) for stamp in page.nodes)
        return UpdatePage(updates, page.page_info.next_cursor)

    def list_orders_by_id(self, order_ids: Sequence[int]) -> tuple[ShopifyOrder, ...]:
        """Asks in calls of ``ORDERS_PER_CALL``; a standard shop's full bucket pays for about 30 orders."""
        if len(order_ids) > _MOST_ORDERS:
            raise ValueError(f"{len(order_ids)} ids; ask for at most {_MOST_ORDERS}")
        found: list[ShopifyOrder] = []
        for start in range(0, len(order_ids), queries.ORDERS_PER_CALL):
            ids = [gid("Order", number) for number in order_ids[start : start + queries.ORDERS_PER_CALL]]
            nodes = self._api.call(queries.LIST_ORDERS_BY_ID, {"ids": ids}).get("nodes")
            if not isinstance(nodes, list):
                raise InvalidPayloadError("nodes", "missing from Shopify's answer")
            found.extend(
                self._whole(read(Order, node, f"nodes.{at}"))
                for at, node in enumerate(nodes)
                if node is not None
            )
        return tuple(found)

    def list_webhook_subscriptions(self) -> tuple[WebhookSubscription, ...]:
        found: list[Subscription] = []
        cursor: str | None = None
        while True:
            data = self._api.call(queries.LIST_SUBSCRIPTIONS, {"after": cursor})
            page = read(SubscriptionPage, data.get("webhookSubscriptions"), "webhookSubscriptions")
            found.extend(page.nodes)
            cursor = page.page_info.next_cursor
            if cursor is None:
                return tuple(_subscription(wire) for wire in found)

    def create_webhook_subscriptions(
        self, topics: Sequence[str], uri: str
    ) -> tuple[WebhookSubscription, ...]:
        """Idempotent: a subscription that exists already, from a lost answer perhaps, is returned as it is."""
        made: list[WebhookSubscription] = []
        for start in range(0, len(topics), queries.SUBSCRIPTIONS_PER_CALL):
            made.extend(self._subscribe(topics[start : start + queries.SUBSCRIPTIONS_PER_CALL], uri))
        return tuple(made)

    def _subscribe(self, topics: Sequence[str], uri: str) -> list[WebhookSubscription]:
        operation = queries.create_subscriptions(len(topics))
        asked = {
            f"topic{at}": topic.upper().replace("/", "_").replace(".", "_") for at, topic in enumerate(topics)
        }
        data = self._api.call(operation, {"uri": uri, **asked})

        @cache
        def present() -> dict[str, WebhookSubscription]:
            return {each.topic: each for each in self.list_webhook_subscriptions() if each.uri == uri}

        made: list[WebhookSubscription] = []
        for name, topic in asked.items():
            created = data.get(name)
            if not isinstance(created, dict):
                field = f"webhookSubscriptionCreate of {topic}"
                raise InvalidPayloadError(field, "missing from Shopify's answer")
            messages = messages_of(created.get("userErrors"))
            taken = any(_ALREADY_SUBSCRIBED in message for message in messages)
            subscription = present().get(topic_of(topic)) if taken else None
            if subscription is None:
                refuse_user_errors(operation.name, messages)
                wire = read(Subscription, created.get("webhookSubscription"), f"{name}.webhookSubscription")
                subscription = _subscription(wire)
            made.append(subscription)
        return made

    def _whole(self, order: Order) -> ShopifyOrder:
        """Follow what one call left out of an order, and translate it."""
        lines = self._all_lines(order)
        refunds = tuple((refund, self._all_refund_lines(refund)) for refund in self._all_refunds(order))
        fulfillments = self._all_fulfillments(order)
        try:
            return order.to_port(lines, refunds, fulfillments)
        except ValueError as error:
            raise InvalidPayloadError(f"order {order.number}", str(error)) from None

    def _all_lines(self, order: Order) -> tuple[Line, ...]:
        lines, cursor = list(order.line_items.nodes), order.line_items.page_info.next_cursor
        while cursor is not None:
            data = self._api.call(queries.ORDER_LINES, {"id": order.id, "after": cursor})
            page = read(_OrderLines, data.get("order"), "order").line_items
            lines.extend(page.nodes)
            cursor = page.page_info.next_cursor
        return tuple(lines)

    def _all_refunds(self, order: Order) -> tuple[Refund, ...]:
        if len(order.refunds) < queries.REFUNDS_IN_ORDER:
            return order.refunds
        data = self._api.call(queries.ORDER_REFUNDS, {"id": order.id})
        refunds = read(_RefundList, data.get("order"), "order").refunds
        _refuse_more_than_shopify_gives(order, "refunds", len(refunds), queries.MAX_REFUNDS)
        known = {refund.id: refund for refund in order.refunds}
        return tuple(known.get(refund.id, refund) for refund in refunds)

    def _all_refund_lines(self, refund: Refund) -> tuple[RefundLine, ...]:
        first = refund.refund_line_items
        lines = list(first.nodes) if first else []
        cursor = first.page_info.next_cursor if first else None
        if first is not None and cursor is None:
            return tuple(lines)
        while True:
            data = self._api.call(queries.REFUND_LINES, {"id": refund.id, "after": cursor})
            page = read(_RefundLines, data.get("refund"), "refund").refund_line_items
            lines.extend(page.nodes)
            cursor = page.page_info.next_cursor
            if cursor is None:
                return tuple(lines)

    def _all_fulfillments(self, order: Order) -> tuple[Fulfillment, ...]:
        if len(order.fulfillments) < queries.FULFILLMENTS_IN_ORDER:
            return order.fulfillments
        data = self._api.call(queries.ORDER_FULFILLMENTS, {"id": order.id})
        fulfillments = read(_FulfillmentList, data.get("order"), "order").fulfillments
        _refuse_more_than_shopify_gives(order, "fulfillments", len(fulfillments), queries.MAX_FULFILLMENTS)
        return fulfillments


def search_updated(updated_from: datetime | None, updated_to: datetime | None) -> str | None:
    """Shopify's search text for update times, both bounds included; Shopify keeps whole seconds."""
    terms: list[str] = []
    if updated_from is not None:
        terms.append(f"updated_at:>='{_second(updated_from)}'")
    if updated_to is not None:
        terms.append(f"updated_at:<='{_second(updated_to + timedelta(seconds=1, microseconds=-1))}'")
    return " ".join(terms) or None


def _second(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def topic_of(graphql_topic: str) -> str:
    """``ORDERS_CREATE`` as the webhook header says it, ``orders/create``.

    The resource may itself hold an underscore, so the action is known by its words.
    """
    lower = graphql_topic.lower()
    for action in _ACTIONS_OF_TWO_WORDS:
        if lower.endswith(f"_{action}"):
            return f"{lower[: -len(action) - 1]}/{action}"
    resource, _, action = lower.rpartition("_")
    return f"{resource}/{action}" if resource else lower


_ACTIONS_OF_TWO_WORDS = ("partially_fulfilled", "data_request", "scopes_update")


def _subscription(wire: Subscription) -> WebhookSubscription:
    return WebhookSubscription(wire.id, topic_of(wire.topic), wire.uri)


def _refuse_more_than_shopify_gives(order: Order, what: str, count: int, most: int) -> None:
    if count >= most:
        raise TerminalError(f"order {order.number} has {most} {what} or more, beyond what Shopify lists")
