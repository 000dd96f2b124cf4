"""The lines for a person, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal

from infra.cost.data import Prices
from infra.cost.estimate import ORDERS_AIM, Line, Section, total

WIDTH = 66
ORDERS = (Section.ORDERS, Section.ORDERS_NETWORK)
IDLE = (Section.IDLE, Section.IDLE_NETWORK)


def table(lines: Sequence[Line], stage: str, tenants: int, prices: Prices) -> str:
    """A table by section, with totals and the aim."""
    told = [f"Stage {stage}, {tenants} tenants, {prices.region}, prices of {prices.as_of}, no free tier"]
    for section in Section:
        told += ["", f"{section:<{WIDTH}} {'quantity':>26} {'USD':>9}"]
        told += [
            f"  {line.name:<{WIDTH - 2}} {_figure(line.quantity):>14} {line.unit:<11} {line.usd:>9.2f}"
            for line in lines
            if line.section is section
        ]
        told.append(f"  {'':<{WIDTH - 2}} {'':>26} {total(lines, section):>9.2f}")
    orders, idle = total(lines, *ORDERS), total(lines, *IDLE)
    verdict = "within" if orders < ORDERS_AIM else f"{orders - ORDERS_AIM:.2f} above"
    told += [
        "",
        f"{'A million orders, network included, database and cache not':<{WIDTH + 27}} {orders:>9.2f}",
        f"{'An idle month, network included, database and cache not':<{WIDTH + 27}} {idle:>9.2f}",
        f"Aim: under {ORDERS_AIM} USD per million orders; this is {verdict}.",
    ]
    return "\n".join(told) + "\n"


def as_json(lines: Sequence[Line], stage: str, tenants: int, prices: Prices) -> str:
    """Amounts are texts, so that no reader rounds them."""
    content = {
        "stage": stage,
        "tenants": tenants,
        "region": prices.region,
        "prices_as_of": prices.as_of,
        "usd_per_million_orders": _exact(total(lines, *ORDERS)),
        "usd_per_idle_month": _exact(total(lines, *IDLE)),
        "aim_usd_per_million_orders": str(ORDERS_AIM),
        "lines": [
            {
                "section": line.section,
                "name": line.name,
                "quantity": _exact(line.quantity),
                "unit": line.unit,
                "usd": _exact(line.usd),
            }
            for line in lines
        ],
    }
    return json.dumps(content, indent=1) + "\n"


def _figure(quantity: Decimal) -> str:
    return f"{quantity:,.0f}" if quantity >= 100 else f"{quantity:,.2f}"  # noqa: PLR2004 - digits worth reading


def _exact(amount: Decimal) -> str:
    return f"{amount:.6f}"
