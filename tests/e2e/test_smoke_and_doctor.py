"""``make smoke`` and ``make doctor``, as a person runs them."""

from __future__ import annotations

import hashlib
import re
import subprocess

from tests.e2e.cloud import Cloud, Tenant
from tests.e2e.orders import make_order, new_id, recently

LINE = re.compile(
    r"ok  (\S+) +(webhook|event|api|schedule|invocation|state machine) +(\S{36}) +\d+\.\d{3} s  (.+)"
)


def lines_of(done: subprocess.CompletedProcess[str]) -> list[tuple[str, str, str, str]]:
    return [(m[1], m[2], m[3], m[4]) for m in LINE.finditer(done.stdout)]


def test_smoke_sees_seven_tasks_of_a_throw_away_tenant_through(cloud: Cloud) -> None:
    done = cloud.command("infra.smoke", STAGE="local", TENANT="")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = lines_of(done)
    assert [(task, door) for task, door, _, _ in lines] == [
        ("commerce-order-created", "webhook"),
        ("commerce-sync-order", "webhook"),
        ("commerce-handle-refund-created", "webhook"),
        ("analytics-attribution-touchpoint-ingest", "event"),
        ("commerce-order-attribution", "api"),
        ("commerce-order-review-email", "state machine"),
        ("commerce-order-reconciliation", "schedule"),
    ]
    assert lines[0][3] == "order of 6850 cents, 6850 credited, review pending"
    assert lines[4][3] == "5538 cents over 2 touches"
    runs = cloud.query(
        "SELECT task, state FROM task_run WHERE run_id = ANY (%s::uuid[])",
        [run_id for _, _, run_id, _ in lines],
    )
    assert sorted(row["task"] for row in runs) == sorted(task for task, _, _, _ in lines)
    assert {row["state"] for row in runs} == {"succeeded"}
    assert done.stdout.endswith("7 tasks seen through\n")


def test_smoke_of_a_standing_tenant_is_harmless_and_repeatable(cloud: Cloud, tenant: Tenant) -> None:
    order = make_order(new_id(), recently())
    tenant.put(order)
    tenant.send("orders/create", order, "commerce-order-created")
    settle(cloud, tenant)
    before = fingerprint(cloud, tenant, "orders", "attribution_results", "commissions", "review_email_queue")
    for _ in range(2):
        done = cloud.command("infra.smoke", STAGE="local", TENANT=tenant.slug)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(lines_of(done)) == 5
    after = fingerprint(cloud, tenant, "orders", "attribution_results", "commissions", "review_email_queue")
    assert after == before
    keys = tenant.rows("api_keys")
    assert [key["revoked_at"] is not None for key in keys] == [True, True]


def test_smoke_that_fails_says_why(cloud: Cloud, tenant: Tenant) -> None:
    unknown = cloud.command("infra.smoke", STAGE="local", TENANT="nobody-at-all")
    assert (unknown.returncode, unknown.stdout) == (
        1, "failed after 0 tasks: stage local has no tenant 'nobody-at-all'\n",
    )  # fmt: skip
    tenant.write("DELETE FROM credentials WHERE name = 'access_token'")
    broken = cloud.command("infra.smoke", STAGE="local", TENANT=tenant.slug)
    assert broken.returncode == 1
    assert broken.stdout.startswith("failed after 0 tasks: "), broken.stdout
    assert broken.stdout.endswith("NotFoundError: no credential with id shopify/access_token\n"), (
        broken.stdout
    )


