"""What an operator does, and what the platform does by itself: register, rotate, replay, backfill, reconcile."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from botocore.exceptions import ClientError

from tests.e2e.cloud import Cloud, Tenant, pids_of
from tests.e2e.orders import at, make_order, new_id, recently
from tradewind.contracts.shopify import SUBSCRIBED_TOPICS
from tradewind.tasks.message import shard_of

CAP = 10
BACKFILL_QUEUE = "commerce-sync-order-batch-backfill.fifo"
RECONCILIATION = "commerce-order-reconciliation-scheduled"


def subscriptions(tenant: Tenant) -> dict[str, str]:
    """URIs by topic, as Shopify has them."""
    answer = tenant.cloud.sandbox.get(f"/shopify/{tenant.shop}/subscriptions").json()
    return {item["topic"]: item["uri"] for item in answer["subscriptions"]}


def unregistered(cloud: Cloud, slug: str) -> Tenant:
    return Tenant(cloud, slug, f"{slug}.myshopify.com", f"shpss_{uuid4().hex}")


def replay(tenant: Tenant, *more: str) -> dict[str, Any]:
    ran = tenant.cloud.operate("replay", "--tenant", tenant.slug, *more)
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


def test_a_tenant_is_registered_from_the_command_line(cloud: Cloud) -> None:
    tenant = unregistered(cloud, f"cli-{uuid4().hex[:8]}")
    sample = make_order(new_id(), recently())
    tenant.put(sample)

    asked = ("tenant", "--slug", tenant.slug, "--shop", tenant.shop)
    ran = cloud.operate(*asked, stdin=json.dumps(tenant.secrets))
    again = cloud.operate(*asked, stdin=json.dumps(tenant.secrets))

    assert (ran.returncode, ran.stderr) == (0, "")
    told = json.loads(ran.stdout)
    tenant.id = UUID(told["tenant_id"])
    assert (told["slug"], told["shop"], told["proof_order"]) == (tenant.slug, tenant.shop, sample["name"])
    assert told["webhooks_subscribed"] == list(SUBSCRIBED_TOPICS)
    assert set(subscriptions(tenant).values()) == {f"{cloud.state.webhook_url}/webhooks/shopify"}
    assert len(subscriptions(tenant)) == len(SUBSCRIBED_TOPICS)
    assert json.loads(again.stdout)["webhooks_subscribed"] == []
    assert json.loads(again.stdout)["tenant_id"] == told["tenant_id"]

    logs = cloud.client("logs").filter_log_events(logGroupName="/aws/lambda/tradewind-local-ingress-admin")
    everything = json.dumps([ran.stdout, ran.stderr, logs["events"]], default=str)
    assert "tenant registered" in everything
    assert [name for name, secret in tenant.secrets.items() if secret in everything] == []
    tenant.send("orders/create", sample, "commerce-order-created")


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        ("{'app_secret': 'shpss_hidden'}", "standard input is not JSON"),
        ('["shpss_hidden"]', "standard input must be a JSON object of texts"),
        ('{"app_secret": "shpss_hidden", "access_token": 7}', "standard input must be a JSON object"),
        ('{"app_secret": "shpss_hidden"}', "credentials.access_token: is missing"),
        ('{"access_token": "shpss_hidden"}', "credentials.app_secret: is missing"),
        ('{"app_secret": "shpss_hidden", "access_token": "a", "pin": "1"}', "credentials.pin"),
    ],
)
def test_a_registration_with_unusable_secrets_is_refused(cloud: Cloud, stdin: str, message: str) -> None:
    slug = f"refused-{uuid4().hex[:8]}"

    ran = cloud.operate("tenant", "--slug", slug, "--shop", f"{slug}.myshopify.com", stdin=stdin)

    assert (ran.returncode, ran.stdout) == (1, "")
    assert message in ran.stderr
    assert "shpss_hidden" not in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert cloud.query("SELECT 1 FROM tenants WHERE slug = %s", slug) == []


def test_a_shop_of_another_tenant_is_refused(cloud: Cloud, tenant: Tenant) -> None:
    thief = unregistered(cloud, f"thief-{uuid4().hex[:8]}")

    ran = cloud.operate(
        "tenant", "--slug", thief.slug, "--shop", tenant.shop, stdin=json.dumps(thief.secrets)
    )

    assert (ran.returncode, ran.stdout) == (1, "")
    assert f"{tenant.shop} belongs to another tenant" in ran.stderr
    assert thief.secret not in ran.stderr
    assert cloud.query("SELECT 1 FROM tenants WHERE slug = %s", thief.slug) == []
    answer = tenant.deliver("orders/create", make_order(new_id(), recently()), secret=thief.secret)
    assert answer.status_code == 401


def test_a_function_may_do_what_its_signature_asks_for_and_nothing_else(cloud: Cloud) -> None:
    if not cloud.authorizes:
        pytest.skip("this cloud was started without authorization")
    configuration = cloud.client("lambda").get_function_configuration(
        FunctionName="tradewind-local-commerce-order-attribution"
    )
    sqs = cloud.client("sqs", configuration["Role"])

    own = cloud.queue_url("commerce-order-attribution.fifo")
    found = sqs.get_queue_attributes(QueueUrl=own, AttributeNames=["QueueArn"])
    assert found["Attributes"]["QueueArn"].endswith(":tradewind-local-commerce-order-attribution.fifo")
    with pytest.raises(ClientError, match="AccessDenied"):
        sqs.receive_message(QueueUrl=cloud.queue_url("commerce-order-created.fifo"))
    with pytest.raises(ClientError, match="AccessDenied"):
        cloud.client("lambda", configuration["Role"]).invoke(FunctionName="tradewind-local-ingress-admin")


def test_an_empty_slug_is_named(cloud: Cloud) -> None:
    ran = cloud.operate("tenant", "--slug", "", "--shop", "acme.myshopify.com", stdin="{}")

    assert (ran.returncode, ran.stderr) == (2, "SLUG must be set; see `make help`\n")


def test_a_rotated_secret_and_the_one_before_both_sign(cloud: Cloud, tenant: Tenant) -> None:
    rotated = f"shpss_{uuid4().hex}"

    ran = cloud.operate(
        "credentials",
        "--tenant",
        tenant.slug,
        "--provider",
        "shopify",
        stdin=json.dumps({"app_secret": rotated}),
    )

    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["versions"] == {"app_secret": 2}
    assert rotated not in ran.stdout + ran.stderr
    order = make_order(new_id(), recently())
    assert tenant.deliver("orders/create", order, secret=rotated).status_code == 200
    assert tenant.deliver("orders/create", order, secret=tenant.secret).status_code == 200
    assert tenant.deliver("orders/create", order, secret="neither").status_code == 401
    (kept,) = tenant.rows("credentials", "name = 'app_secret'")
    assert rotated.encode() not in bytes(kept["ciphertext"])
    assert kept["previous_until"] > datetime.now(UTC) + timedelta(hours=23)


@pytest.mark.parametrize(
    ("tenant_slug", "stdin", "message"),
    [
        ("nobody-here", '{"api_key": "re_hidden"}', "no tenant with id nobody-here"),
        ("nobody-here", "{}", "credentials"),
        ("Not A Slug", '{"api_key": "re_hidden"}', "tenant"),
        ("nobody-here", "re_hidden", "standard input is not JSON"),
    ],
)
def test_credentials_that_cannot_be_stored_are_refused(
    cloud: Cloud, tenant_slug: str, stdin: str, message: str
) -> None:
    ran = cloud.operate("credentials", "--tenant", tenant_slug, "--provider", "resend", stdin=stdin)

    assert (ran.returncode, ran.stdout) == (1, "")
    assert message in ran.stderr
    assert "re_hidden" not in ran.stderr


def test_an_order_that_fails_for_good_lets_its_group_go_on_and_is_replayed(
    cloud: Cloud, tenant: Tenant
) -> None:
    tenant.put(make_order(new_id(), recently()))
    lost = make_order(new_id(), recently())
    behind = make_order(
        next(number for number in iter(new_id, 0) if same_group(number, lost["id"])), recently()
    )
    tenant.put(behind)
    for order in (lost, behind):
        told = {name: order[name] for name in ("id", "updated_at")}
        assert tenant.deliver("orders/create", told, event=f"e-{order['id']}").status_code == 200

    failed = tenant.finished("commerce-order-created", f"e-{lost['id']}", state="failed")
    tenant.finished("commerce-order-created", f"e-{behind['id']}")
    assert tenant.order(behind["id"])["total_cents"] == 6850
    (letter,) = tenant.rows("dead_letter")
    assert (letter["task"], letter["entity"]) == ("commerce-order-created", str(lost["id"]))
    assert f"no order at Shopify with id {lost['id']}" in letter["error_message"]

    counted = replay(tenant, "--dry-run")
    assert (counted["matched"], counted["replayed"], counted["dry_run"]) == (1, 0, True)
    assert tenant.rows("dead_letter") == [letter]
    assert replay(tenant, "--dry-run", "--task", "commerce-sync-order")["matched"] == 0

    tenant.put(lost)
    done = replay(tenant, "--task", "commerce-order-created")

    assert (done["matched"], done["replayed"], done["left"]) == (1, 1, 0)
    ended = tenant.wait_for(
        "the replayed run",
        lambda: tenant.rows("task_run", "replay_of = %s AND finished_at IS NOT NULL", failed["run_id"]),
    )
    assert [(run["task"], run["state"]) for run in ended] == [("commerce-order-created", "succeeded")]
    assert tenant.order(lost["id"])["total_cents"] == 6850
    (letter,) = tenant.rows("dead_letter")
    assert letter["state"] == "replayed"
    audit = cloud.query(
        "SELECT action, details ->> 'matched' AS matched, details ->> 'replayed' AS replayed FROM operator_audit"
        " WHERE details ->> 'tenant_id' = %s",
        str(tenant.id),
    )
    assert audit == [{"action": "replay", "matched": "1", "replayed": "1"}]


def same_group(number: int, other: int) -> bool:
    return shard_of(str(number), CAP) == shard_of(str(other), CAP)


@pytest.fixture
def impatient_backfill(cloud: Cloud) -> Iterator[None]:
    """The backfill's queue gives a message of a dead worker back after seconds instead of minutes."""
    sqs, url = cloud.client("sqs"), cloud.queue_url(BACKFILL_QUEUE)
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "5"})
    yield
    sqs.set_queue_attributes(QueueUrl=url, Attributes=found)


