"""The GraphQL operations, each with the points that Shopify may ask for it.

Validated against the Admin API's own schema of 2026-07 and 2026-10 as shipped in npm ``@shopify/dev-mcp``
1.16.0 (no error, no deprecated field). ``cost`` follows Shopify's published rule taken at its strictest: an
object is one point, a scalar none, a mutation ten, a connection or a list with ``first`` that many times its
children. Shopify itself asks for less on wide connections; the answer's ``throttleStatus`` corrects the
limiter. No operation may reach ``MAX_QUERY_COST``, above which Shopify refuses.

An order's connections are asked for in the size that most orders need. What is longer is followed page by
page; refunds and fulfilments have no pages, 250 is the most that Shopify gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

MAX_QUERY_COST = 1000

LINES_IN_ORDER = 10
REFUNDS_IN_ORDER = 2
LINES_IN_REFUND = 5
FULFILLMENTS_IN_ORDER = 2
ORDERS_PER_CALL = 6
LINES_PER_PAGE = 100
MAX_REFUNDS = 250
MAX_FULFILLMENTS = 250
MAX_UPDATES = 250
SUBSCRIPTIONS_PER_PAGE = 100
SUBSCRIPTIONS_PER_CALL = 20


@dataclass(frozen=True, slots=True)
class Operation:
    """``cost`` is the most that Shopify asks for; after a lost answer what ``mutates`` may have happened."""

    name: str
    text: str
    cost: int
    mutates: bool = False


_LINE = """
  id title sku quantity
  originalUnitPriceSet { shopMoney { amount } }
  discountAllocations { allocatedAmountSet { shopMoney { amount } } }
  product { id }
  variant { id }
"""

_REFUND_LINE = "lineItem { id } quantity subtotalSet { shopMoney { amount } }"

_REFUND = "id createdAt processedAt note totalRefundedSet { shopMoney { amount } }"

_FULFILLMENT = """
  id status displayStatus createdAt updatedAt estimatedDeliveryAt deliveredAt
  trackingInfo(first: 1) { company number url }
"""

_ORDER = f"""
fragment OrderState on Order {{
  id name currencyCode test email tags discountCodes createdAt processedAt updatedAt cancelledAt cancelReason
  displayFinancialStatus displayFulfillmentStatus
  totalPriceSet {{ shopMoney {{ amount }} }}
  totalDiscountsSet {{ shopMoney {{ amount }} }}
  totalShippingPriceSet {{ shopMoney {{ amount }} }}
  totalTaxSet {{ shopMoney {{ amount }} }}
  totalWeight
  customAttributes {{ key value }}
  customer {{
    id firstName lastName tags
    defaultEmailAddress {{ emailAddress marketingState }}
    defaultPhoneNumber {{ phoneNumber }}
  }}
  customerJourneySummary {{
    lastVisit {{ occurredAt landingPage referrerUrl utmParameters {{ source medium campaign term content }} }}
  }}
  lineItems(first: {LINES_IN_ORDER}) {{ nodes {{ {_LINE} }} pageInfo {{ hasNextPage endCursor }} }}
  refunds(first: {REFUNDS_IN_ORDER}) {{
    {_REFUND}
    refundLineItems(first: {LINES_IN_REFUND}) {{
      nodes {{ {_REFUND_LINE} }} pageInfo {{ hasNextPage endCursor }}
    }}
  }}
  fulfillments(first: {FULFILLMENTS_IN_ORDER}) {{ {_FULFILLMENT} }}
}}
"""

FIND_ORDER = Operation(
    "FindOrder",
    f"query FindOrder($id: ID!) {{ order(id: $id) {{ ...OrderState }} }}{_ORDER}",
    cost=152,
)

LIST_ORDERS = Operation(
    "ListOrders",
    f"""query ListOrders($first: Int!, $query: String, $after: String) {{
  orders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {{
    nodes {{ ...OrderState }}
    pageInfo {{ hasNextPage endCursor }}
  }}
}}{_ORDER}""",
    cost=914,
)

LIST_ORDERS_BY_ID = Operation(
    "ListOrdersById",
    f"query ListOrdersById($ids: [ID!]!) {{ nodes(ids: $ids) {{ ...OrderState }} }}{_ORDER}",
    cost=912,
)

LIST_ORDER_UPDATES = Operation(
    "ListOrderUpdates",
    """query ListOrderUpdates($first: Int!, $query: String, $after: String) {
  orders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {
    nodes { id updatedAt }
    pageInfo { hasNextPage endCursor }
  }
}""",
    cost=252,
)

ORDER_LINES = Operation(
    "OrderLines",
    f"""query OrderLines($id: ID!, $after: String) {{
  order(id: $id) {{
    lineItems(first: {LINES_PER_PAGE}, after: $after) {{
      nodes {{ {_LINE} }} pageInfo {{ hasNextPage endCursor }}
    }}
  }}
}}""",
    cost=803,
)

ORDER_REFUNDS = Operation(
    "OrderRefunds",
    f"query OrderRefunds($id: ID!) {{ order(id: $id) {{ refunds(first: {MAX_REFUNDS}) {{ {_REFUND} }} }} }}",
    cost=751,
)

REFUND_LINES = Operation(
    "RefundLines",
    f"""query RefundLines($id: ID!, $after: String) {{
  refund(id: $id) {{
    refundLineItems(first: {LINES_PER_PAGE}, after: $after) {{
      nodes {{ {_REFUND_LINE} }} pageInfo {{ hasNextPage endCursor }}
    }}
  }}
}}""",
    cost=403,
)

ORDER_FULFILLMENTS = Operation(
    "OrderFulfillments",
    f"""query OrderFulfillments($id: ID!) {{
  order(id: $id) {{ fulfillments(first: {MAX_FULFILLMENTS}) {{ {_FULFILLMENT} }} }}
}}""",
    cost=501,
)

LIST_SUBSCRIPTIONS = Operation(
    "ListWebhookSubscriptions",
    f"""query ListWebhookSubscriptions($after: String) {{
  webhookSubscriptions(first: {SUBSCRIPTIONS_PER_PAGE}, after: $after) {{
    nodes {{ id topic uri }}
    pageInfo {{ hasNextPage endCursor }}
  }}
}}""",
    cost=102,
)


@cache
def create_subscriptions(count: int) -> Operation:
    """One call for ``count`` topics, ``$topic0`` and on; what became of each stands under the same name."""
    topics = [f"topic{at}" for at in range(count)]
    takes = " ".join(f"${topic}: WebhookSubscriptionTopic!" for topic in topics)
    asks = "".join(f"""
  {topic}: webhookSubscriptionCreate(topic: ${topic}, webhookSubscription: {{ uri: $uri, format: JSON }}) {{
    webhookSubscription {{ id topic uri }}
    userErrors {{ field message }}
  }}""" for topic in topics)  # fmt: skip
    text = f"mutation CreateWebhookSubscriptions($uri: String! {takes}) {{{asks}\n}}"
    return Operation("CreateWebhookSubscriptions", text, cost=10 * count, mutates=True)


CREATE_SUBSCRIPTIONS = create_subscriptions(SUBSCRIPTIONS_PER_CALL)

OPERATIONS = (
    FIND_ORDER,
    LIST_ORDERS,
    LIST_ORDERS_BY_ID,
    LIST_ORDER_UPDATES,
    ORDER_LINES,
    ORDER_REFUNDS,
    REFUND_LINES,
    ORDER_FULFILLMENTS,
    LIST_SUBSCRIPTIONS,
    CREATE_SUBSCRIPTIONS,
)
