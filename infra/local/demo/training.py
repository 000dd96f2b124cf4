"""A shop comes with its past, and a model is trained on it: in the container, through the deployed state machine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import psycopg
from psycopg.rows import dict_row

from infra.local.demo.cast import invoke, lay_touches, register
from infra.local.demo.past import HELPING, Journey, divide, expect_training, plan_past
from infra.local.demo.shops import NEWCOMER
from infra.local.demo.verify import Verdict
from infra.local.demo.watch import NotDrainedError
from infra.local.state import State

TRAIN, CREDIT = "analytics-attribution-ml-training", "analytics-attribution-recalculate-recent"
PATIENCE_S = 120.0
NEAR = 1e-9
SHOWN = ("last_touch", "linear", "data_driven")
_ORDER = """
INSERT INTO orders (shopify_order_id, order_number, currency, gross_cents, discount_cents, net_cents, shipping_cents,
                    tax_cents, total_cents, financial_status, status, visitor_id, placed_at, shopify_updated_at)
VALUES (%(id)s, %(number)s, 'USD', %(cents)s, 0, %(cents)s, 0, 0, %(cents)s, 'paid', 'open', %(visitor)s, %(at)s,
        %(at)s)
"""
_CONVERSION = """
INSERT INTO attribution_conversions (shopify_order_id, visitor_id, revenue_cents, gross_revenue_cents, currency,
                                     first_purchase, touchpoints, status, converted_at)
VALUES (%(id)s, %(visitor)s, %(cents)s, %(cents)s, 'USD', true, %(touches)s, 'attributed', %(at)s)
"""
_TRAINING = "SELECT state, reason FROM ml_trainings WHERE training_id = %s"
_MODEL = "SELECT version, algorithm, used, samples, conversions, weights, metrics FROM ml_models WHERE training_id = %s"
_CREDITS = """
SELECT shopify_order_id, array_agg(revenue_cents ORDER BY position) AS cents FROM attribution_results
WHERE model = 'data_driven' AND window_days = 30 GROUP BY 1
"""
_BY_CHANNEL = """
SELECT model, channel, sum(revenue_cents)::bigint AS cents FROM attribution_results
WHERE model = ANY (%s) AND window_days = 30 GROUP BY 1, 2
"""


def play_training(state: State, seed: int, verdict: Verdict) -> dict[str, Any]:
    """Lay the past, train, credit, compare; what it came to. Raises AdminError or NotDrainedError."""
    past = plan_past(seed, datetime.now(UTC))
    tenant_id = register(state, NEWCOMER)
    with _as_tenant(state, tenant_id) as connection:
        _lay(connection.cursor(), tenant_id, past)
    _credit(state, tenant_id, past)
    begun = time.monotonic()
    asked = invoke(state, TRAIN, {"tenant": str(tenant_id), "payload": {}})
    verdict.compare("training, asked for", "requested", asked["state"])
    if asked["state"] != "requested":
        return {"shop": NEWCOMER.name, **asked}
    with _as_tenant(state, tenant_id) as connection:
        ended = _wait(connection, asked["training_id"])
        seconds = time.monotonic() - begun
        verdict.compare("training", {"state": "succeeded", "reason": None}, ended)
        model = connection.execute(_MODEL, (asked["training_id"],)).fetchone()
    if model is None:
        return {"shop": NEWCOMER.name, **ended}
    _verify_model(verdict, past, model)
    _credit(state, tenant_id, past)
    with _as_tenant(state, tenant_id) as connection:
        found = {row["shopify_order_id"]: row["cents"] for row in connection.execute(_CREDITS)}
        by_channel: dict[str, Counter[str]] = {name: Counter() for name in SHOWN}
        for row in connection.execute(_BY_CHANNEL, (list(SHOWN),)):
            by_channel[row["model"]][row["channel"]] = row["cents"]
    for each in past:
        if each.cents is not None:
            expected = divide(each.cents, each.channels, model["weights"])
            verdict.compare(
                f"data-driven credits of {each.order_id}", expected, found.pop(each.order_id, None)
            )
    verdict.compare("data-driven credits of other orders", {}, found)
    return {"shop": NEWCOMER.name, "seconds": round(seconds, 1), **model, "cents": by_channel}


def _lay(cursor: psycopg.Cursor[Any], tenant_id: UUID, past: Sequence[Journey]) -> None:
    """The shop's touches and orders, as a move from another system would leave them."""
    touches, orders = [], []
    for each in past:
        for place, (channel, at) in enumerate(each.touches):
            name = f"{each.visitor}-{place}"
            own = (uuid5(tenant_id, name), name, each.visitor, None, None, channel)
            touches.append((*own, None, None, None, None, None, None, at))
        if each.converts:
            about = {"id": each.order_id, "number": f"#{each.number}", "visitor": each.visitor}
            orders.append(about | {"cents": each.cents, "touches": len(each.touches), "at": each.ended_at})
    lay_touches(cursor, touches)
    cursor.executemany(_ORDER, orders)
    cursor.executemany(_CONVERSION, orders)


def _credit(state: State, tenant_id: UUID, past: Sequence[Journey]) -> None:
    """Have every model's credits computed for the shop's orders."""
    span = {"since": past[0].touches[0][1].isoformat(), "until": datetime.now(UTC).isoformat()}
    invoke(state, CREDIT, {"tenant": str(tenant_id), "payload": span})


def _wait(connection: psycopg.Connection[dict[str, Any]], training_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        row = connection.execute(_TRAINING, (training_id,)).fetchone()
        if row is not None and row["state"] not in {"requested", "running"}:
            return row
        if time.monotonic() > deadline:
            raise NotDrainedError(f"the training is {row and row['state']} after {PATIENCE_S:.0f} s")
        time.sleep(0.2)


def _verify_model(verdict: Verdict, past: Sequence[Journey], model: dict[str, Any]) -> None:
    """What was counted and scored is what arithmetic says, and the channels that help have the largest weights."""
    expected = expect_training(past)
    metrics, weights = model["metrics"], model["weights"]
    losses, judged = metrics["validation_losses"], metrics["held_out"]
    counted = (model["samples"], model["conversions"], metrics["journeys"])
    verdict.compare("training, journeys", (expected.samples, expected.conversions, expected.parts), counted)
    for name, loss in expected.losses.items():
        near = _near(loss, losses[name])
        verdict.compare(f"training, loss of {name}", loss, loss if near else losses[name])
    base = judged["base"]
    verdict.compare("training, base", expected.base, expected.base if _near(expected.base, base) else base)
    verdict.compare("training, better than the rate", True, judged["log_loss"] < expected.base)
    verdict.compare("training, lowest loss", min(losses.values()), losses[model["algorithm"]])
    verdict.compare("training, in use", True, model["used"])
    verdict.compare("training, sum of weights", 1.0, round(sum(weights.values()), 9))
    largest = sorted(weights, key=weights.__getitem__, reverse=True)[: len(HELPING)]
    verdict.compare("training, what helps", list(HELPING), largest)


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= NEAR


def _as_tenant(state: State, tenant_id: UUID) -> psycopg.Connection[dict[str, Any]]:
    connection = psycopg.connect(state.app_database_url, row_factory=dict_row)
    connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenant_id),))
    return connection
