"""The order-sync chain: save the order, then attribution, commission where a code was used, and the review e-mail."""

from __future__ import annotations

from datetime import timedelta

from tradewind.tasks.workflow import Step, Workflow

order_sync = Workflow(
    name="order-sync",
    description="Bring a new order in: save, attribute, commission if a code was used, review mail.",
    starter="commerce-order-created",
    steps=(
        Step("commerce-sync-order"),
        Step("commerce-order-attribution"),
        Step("commerce-order-commission", when=("commerce-sync-order", "has_discount_code")),
        Step("commerce-order-review-email"),
    ),
    timeout=timedelta(seconds=40),
)
