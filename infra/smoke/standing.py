"""For a tenant that is there already, on any stage: what may be done to an order of its shop as often as one likes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infra.smoke.seen import Seen, seen
from infra.smoke.site import Site


def see_through(site: Site) -> Iterator[Seen]:
    """Five tasks through three doors: the API, a function's own invocation, and the run-task machine."""
    found = site.stage.invoke("ingress-admin", {"action": "find-order", "tenant": site.tenant})
    order = {"order_id": found["order_id"]}
    run = site.ended(site.start("commerce-sync-order", order))
    yield seen(run, "api", _told(run, "order_id", "status", "fetched"))
    run = site.ended(site.invoke("commerce-order-attribution", order))
    yield seen(run, "invocation", _told(run, "revenue_cents", "touchpoints"))
    run = site.ended(site.invoke("commerce-order-commission", order))
    yield seen(run, "invocation", _told(run, "commission_cents", "state"))
    run = site.ended(site.execute("commerce-order-review-email", order))
    yield seen(run, "state machine", _told(run, "state"))
    run = site.ended(site.invoke("commerce-order-reconciliation", {"look_back_hours": 1, "limit": 50}))
    yield seen(run, "invocation", _told(run, "compared", "missing", "outdated"))


def _told(run: dict[str, Any], *names: str) -> str:
    return ", ".join(f"{name} {run['result'][name]}" for name in names)