@pytest.mark.usefixtures("impatient_backfill")
def test_a_backfill_whose_worker_is_killed_finishes_where_it_stopped(cloud: Cloud, tenant: Tenant) -> None:
    placed = recently(days=10)
    orders = [make_order(new_id(), placed + timedelta(minutes=minute), code="AVA10") for minute in range(250)]
    tenant.write("INSERT INTO creators (name, code) VALUES ('Ava', 'AVA10')")
    answer = cloud.sandbox.put(f"/shopify/{tenant.shop}/orders", json={"orders": orders})
    assert answer.json() == {"orders": 250}
    cloud.sandbox.put(f"/shopify/{tenant.shop}/plan", json={"plan": "plus"})

    window = {"updated_from": placed.isoformat(), "updated_to": at(placed, 249)}
    cloud.invoke("commerce-sync-order-batch", {"tenant": tenant.slug, "payload": window})
    tenant.wait_for(
        "a page in the backfill's queue", lambda: tenant.rows("task_run", "hops >= 1 AND state = 'running'")
    )
    killed = pids_of(cloud.state.pids["ministack"], "commerce.order_sync.tasks.sync_order_batch")
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    (begun,) = tenant.runs()
    assert killed
    assert begun["state"] != "succeeded"
    assert len(tenant.rows("orders")) < 250
    # The lease of the dead would end with its invocation's time; here that time passes at once.
    with psycopg.connect(cloud.state.platform_database_url) as connection:
        connection.execute(
            "UPDATE task_run SET lease_until = clock_timestamp() WHERE tenant_id = %s AND state = 'running'",
            (tenant.id,),
        )

    ended = "task = 'commerce-sync-order-batch' AND finished_at IS NOT NULL"
    (run,) = tenant.wait_for("the backfill's end", lambda: tenant.rows("task_run", ended))

    assert (run["state"], run["run_id"]) == ("succeeded", begun["run_id"]), run["error_message"]
    assert run["result"]["orders"] == 250
    assert run["hops"] >= 2
    pages = tenant.rows("outbox", "task = 'commerce-sync-order-batch'")
    assert {(page["lane"], page["state"]) for page in pages} == {("backfill", "done")}
    assert len(pages) == run["hops"]
    assert len(tenant.rows("orders")) == 250
    assert len(tenant.rows("order_line_items")) == 500
    assert tenant.rows("review_email_queue") == []
    assert tenant.rows("dead_letter") == []
    credited = cloud.query(
        "SELECT model, window_days, sum(revenue_cents)::bigint AS cents FROM attribution_results WHERE tenant_id = %s"
        " GROUP BY 1, 2",
        tenant.id,
    )
    assert {row["cents"] for row in credited} == {250 * 6245}
    assert len(credited) == 6 * 5
    # 54.45 an order: the twentieth reaches 1,000.00 of sales before it, the ninety-third 5,000.00.
    commissions = tenant.rows("commissions")
    assert Counter((row["tier"], row["commission_cents"]) for row in commissions) == {
        ("bronze", 545): 19,
        ("silver", 653): 73,
        ("gold", 817): 158,
    }


