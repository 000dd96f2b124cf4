"""Ports: the roles that the application needs from outside. Adapters live in ``tradewind.integrations``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class ShopifyLine:
    """A line item. Money in cents of the order's currency; ids are Shopify's numbers."""

    id: int
    title: str
    quantity: int
    unit_price_cents: int
    discount_cents: int
    product_id: int | None = None
    variant_id: int | None = None
    sku: str | None = None


@dataclass(frozen=True, slots=True)
class ShopifyRefundLine:
    line_id: int
    quantity: int
    subtotal_cents: int


@dataclass(frozen=True, slots=True)
class ShopifyRefund:
    """``amount_cents`` went back to the customer, tax and shipping included; of it ``net_sales_cents`` was sales."""

    id: int
    amount_cents: int
    net_sales_cents: int
    created_at: datetime
    note: str | None = None
    lines: tuple[ShopifyRefundLine, ...] = ()


@dataclass(frozen=True, slots=True)
class ShopifyFulfillment:
    """``status`` and ``shipment_status`` in Shopify's lower case, such as ``success`` and ``in_transit``."""

    id: int
    status: str
    shipment_status: str | None
    tracking_company: str | None
    tracking_number: str | None
    tracking_url: str | None
    created_at: datetime
    updated_at: datetime
    estimated_delivery_at: datetime | None = None
    delivered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ShopifyCustomer:
    """``accepts_marketing`` and ``tags`` are None where an order's webhook does not tell them: what is known stays."""

    id: int
    email: str | None
    first_name: str | None
    last_name: str | None
    phone: str | None
    accepts_marketing: bool | None
    tags: tuple[str, ...] | None = ()


