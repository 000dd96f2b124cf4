"""Every query of every feature, as one tenant with another's ids: it finds nothing of the other's."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.conftest import ROOT
from tests.integration.world import AT, THEIRS, TODAY, World
from tradewind.sql import load_queries

pytestmark = pytest.mark.usefixtures("bolt_is_untouched")


QUERIES = [
    pytest.param(name, query, id=f"{path.parent.name}-{name}")
    for path in sorted((ROOT / "functions").glob("*/*/queries.sql"))
    for name, query in load_queries(str(path)).items()
]
_RECORDS = re.compile(r"recordset\(NULL::(\w+), %\((\w+)\)s\)")
_PLACEHOLDER = re.compile(r"%\((\w+)\)s")


def records(world: World) -> dict[str, str]:
    """Parameters that hold rows -> the table they are rows of, as the queries themselves say."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "functions").glob("*/*/queries.sql")):
        text = Path(path).read_text()
        found |= {m[2]: m[1] for m in _RECORDS.finditer(text)}
    assert set(found.values()) <= set(world.tables)
    return found


STATES = {"review_email_queue": "scheduled", "privacy_requests": "done", "ml_trainings": "failed"}


def parameters(world: World, query: str) -> dict[str, Any]:
    """A value for each parameter: bolt's ids where it is an id, anything that fits where it is not."""
    known: dict[str, Any] = {
        "order_ids": [THEIRS],
        "told_ids": [THEIRS],
        "types": ["click"],
        "conversions": Jsonb([stolen(world, "attribution_conversions")]),
        "credits": Jsonb([stolen(world, "attribution_credits")]),
        "since": AT - timedelta(days=900),
        "until": AT + timedelta(days=900),
        "refund_id": THEIRS,
        "page": 10,
        "abreast": 2,
        "summary_on": TODAY,
        "snapshot_on": TODAY,
        "now": AT,
        "digest": hashlib.sha256(f"text-{THEIRS}".encode()).hexdigest(),
        "channels": ["paid"],
        "window_days": 30,
        "touchpoint_ids": [UUID(int=1000 + THEIRS)],
        "owners": [f"text-{THEIRS}"],
        "look_back": timedelta(days=900),
        "product_ids": [THEIRS],
        "variant_ids": [],
        "bulk_kind": "products",
        "operation_id": THEIRS,
        "factor": 100,
        "item_ids": [THEIRS],
        "collection_ids": [THEIRS],
        "member_ids": [THEIRS],
        "offset": 0,
        "threshold": 10,
        "asked": True,
        "mark": f"text-{THEIRS}",
        "complete_until": AT,
        "customer_ids": [THEIRS],
        "tags": ["vip"],
        "segments": ["loyal"],
        "seen_ids": [THEIRS],
        "part": THEIRS,
        "codes": [f"text-{THEIRS}"],
        "model": "linear",
        "currency": "USD",
        "state": next((state for table, state in STATES.items() if table in query), "pending"),
        "trigger": "immediate",
        "type": "click",
        "news": "delivered",
        "template": "request",
        "force": True,
        "sequence": THEIRS,
        "batch_ids": [UUID(int=1000 + THEIRS)],
        "wait": timedelta(days=3),
        "cents": 0,
        "only_newer": False,
        "inbox_id": UUID(int=1000 + THEIRS),
        "request_id": UUID(int=1000 + THEIRS),
        "run_id": UUID(int=1000 + THEIRS),
        "subject": Jsonb(
            {
                "customer": [str(THEIRS)],
                "order": [str(THEIRS)],
                "email": [f"text-{THEIRS}"],
                "phone": [f"text-{THEIRS}"],
                "visitor": [f"text-{THEIRS}"],
            }
        ),
        "kind": "customers/redact",
        "number": THEIRS,
        "customer": THEIRS,
        "counts": Jsonb({}),
        "table": "task_run",
        "after": None,
        "window": 0,
        "pattern": f"text-{THEIRS}",
        "key": Jsonb({"run_id": str(UUID(int=1000 + THEIRS))}),
        "content": Jsonb({"result": {}}),
        "most": 0,
        "measured": "revenue",
        "test_id": f"text-{THEIRS}",
        "variant_id": f"text-{THEIRS}",
        "winner_variant_id": f"text-{THEIRS}",
        "only_test": f"text-{THEIRS}",
        "snapshot_id": f"text-{THEIRS}",
        "found_by": "sync",
        "kept_variants": [f"text-{THEIRS}"],
        "metric_names": ["refund_rate"],
        "only_order": THEIRS,
        "test_ids": [f"text-{THEIRS}"],
        "due_at": AT + timedelta(days=900),
        "priorities": [THEIRS],
        "amount": 1,
        "corrected": False,
        "changed_since": AT - timedelta(days=900),
        "kept_before": AT + timedelta(days=900),
        "first_day": TODAY - timedelta(days=900),
        "last_day": TODAY,
        "hour_counts": Jsonb(
            [
                {
                    "day": TODAY.isoformat(),
                    "test_id": f"text-{THEIRS}",
                    "variant_id": f"text-{THEIRS}",
                    "metric": "views",
                    "amount": 1,
                }
            ]
        ),
        "item_costs": Jsonb([{"inventory_item_id": THEIRS, "cents": 1, "currency": "USD"}]),
        "valid_from": AT,
        "spans": Jsonb([]),
        "origin": "internal",
        "missing": "zero",
        "price_rate": 0,
        "with_samples": True,
        "fee_rate": 0,
        "weight_tiers": Jsonb([]),
        "saved_after": AT + timedelta(days=900),
        "version": 1000 + THEIRS,
        "document": Jsonb({}),
        "changed_by": "somebody",
        "config_kind": "costs",
        "monday": TODAY - timedelta(days=900),
        "touchpoint_id": UUID(int=1000 + THEIRS),
        "creator_id": UUID(int=1000 + THEIRS),
        "destination": "meta",
        "platform": "meta",
        "destinations": ["meta"],
        "event_name": "purchase",
        "event_state": "acknowledged",
        "event_answer": Jsonb({}),
        "repeatable": True,
        "horizons": [30],
        "reconciled_on": TODAY,
        "schedule": "hourly",
        "excluded_orders": Jsonb({}),
        "training_id": UUID(int=1000 + THEIRS),
        "fence": THEIRS,
        "held_until": AT + timedelta(days=900),
        "algorithm": "shapley",
        "code_version": 1,
        "samples": 1,
        "use_is_due": False,
        "converted": 1,
        "channel_weights": Jsonb({"social": 1}),
        "metrics": Jsonb({}),
        "fitted": Jsonb({}),
        "last_version": 10**6,
        "computed_ids": [THEIRS],
        "computed_at_us": [0],
        "gone_ids": [THEIRS],
        "gone_windows": [30],
        "counted_ids": [THEIRS],
        "touch_counts": [7],
        "export_name": f"text-{THEIRS}",
        "webhook_name": f"text-{THEIRS}",
        "webhook_url": "https://example.com",
        "event_types": [],
        "telling_state": "delivered",
        "disabled_reason": "told",
        "dataset": "touches",
        "format": "csv",
        "every": "day",
        "at_hour": 4,
        "look_back_days": 1,
        "place_kind": "s3",
        "address_told": Jsonb({}),
        "columns": [],
        "models": [],
        "windows": [],
        "row_count": 1,
        "byte_count": 1,
        "zone": "UTC",
    }
    texts = {"email", "code", "tier", "channel", "source", "medium", "campaign", "click_id", "landing_page"}
    texts |= {
        "account_id",
        "subject_key",
        "event_key",
        "payload_hash",
        "file_name",
        "object_key",
        "file_sha256",
    }
    texts |= {"address", "app", "claim", "cause", "task", "shop"}
    texts |= {"referrer_url", "visitor_id", "session_id", "dedupe_hash", "what", "skip_reason", "reason"}
    values: dict[str, Any] = {}
    # Features may call rows of different tables by one name: the query's own word counts.
    tables = records(world) | {m[2]: m[1] for m in _RECORDS.finditer(query)}
    for name in _PLACEHOLDER.findall(query):
        if name in tables:
            values[name] = Jsonb([stolen(world, tables[name])])
        elif name in known:
            values[name] = known[name]
        elif name in texts:
            values[name] = f"text-{THEIRS}"
        elif name.endswith(("_orders", "_counted", "_purchases")):
            values[name] = 1
        elif name.endswith(("_at", "_since")):
            values[name] = AT
        elif "_is_" in name:
            values[name] = True
        else:
            assert name.endswith(("_id", "_cents", "touchpoints", "sales_so_far")), f"no value for {name}"
            values[name] = THEIRS
    return values


def stolen(world: World, table: str) -> dict[str, Any]:
    """Bolt's own row of a table, as JSON."""
    [row] = world.read(f"SELECT to_jsonb(x) AS row FROM {table} x WHERE tenant_id = %s", world.bolt)
    found: dict[str, Any] = row["row"]
    return found


STAGE = load_queries(str(ROOT / "functions/commerce/bulk_load/repository.py"))
"""What a full load stages before its statements: they read a temporary table of their own transaction."""

CHUNK = load_queries(str(ROOT / "functions/analytics/attribution/repository.py"))
"""The same of a recalculation."""


def answer(world: World, tenant_id: UUID, query: str) -> list[dict[str, Any]] | str:
    """What a query gives a tenant; a refusal by its name. Nothing is kept."""
    with world.bound(tenant_id) as app:
        if "bulk_lines" in query and "CREATE" not in query:
            staged = "stage_customers" if "INTO customer" in query else "stage_products"
            app.execute(STAGE[staged].encode())
        if "attribution_chunk" in query and "CREATE" not in query:
            app.execute(CHUNK["begin_chunk"].encode())
        if "attribution_staged" in query and "CREATE" not in query:
            app.execute(CHUNK["stage_credits"].encode())
        if query.startswith("-- One line a row") or "\nCOPY " in query:
            return "copies into its own temporary table"
        try:
            cursor = app.execute(query.encode(), parameters(world, query))
        except (errors.ForeignKeyViolation, errors.InsufficientPrivilege) as error:
            return type(error).__name__
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def nobody(world: World) -> UUID:
    """A tenant with nothing: what it is told of bolt's ids is what acme may be told."""
    tenant_id = uuid4()
    with psycopg.connect(world.urls.platform) as connection:
        connection.execute(
            "INSERT INTO tenants (tenant_id, slug, name) VALUES (%s, 'nobody-else', 'N')", (tenant_id,)
        )
    return tenant_id


@pytest.mark.parametrize(("name", "query"), QUERIES)
def test_query_with_anothers_ids_finds_what_one_without_rows_finds(
    world: World, nobody: UUID, name: str, query: str
) -> None:
    ours = answer(world, world.acme, query)
    if _PLACEHOLDER.search(query):
        assert ours == answer(world, nobody, query)
    assert str(world.bolt) not in json.dumps(ours, default=str)


def test_the_same_queries_find_the_owners_rows(world: World) -> None:
    """Else the test before this one would prove nothing."""
    found = {str(each.id): answer(world, world.bolt, str(each.values[1])) for each in QUERIES}
    empty = {
        name for name, rows in found.items() if rows in ([], "ForeignKeyViolation", "InsufficientPrivilege")
    }
    reading = {name for name in found if re.search(r"-(find|lock_orders|list|has)_?", name)}
    assert reading
    assert {name for name in reading & empty if "later" not in name} == set()