def reconciled(tenant: Tenant) -> dict[str, Any]:
    """The tenant's run of the reconciliation, once it has ended well."""
    (run,) = tenant.wait_for(
        "a reconciliation",
        lambda: tenant.rows("task_run", "task = 'commerce-order-reconciliation' AND finished_at IS NOT NULL"),
    )
    assert run["state"] == "succeeded", run["error_message"]
    return run


def test_reconciliation_finds_what_no_webhook_told_of(cloud: Cloud, tenant: Tenant) -> None:
    known, changed, missing = (make_order(new_id(), recently()) for _ in range(3))
    for order in (known, changed, missing):
        tenant.put(order)
    for order in (known, changed):
        tenant.send("orders/create", order, "commerce-order-created")
    changed |= {"tags": "changed", "updated_at": at(recently(), 5)}
    tenant.put(changed)
    cloud.sandbox.delete(f"/shopify/{tenant.shop}/subscriptions", params={"topic": "ORDERS_CREATE"})
    assert len(subscriptions(tenant)) == len(SUBSCRIBED_TOPICS) - 1
    other = cloud.register("other")

    # A slot before these tenants, which no schedule has fired for them.
    slot = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    fired = cloud.invoke("ingress-fan-out", {"schedule": RECONCILIATION, "time": slot})
    again = cloud.invoke("ingress-fan-out", {"schedule": RECONCILIATION, "time": slot})

    assert fired["written"] >= 2
    assert again["written"] == 0
    assert reconciled(other)["source"] == "schedule"
    run = reconciled(tenant)
    assert run["result"] == {"compared": 3, "missing": 1, "outdated": 1, "subscriptions_restored": 1}
    tenant.wait_for(
        "both orders repaired",
        lambda: len(tenant.rows("task_run", "source = 'reconciliation' AND state = 'succeeded'")) == 2,
    )
    assert tenant.order(missing["id"])["total_cents"] == 6850
    assert tenant.order(changed["id"])["tags"] == ["changed"]
    found = {row["shopify_order_id"]: row["kind"] for row in tenant.rows("order_discrepancies")}
    assert found == {missing["id"]: "missing", changed["id"]: "outdated"}
    assert subscriptions(tenant)["ORDERS_CREATE"] == f"{cloud.state.webhook_url}/webhooks/shopify"
    assert len(tenant.rows("webhook_registrations")) == len(SUBSCRIBED_TOPICS)


