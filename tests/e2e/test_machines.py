"""What a person starts by hand: the workflow, a single task, a replay of dead letters."""

from __future__ import annotations

import json
import subprocess
from shutil import which
from typing import Any

import pytest

from infra.local import paths
from infra.local.instructions import SLUG, first_webhook
from tests.e2e.cloud import PATIENCE_S, Cloud, Tenant
from tests.e2e.orders import make_order, new_id, recently

SAMPLE = paths.CHECKOUT / "events/commerce/commerce-sync-order.json"


def some_order(tenant: Tenant) -> dict[str, Any]:
    order = make_order(new_id(), recently())
    tenant.put(order)
    return order


def test_the_workflow_runs_by_hand_and_shows_each_steps_result(cloud: Cloud, tenant: Tenant) -> None:
    order = some_order(tenant)

    answer = cloud.client("stepfunctions").start_sync_execution(
        stateMachineArn=cloud.machine("order-sync"),
        input=json.dumps({"tenant": tenant.slug, "payload": {"order_id": order["id"]}}),
    )

    assert answer["status"] == "SUCCEEDED", answer
    steps = json.loads(answer["output"])
    assert steps["commerce-sync-order"] == {
        "order_id": order["id"],
        "fetched": True,
        "has_discount_code": False,
        "status": "open",
    }
    assert steps["commerce-order-attribution"]["revenue_cents"] == 6850
    assert steps["commerce-order-review-email"]["state"] == "pending"
    assert tenant.order(order["id"])["total_cents"] == 6850
    assert {run["task"] for run in tenant.runs()} == {
        "commerce-sync-order",
        "commerce-order-attribution",
        "commerce-order-review-email",
    }


def test_the_workflow_can_be_started_without_waiting(cloud: Cloud, tenant: Tenant) -> None:
    order = some_order(tenant)

    cloud.client("stepfunctions").start_execution(
        stateMachineArn=cloud.machine("order-sync"),
        input=json.dumps({"tenant": tenant.slug, "payload": {"order_id": order["id"]}}),
    )

    (email,) = tenant.wait_for("the review e-mail's row", lambda: tenant.rows("review_email_queue"))
    assert email["shopify_order_id"] == order["id"]


def test_a_workflow_says_which_order_shopify_does_not_know(cloud: Cloud, tenant: Tenant) -> None:
    some_order(tenant)
    unknown = new_id()

    answer = cloud.client("stepfunctions").start_sync_execution(
        stateMachineArn=cloud.machine("order-sync"),
        input=json.dumps({"tenant": tenant.slug, "payload": {"order_id": unknown}}),
    )

    assert (answer["status"], answer["error"]) == ("FAILED", "TerminalError")
    assert f"no order at Shopify with id {unknown}" in answer["cause"]
    assert tenant.rows("orders") == []


def test_any_task_runs_for_any_tenant_by_hand(cloud: Cloud, tenant: Tenant) -> None:
    order = some_order(tenant)

    done = cloud.execute(
        "run-task",
        {"task": "commerce-sync-order", "tenant": tenant.slug, "payload": {"order_id": order["id"]}},
    )

    assert done["status"] == "SUCCEEDED", done
    assert json.loads(done["output"])["order_id"] == order["id"]
    (run,) = tenant.runs()
    assert (run["source"], run["state"]) == ("manual", "succeeded")
    # Started alone, the task brings everything that follows up to date too.
    assert len(tenant.rows("attribution_conversions")) == 1
    assert len(tenant.rows("review_email_queue")) == 1


def test_a_run_for_an_unknown_tenant_fails_with_its_name(cloud: Cloud) -> None:
    done = cloud.execute("run-task", {"task": "commerce-sync-order", "tenant": "nobody", "payload": {}})

    assert (done["status"], done["error"]) == ("FAILED", "TerminalError")
    assert "no tenant with id nobody" in done["cause"]


def test_a_sample_event_runs_from_the_command_line(cloud: Cloud, tenant: Tenant) -> None:
    sample = json.loads(SAMPLE.read_text())
    order = make_order(sample["payload"]["order_id"], recently())
    tenant.put(order)

    ran = cloud.operate(
        "run", "--task", "commerce-sync-order", "--tenant", tenant.slug, "--event", str(SAMPLE)
    )

    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["fetched"] is True
    assert tenant.order(order["id"])["total_cents"] == 6850


@pytest.mark.skipif(not (which("curl") and which("openssl")), reason="needs curl and openssl")
def test_the_commands_that_are_printed_send_a_first_webhook(cloud: Cloud) -> None:
    before = cloud.query(
        "SELECT coalesce(max(o.shopify_order_id), 0) AS last FROM orders o JOIN tenants t USING (tenant_id)"
        " WHERE t.slug = %s",
        SLUG,
    )

    ran = subprocess.run(
        ["bash", "-ec", first_webhook(cloud.state)],
        cwd=paths.CHECKOUT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert "200 OK" in ran.stdout
    (order,) = cloud.wait_for(
        "the first order, with its review e-mail",
        lambda: cloud.query(
            "SELECT t.slug, o.gross_cents, o.total_cents, q.state FROM orders o JOIN tenants t USING (tenant_id)"
            " JOIN review_email_queue q USING (tenant_id, shopify_order_id)"
            " WHERE t.slug = %s AND o.order_number = '#1001' AND o.shopify_order_id > %s",
            SLUG,
            before[0]["last"],
        ),
    )
    assert order == {"slug": SLUG, "gross_cents": 5990, "total_cents": 5990, "state": "pending"}


def test_dead_letters_are_replayed_by_a_machine(cloud: Cloud, tenant: Tenant) -> None:
    some_order(tenant)
    lost = [make_order(new_id(), recently()) for _ in range(3)]
    for order in lost:
        told = {name: order[name] for name in ("id", "updated_at")}
        event = f"lost-{order['id']}"
        assert tenant.deliver("orders/updated", told, event=event).status_code == 200
        tenant.finished("commerce-sync-order", event, state="failed")

    asked = {"tenant": tenant.slug, "limit": 2, "wait_s": 1}
    counted = cloud.execute("replay-dead-letters", asked | {"dry_run": True})
    assert json.loads(counted["output"])["last_page"]["matched"] == 3
    assert len(tenant.rows("dead_letter", "state = 'open'")) == 3
    for order in lost:
        tenant.put(order)

    replayed = cloud.execute("replay-dead-letters", asked)

    assert replayed["status"] == "SUCCEEDED", replayed
    assert json.loads(replayed["output"])["replayed"] == 3
    tenant.wait_for("three orders", lambda: len(tenant.rows("orders")) == 3)
    assert tenant.rows("dead_letter", "state = 'open'") == []
