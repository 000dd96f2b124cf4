"""A review e-mail through the deployed cloud: queue, provider, its signed webhooks, and the recipient who leaves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from tests.e2e.cloud import Cloud, Row, Tenant
from tests.e2e.orders import make_order, new_id, recently

SECRET = "whsec_ZTJlLXNlY3JldC1vZi1hbi1hY2NvdW50"
QUEUE = "commerce-process-review-email-queue"


def run(cloud: Cloud, tenant: Tenant, task: str, payload: Row) -> Row:
    """Run a task by hand; its result."""
    event = {"tenant": str(tenant.id), "payload": payload}
    result: Row = cloud.invoke(task, event)
    return result


def emails(tenant: Tenant, where: str = "true") -> list[Row]:
    return tenant.rows("review_email_queue", where, order="sequence")


def test_due_e_mail_is_sent_its_news_come_back_and_its_recipient_may_leave(
    cloud: Cloud, tenant: Tenant
) -> None:
    account = f"own-{tenant.slug}"
    url = f"{cloud.state.webhook_url}/webhooks/resend/{tenant.slug}"
    about = {"api_key": f"re_{tenant.slug}", "webhook_url": url, "webhook_secret": SECRET}
    assert cloud.sandbox.put(f"/resend/accounts/{account}", json=about).status_code == 200
    secrets = {"api_key": f"re_{tenant.slug}", "from": "reviews@example.com", "webhook_secret": SECRET}
    stored = {"action": "store-credentials", "tenant": tenant.slug, "provider": "resend"}
    cloud.invoke("ingress-admin", {**stored, "credentials": secrets})

    address = f"opened-{new_id()}@example.com"
    order = make_order(new_id(), recently(), email=address)
    tenant.put(order)
    tenant.send("orders/create", order, "commerce-order-created")
    due = datetime.now(UTC) - timedelta(minutes=1)
    tenant.write("UPDATE review_email_queue SET state = 'scheduled', scheduled_at = %s", due)

    run(cloud, tenant, QUEUE, {})  # where the schedule comes first, it finds nothing left
    tenant.wait_for("the e-mail", lambda: emails(tenant, "state = 'sent'"))
    (sent,) = [
        each
        for each in cloud.sandbox.get("/resend/emails", params={"limit": 10000}).json()["emails"]
        if each["account"] == account
    ]
    request, follow_up = emails(tenant)
    assert (sent["to"], request["message_id"], request["state"]) == (address, sent["id"], "sent")
    assert (follow_up["sequence"], follow_up["state"]) == (2, "scheduled")

    tenant.wait_for(
        "what the provider tells", lambda: emails(tenant, "opens = 1 AND delivered_at IS NOT NULL")
    )
    tenant.wait_for("the end of its runs", lambda: not tenant.rows("outbox", "state <> 'done'"))
    kinds = [row["kind"] for row in tenant.rows("review_email_events", order="kind")]
    assert kinds == ["delivered", "opened", "sent"]

    body = cloud.sandbox.get(f"/resend/emails/{sent['id']}").json()
    link = urlsplit(body["headers"]["List-Unsubscribe"].strip("<>"))
    assert body["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    address_of_link = f"{cloud.state.webhook_url}/unsubscribe/{link.path.rsplit('/', 1)[1]}"
    assert cloud.http.get(address_of_link).status_code == 200
    assert tenant.rows("email_suppressions") == []
    one_click = cloud.http.post(address_of_link, data={"List-Unsubscribe": "One-Click"})
    assert (one_click.status_code, "You are unsubscribed" in one_click.text) == (200, True)
    (suppressed,) = tenant.rows("email_suppressions")
    assert (suppressed["email"], suppressed["reason"]) == (address, "unsubscribe")
    tenant.write("UPDATE review_email_queue SET scheduled_at = %s WHERE sequence = 2", due)
    run(cloud, tenant, QUEUE, {})
    tenant.wait_for("its end", lambda: emails(tenant, "sequence = 2 AND skip_reason = 'unsubscribed'"))
    assert cloud.http.post(f"{address_of_link[:-4]}AAAA").status_code == 404

    report = run(cloud, tenant, "commerce-review-email-stats", {})
    assert report["present"]["counts"] == {
        "sent": 1,
        "delivered": 1,
        "opened": 1,
        "clicked": 0,
        "bounced": 0,
        "complained": 0,
        "converted": 0,
    }