def test_what_a_queue_gave_up_on_becomes_a_dead_letter_and_can_be_replayed(
    cloud: Cloud, tenant: Tenant
) -> None:
    order = make_order(new_id(), recently())
    tenant.put(order)
    message = {
        "version": 1,
        "tenant_id": str(tenant.id),
        "task": "commerce-sync-order",
        "cause": "given-up",
        "key": uuid4().hex,
        "source": "webhook",
        "correlation_id": "given-up",
        "accepted_at": recently().isoformat(),
        "entity": str(order["id"]),
        "payload": {"order_id": order["id"]},
    }
    unreadable = f"no message {uuid4().hex}"
    for body in (json.dumps(message), unreadable):
        cloud.client("sqs").send_message(
            QueueUrl=cloud.queue_url("commerce-dead.fifo"),
            MessageBody=body,
            MessageGroupId=str(tenant.id),
            MessageDeduplicationId=uuid4().hex,
        )

    (letter,) = tenant.wait_for("the dead letter", lambda: tenant.rows("dead_letter"))
    assert (letter["task"], letter["error_class"]) == ("commerce-sync-order", "QueueGaveUp")
    (kept,) = cloud.wait_for(
        "the unreadable one",
        lambda: cloud.query(
            "SELECT tenant_id, task, message FROM dead_letter WHERE body = %s", unreadable.encode()
        ),
    )
    assert kept == {"tenant_id": UUID(int=0), "task": "tradewind-local-commerce-dead.fifo", "message": None}

    assert replay(tenant)["replayed"] == 1
    tenant.wait_for("the order", lambda: tenant.rows("orders"))
    assert tenant.order(order["id"])["total_cents"] == 6850
