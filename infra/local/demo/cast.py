"""Sets the stage: tenants through the admin function, creators and touchpoints as the tenants' own data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import boto3
import httpx
import psycopg
from botocore.config import Config

from infra.local.demo.orders import Story
from infra.local.demo.shops import CREATORS, SHOPS, DemoShop
from infra.local.state import State

PLAN = "plus"
REQUESTS_PER_SECOND = 25
"""Shops that sell a year's orders in minutes are on Shopify's plan for large ones, and their limit is set to fit it."""
_BASIS_POINTS = 100

_INSERT_CREATOR = """
INSERT INTO creators (name, code, status, rate_basis_points) VALUES (%s, %s, %s, %s)
"""
_COPY_TARGET = """
CREATE TEMPORARY TABLE laid ON COMMIT DROP AS
SELECT touchpoint_id, dedupe_hash, visitor_id, session_id, shopify_customer_id, channel, source, medium, campaign,
       click_id, landing_page, referrer_url, occurred_at
FROM attribution_touchpoints WITH NO DATA
"""
_COPY = "COPY laid FROM STDIN"
_TAKE_OVER = """
INSERT INTO attribution_touchpoints (touchpoint_id, dedupe_hash, visitor_id, session_id, shopify_customer_id, channel,
                                     source, medium, campaign, click_id, landing_page, referrer_url, occurred_at)
SELECT * FROM laid
"""


class AdminError(Exception):
    """The admin function refused; the message is its own."""


def invoke_admin(state: State, event: dict[str, Any]) -> dict[str, Any]:
    """Invoke ``ingress-admin`` in the local cloud. Raises AdminError."""
    return invoke(state, "ingress-admin", event)


def invoke(state: State, function: str, event: dict[str, Any]) -> dict[str, Any]:
    """Invoke a function of the local cloud. Raises AdminError."""
    client = boto3.client(
        "lambda",
        endpoint_url=state.aws_endpoint_url,
        region_name=state.region,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - the local cloud knows no secrets
        config=Config(read_timeout=120, retries={"max_attempts": 0}),
    )
    answer = client.invoke(FunctionName=f"tradewind-local-{function}", Payload=json.dumps(event))
    result: dict[str, Any] = json.loads(answer["Payload"].read() or b"{}")
    if answer.get("FunctionError"):
        raise AdminError(f"{result.get('errorType')}: {result.get('errorMessage')}")
    return result


def register_tenants(state: State) -> dict[str, UUID]:
    """Register the three tenants with their secrets; returns their ids by slug."""
    return {shop.slug: register(state, shop) for shop in SHOPS}


def register(state: State, shop: DemoShop) -> UUID:
    """Register one tenant with its secrets; returns its id."""
    about = {
        "action": "register-tenant",
        "slug": shop.slug,
        "name": shop.name,
        "shop": shop.shop,
        "zone": shop.zone,
        "currency": shop.currency,
        "webhook_url": state.webhook_url,
        "settings": {"requests_per_second": REQUESTS_PER_SECOND},
        "credentials": {
            "app_secret": shop.app_secret,
            "access_token": f"demo-token-{shop.slug}",
            "refresh_token": f"demo-refresh-{shop.slug}",
        },
    }
    return UUID(invoke_admin(state, about)["tenant_id"])


def lay_history(state: State, tenants: dict[str, UUID], stories: Sequence[Story]) -> int:
    """Write creators and the touchpoints that lie before the orders, each as its tenant; returns their number."""
    laid = 0
    for slug, tenant_id in tenants.items():
        rows = [
            _touch_row(touch) for story in stories if story.tenant_slug == slug for touch in story.touchpoints
        ]
        with psycopg.connect(state.app_database_url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenant_id),))
            for creator in (creator for creator in CREATORS if creator.slug == slug):
                rate = None if creator.rate_percent is None else creator.rate_percent * _BASIS_POINTS
                status = "active" if creator.is_active else "inactive"
                cursor.execute(_INSERT_CREATOR, (creator.name, creator.code, status, rate))
            lay_touches(cursor, rows)
        laid += len(rows)
    return laid


def lay_touches(cursor: psycopg.Cursor, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write touchpoints, in the order of ``attribution_touchpoints``' columns above, as the connection's tenant."""
    cursor.execute(_COPY_TARGET)
    with cursor.copy(_COPY) as copy:
        for row in rows:
            copy.write_row(row)
    cursor.execute(_TAKE_OVER)


def _touch_row(touch: Any) -> tuple[Any, ...]:
    """A touchpoint as a recording task would store it, classified by its medium and click id."""
    digest = hashlib.sha256(f"touch:{touch.touchpoint_id}".encode())
    click = next((f"{name}:{value}" for name, value in touch.click_ids.items()), None)
    paid = click is not None or touch.medium in {"cpc", "paid_social"}
    known = {"email": "email", "affiliate": "affiliate", "social": "social"}
    referred = "referral" if touch.referrer else "direct"
    channel = "paid" if paid else known.get(touch.medium or "", referred)
    return (
        UUID(bytes=digest.digest()[:16]),
        digest.hexdigest(),
        touch.visitor_id,
        touch.session_id,
        touch.customer_id,
        channel,
        touch.source,
        touch.medium,
        touch.campaign,
        click,
        touch.landing_page,
        touch.referrer,
        touch.occurred_at,
    )


def set_faults(state: State, rate: float, seed: int) -> None:
    """Have the sandbox fail a share of Shopify's calls, in every way it knows."""
    kinds = ["429", "500", "reset", "lost_answer", "throttled"]
    plan = {"provider": "shopify", "rate": rate, "kinds": kinds, "seed": seed}
    httpx.post(f"{state.sandbox_url}/_sandbox/faults", json=plan, timeout=10).raise_for_status()


def set_plans(state: State) -> None:
    """Put the shops on their Shopify plan."""
    for shop in SHOPS:
        url = f"{state.sandbox_url}/_sandbox/shopify/{shop.shop}/plan"
        httpx.put(url, json={"plan": PLAN}, timeout=10).raise_for_status()


def count_calls(state: State) -> dict[str, int]:
    """How many calls Shopify's sandbox received, and how many of them it failed on purpose."""
    params = {"provider": "shopify", "limit": "1"}
    answer = httpx.get(f"{state.sandbox_url}/_sandbox/calls", params=params, timeout=30)
    totals = answer.raise_for_status().json()["totals"]
    return {
        "received": sum(total["calls"] for total in totals),
        "failed_on_purpose": sum(total["faults"] for total in totals),
    }