@dataclass(frozen=True, slots=True)
class ShopifyVisit:
    """The visit that led to the order: where it landed and where it came from."""

    occurred_at: datetime
    landing_page: str | None
    referrer_url: str | None
    utm: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShopifyOrder:
    """An order's present state, as Shopify has it. All money in cents of ``currency``; all instants in UTC.

    ``gross_cents`` is the sum of line prices, ``discount_cents`` all discounts, ``total_cents`` what the customer
    was charged, with shipping and tax.
    """

    id: int
    name: str
    currency: str
    gross_cents: int
    discount_cents: int
    shipping_cents: int
    tax_cents: int
    total_cents: int
    financial_status: str
    fulfillment_status: str | None
    placed_at: datetime
    updated_at: datetime
    cancelled_at: datetime | None = None
    cancel_reason: str | None = None
    email: str | None = None
    test: bool = False
    weight_grams: int | None = None
    tags: tuple[str, ...] = ()
    discount_codes: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    customer: ShopifyCustomer | None = None
    visit: ShopifyVisit | None = None
    lines: tuple[ShopifyLine, ...] = ()
    refunds: tuple[ShopifyRefund, ...] = ()
    fulfillments: tuple[ShopifyFulfillment, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderPage:
    """A page of orders, oldest update first; ``next_cursor`` is None on the last."""

    orders: tuple[ShopifyOrder, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """When an order last changed: all that a comparison needs, for a thirtieth of the whole order's cost."""

    id: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class UpdatePage:
    """A page of updates, oldest first; ``next_cursor`` is None on the last."""

    updates: tuple[OrderUpdate, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class WebhookSubscription:
    id: str
    topic: str
    uri: str


class Shopify(Protocol):
    """One shop's Admin API, under the tenant's credentials and limits.

    Every method raises ProviderUnavailableError, RateLimitedError, CredentialsRejectedError or InvalidPayloadError
    (an answer that cannot be read).
    """

    def find_order(self, order_id: int) -> ShopifyOrder | None:
        """The order's present state; None where Shopify has none or may not show it."""

    def list_orders(
        self, *, updated_from: datetime | None, updated_to: datetime | None, cursor: str | None, limit: int
    ) -> OrderPage:
        """A page of at most ``limit`` (<= 100) orders by update time, both bounds included.

        A page may be shorter where the shop's limit is reached; only ``next_cursor`` tells whether more follow.
        """

    def list_order_updates(
        self, *, updated_from: datetime | None, updated_to: datetime | None, cursor: str | None, limit: int
    ) -> UpdatePage:
        """A page of at most ``limit`` (<= 250) orders' last changes, both bounds included."""

    def list_orders_by_id(self, order_ids: Sequence[int]) -> tuple[ShopifyOrder, ...]:
        """The orders that exist among at most 100 ids; 25 are what a standard shop's limit always lets pass."""

    def list_webhook_subscriptions(self) -> tuple[WebhookSubscription, ...]:
        """All of the app's subscriptions in this shop."""

    def create_webhook_subscriptions(
        self, topics: Sequence[str], uri: str
    ) -> tuple[WebhookSubscription, ...]:
        """Subscribe ``topics`` (``orders/create``) to ``uri``; in their order."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG to be shown with a message."""

    name: str
    title: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A message to people. ``text`` is its title, which notifications show; ``sections`` are the messenger's markup."""

    text: str
    sections: tuple[str, ...]
    picture: Picture | None = None


class Posted(StrEnum):
    """What became of a message: ``again`` was posted under its key before."""

    SENT = "sent"
    AGAIN = "again"
    NOT_CONNECTED = "not_connected"


class Messenger(Protocol):
    """A tenant's channel to its own people."""

    def post(self, key: str, note: Note) -> Posted:
        """Post once per key, whoever dies when. Raises ProviderUnavailableError, RateLimitedError,
        CredentialsRejectedError, MisconfiguredError (the channel) or InvalidPayloadError.
        """


@dataclass(frozen=True, slots=True)
class CounterSnapshot:
    """An hour's counters, taken away once under an ``id``: whoever adds them elsewhere remembers it."""

    id: str
    hour: datetime
    amounts: Mapping[str, int]


class HotCounters(Protocol):
    """A tenant's counters by hour. Every method raises RetryableError where the store does not answer."""

    def add(self, hour: datetime, amounts: Mapping[str, int]) -> None:
        """Add to the counters of the hour that begins at ``hour``."""

    def take(self, before: datetime) -> CounterSnapshot | None:
        """The oldest snapshot of hours before; the same again until it is dropped; None where none is left."""

    def drop(self, snapshot: CounterSnapshot) -> None:
        """Forget a snapshot that was added elsewhere."""


@dataclass(frozen=True, slots=True)
class Email:
    """One e-mail as it is sent, ``sender`` with its display name. Tags come back with everything that becomes of it.

    HTML shows a picture by ``cid:`` and its name; an e-mail with pictures goes in a call of its own.
    """

    sender: str
    to: str
    subject: str
    html: str
    text: str
    reply_to: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True)
class EmailOutcome:
    """What became of one e-mail of a call: the provider's id of it, or why the provider does not take it."""

    message_id: str | None
    refusal: str | None = None


class EmailSender(Protocol):
    """The account that a tenant's e-mails leave from, its own or the platform's, within its limits."""

    @property
    def most(self) -> int:
        """How many e-mails one call may carry."""

    def sender_of(self, name: str) -> str:
        """The address that e-mails come from, under a display name. Raises NotFoundError where there is no account."""

    def send(self, key: str, emails: Sequence[Email]) -> tuple[EmailOutcome, ...]:
        """Send e-mails in one call, once for each ``key`` within a day; an outcome for each, in their order.

        Raises RateLimitedError (QuotaExceededError for a day's or a month's quota), ProviderUnavailableError and
        ConflictError (call again with the same key and content), RepeatRefusedError, InvalidPayloadError (all are
        refused), CredentialsRejectedError and MisconfiguredError (a person has to act).
        """


class DiscountCodes(Protocol):
    """A shop's discount codes, under the tenant's credentials and limits; raises what ``Shopify`` does."""

    def create_code(self, code: str, percent: int, starts_at: datetime, ends_at: datetime) -> str | None:
        """A code for one order, so many percent off all of it. Idempotent: a code that is there already is None's."""


class UnsubscribeLinks(Protocol):
    """Where a recipient can say that they want no more e-mails."""

    def signer(self) -> Callable[[int, int], str]:
        """What makes a signed address for the recipient of an order's e-mail of a number.

        Reads the tenant's key, so it is asked for outside of a transaction; what it returns asks nobody. Raises
        MisconfiguredError without a public address.
        """


class PayloadStore(Protocol):
    """The stage's payloads by key; a tenant's lie below ``tenants/{tenant id}/`` and end after their retention."""

    def put(self, key: str, body: bytes) -> None: ...

    def get(self, key: str) -> bytes:
        """Raises NotFoundError."""

    def put_file(self, key: str, path: Path, sha256: str) -> None:
        """Put a file of this machine without holding it in memory; ``sha256`` is its digest in hexadecimal."""

    def get_file(self, key: str, path: Path) -> None:
        """Write an object into a file of this machine. Raises NotFoundError."""

    def delete(self, key: str) -> None:
        """Delete the object; one that does not exist is deleted already."""

    def list(self, prefix: str, after: str = "") -> Sequence[str]:
        """A page of keys below ``prefix`` behind ``after``, in order; empty where there are no more."""


@dataclass(frozen=True, slots=True)
class ActiveTenant:
    """A tenant as the fan-out sees it."""

    tenant_id: str
    slug: str
    zone: str


class TenantDirectory(Protocol):
    """All tenants, for the platform's own functions."""

    def list_active(self, after: str | None, limit: int) -> Sequence[ActiveTenant]:
        """A page of active tenants by id, after the given one."""


class MachineStarter(Protocol):
    """Starts a state machine and waits for its end."""

    def run(self, workflow: str, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run the workflow to its end and return its output. A failure raises the error of its kind."""


class LongMachines(Protocol):
    """Starts state machines that run for longer than a task may, and does not wait for their ends."""

    def start(self, machine: str, name: str, payload: Mapping[str, Any]) -> None:
        """Start an execution; one of this name that was started before is the same."""

    def count_running(self, machine: str, most: int) -> int:
        """How many executions run, counted up to ``most`` (100 at most); one of the last seconds may be missed."""