def test_doctor_finds_a_running_stage_well_and_changes_nothing(cloud: Cloud, tenant: Tenant) -> None:
    order = make_order(new_id(), recently())
    tenant.put(order)
    tenant.send("orders/create", order, "commerce-order-created")
    settle(cloud, tenant)
    cloud.pause([tenant.id])  # a schedule may fire at any time
    rest(tenant)
    before, deployed = fingerprint(cloud, tenant), functions(cloud)
    done = cloud.command("infra.doctor", STAGE="local")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {line[9:].split("  ")[0]: line[:8].strip() for line in done.stdout.splitlines()[:-2]}
    wanted = {
        "python",
        "packages",
        "settings",
        "credentials",
        "concurrency",
        "postgres",
        "valkey",
        "key",
        "secrets",
    }
    wanted |= {"migrations", "functions", "queues", "statemachines", "schedules", "cdk diff"}
    assert wanted <= set(found), done.stdout
    assert set(found.values()) == {"ok"}, done.stdout
    assert (fingerprint(cloud, tenant), functions(cloud)) == (before, deployed)


def test_doctor_names_what_is_broken_and_what_to_do(cloud: Cloud, tenant: Tenant) -> None:
    tenant.write("UPDATE credentials SET nonce = '\\x000000000000000000000000' WHERE name = 'access_token'")
    done = cloud.command("infra.doctor", STAGE="local")
    assert done.returncode == 1
    assert re.search(
        rf"failed +tenant {tenant.slug} +cannot be decrypted: shopify/default/access_token", done.stdout
    )
    assert "make credentials TENANT=... PROVIDER=..." in done.stdout
    assert not any(secret in done.stdout for secret in tenant.secrets.values())
    tenant.write("DELETE FROM credentials")


def test_an_api_key_is_made_listed_and_ended_from_the_command_line(cloud: Cloud, tenant: Tenant) -> None:
    made = cloud.operate(
        "api-key", "--tenant", tenant.slug, "--name", "shop", "--scopes", "events:publish, runs:read"
    )
    assert made.returncode == 0, made.stderr
    [key] = tenant.rows("api_keys")
    assert (key["name"], key["scopes"]) == ("shop", ["events:publish", "runs:read"])
    assert f"twk_{key['key_id'].hex}_" in made.stdout
    listed = cloud.operate("api-key", "--tenant", tenant.slug)
    assert str(key["key_id"]) in listed.stdout
    assert "twk_" not in listed.stdout
    assert cloud.operate("api-key", "--tenant", tenant.slug, "--revoke", str(key["key_id"])).returncode == 0
    assert tenant.rows("api_keys")[0]["revoked_at"] is not None
    refused = cloud.operate("api-key", "--tenant", tenant.slug, "--name", "x", "--scopes", "everything")
    assert (refused.returncode, refused.stdout) == (1, "")


def settle(cloud: Cloud, tenant: Tenant) -> None:
    """Until what the order's own event starts has ended: the relay finds it by itself once a minute."""
    cloud.invoke("ingress-relay", {})
    wanted = "task = 'analytics-process-attribution' AND state = 'succeeded'"
    tenant.wait_for("a processed conversion", lambda: tenant.rows("task_run", wanted))
    rest(tenant)


def rest(tenant: Tenant) -> None:
    tenant.wait_for("an outbox at rest", lambda: not tenant.rows("outbox", "state NOT IN ('done', 'held')"))
    tenant.wait_for("the end of every run", lambda: not tenant.rows("task_run", "state = 'running'"))


def fingerprint(cloud: Cloud, tenant: Tenant, *tables: str) -> dict[str, str]:
    """A tenant's rows of some or all tables but for when they were last written, as a hash each."""
    named = tables or tuple(
        row["name"]
        for row in cloud.query(
            "SELECT table_name AS name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND column_name = 'tenant_id' ORDER BY 1"
        )
    )
    found = {}
    for table in named:
        statement = (
            f"SELECT (to_jsonb(x) - %s::text[])::text AS row FROM {table} x WHERE tenant_id = %s ORDER BY 1"
        )
        rows = cloud.query(statement, ["synced_at", "updated_at"], tenant.id)
        found[table] = hashlib.sha256(repr(rows).encode()).hexdigest()
    return found


def functions(cloud: Cloud) -> list[tuple[str, str]]:
    pages = cloud.client("lambda").get_paginator("list_functions").paginate()
    return sorted(
        (each["FunctionName"], each["LastModified"]) for page in pages for each in page["Functions"]
    )
