"""Two tenants with a row each in every table that has a tenant, made from the catalogue alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from infra.local.postgres import DatabaseUrls

OURS, THEIRS = 1, 2
"""Ids: each tenant has rows with its own number wherever an id is free to choose."""
ACME, BOLT = UUID(int=OURS), UUID(int=THEIRS)
CHECKED: Mapping[tuple[str, str], object] = {
    ("tenants", "slug"): None,
    ("tenants", "status"): "active",
    ("pauses", "kind"): "task",
    ("privacy_requests", "kind"): "customers/redact",
    ("webhook_inbox", "state"): "routed",
    ("outbox", "state"): "held",
    ("outbox", "lane"): "live",
    ("task_run", "state"): "succeeded",
    ("orders", "status"): "open",
    ("analytics_metrics", "period"): "day",
    ("finance_configs", "kind"): "costs",
    ("finance_config_changes", "kind"): "costs",
    ("product_costs", "origin"): "internal",
    ("product_costs", "source"): "manual",
    ("operating_expenses", "amount_cents"): 1,
    ("ad_spend", "spent_on"): datetime(2025, 1, 1, tzinfo=UTC).date(),
    ("operating_expenses", "category"): "rent",
    ("operating_expenses", "incurred_on"): datetime(2025, 1, 1, tzinfo=UTC).date(),
    ("expense_categories", "category"): "rent",
    ("expense_categories", "type"): "operating",
    ("attribution_conversions", "status"): "attributed",
    ("attribution_touchpoints", "channel"): "paid",
    ("attribution_exports", "dataset"): "touches",
    ("attribution_exports", "format"): "csv",
    ("attribution_exports", "destination"): "s3",
    ("attribution_exports", "every"): "day",
    ("attribution_export_runs", "state"): "pending",
    ("attribution_webhooks", "events"): ["attribution.calculated"],
    ("attribution_webhook_queue", "event"): "conversion.recorded",
    ("attribution_webhook_queue", "subject"): "1",
    ("attribution_weights", "weight"): 0.5,
    ("attribution_weights", "conversions"): 300,
    ("attribution_credits", "channels"): [3],
    ("attribution_credits", "credits"): [[10**9] for _ in range(7)],
    ("attribution_credits", "cents"): [[100] for _ in range(7)],
    ("attribution_credits", "window_days"): 30,
    ("commissions", "state"): "pending",
    ("commissions", "rate_basis_points"): 1000,
    ("email_suppressions", "reason"): "manual",
    ("review_email_queue", "trigger"): "immediate",
    ("review_email_queue", "state"): "scheduled",
    ("review_email_events", "kind"): "delivered",
    ("review_incentive_codes", "state"): "active",
    ("order_discrepancies", "kind"): "missing",
    ("orders", "net_cents"): 0,
    ("products", "status"): "active",
    ("bulk_operations", "kind"): "products",
    ("inventory_discrepancies", "kind"): "missing",
    ("ab_tests", "status"): "running",
    ("sent_messages", "state"): "sent",
    ("ab_tests", "mode"): "thompson",
    ("ab_guardrails", "metric"): "refund_rate",
    ("ab_guardrails", "action"): "warn",
    ("ab_events", "type"): "page_view",
    ("ab_test_conversions", "source"): "event",
    ("ab_metric_discrepancies", "found_by"): "sync",
    ("ad_account_mappings", "platform"): "google_ads",
    ("ad_event_reconciliations", "destination"): "meta",
    ("ad_event_reconciliations", "event_name"): "purchase",
    ("ad_view_conversions", "platform"): "google_ads",
    ("survey_answers", "provider"): "fairing",
    ("ad_spend", "platform"): "google_ads",
    ("conversion_events_sent", "destination"): "meta",
    ("conversion_events_sent", "event_name"): "purchase",
    ("conversion_events_sent", "state"): "acknowledged",
    ("ml_trainings", "kind"): "attribution",
    ("ml_models", "kind"): "attribution",
    ("ml_models", "used"): True,
    ("ab_findings", "kind"): "guardrail",
    ("ab_findings", "level"): "warning",
    ("ab_findings", "action"): "warn",
}
"""Columns whose check refuses the plain value of their type."""
LINKS = {"shopify_customer_id", "shopify_order_id", "shopify_inventory_item_id", "visitor_id"}
"""Optional columns by which queries find rows."""
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
TODAY = datetime.now(UTC).date()
"""A day for which there is a partition."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    kind: str
    required: bool
    identity: bool


@dataclass(slots=True)
class Table:
    name: str
    columns: list[Column] = field(default_factory=list)
    parents: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Referenced table -> (own column, its column)."""


_COLUMNS = """
SELECT c.table_name, c.column_name, c.udt_name, c.is_nullable = 'NO' AND c.column_default IS NULL AS required,
       EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
               WHERE i.indrelid = c.table_name::regclass AND i.indisprimary AND a.attname = c.column_name) AS identity
FROM information_schema.columns c
JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'
  AND EXISTS (SELECT FROM information_schema.columns x WHERE x.table_schema = 'public'
              AND x.table_name = c.table_name AND x.column_name = 'tenant_id')
  AND NOT (SELECT relispartition FROM pg_class p WHERE p.oid = c.table_name::regclass)
ORDER BY c.table_name, c.ordinal_position
"""
_PARENTS = """
SELECT f.conrelid::regclass::text AS child, f.confrelid::regclass::text AS parent, a.attname AS own,
       b.attname AS other
FROM pg_constraint f
CROSS JOIN LATERAL unnest(f.conkey, f.confkey) AS k (own, other)
JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.own
JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = k.other
WHERE f.contype = 'f' AND f.connamespace = 'public'::regnamespace
"""


@dataclass
class World:
    """A database where tenants acme and bolt have a row each in every table. ``tables`` are read if none are given."""

    urls: DatabaseUrls
    acme: UUID = ACME
    bolt: UUID = BOLT
    tables: dict[str, Table] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.tables:
            self._read_tables()
        self.order = sorted(self.tables, key=lambda name: (self.depth(name), name))

    def _read_tables(self) -> None:
        for row in self.read(_COLUMNS):
            table = self.tables.setdefault(row["table_name"], Table(row["table_name"]))
            table.columns.append(
                Column(row["column_name"], row["udt_name"], row["required"], row["identity"])
            )
        for row in self.read(_PARENTS):
            if row["parent"] in self.tables and row["child"] in self.tables:
                pairs = self.tables[row["child"]].parents.setdefault(row["parent"], [])
                pairs.append((row["own"], row["other"]))

    def depth(self, name: str) -> int:
        parents = [parent for parent in self.tables[name].parents if parent != name]
        return 1 + max((self.depth(parent) for parent in parents), default=0)

    def read(self, query: str, *params: Any) -> list[dict[str, Any]]:
        """As the reader, who sees every tenant."""
        with psycopg.connect(self.urls.reader, row_factory=dict_row) as connection:
            return connection.execute(query.encode(), params).fetchall()

    @contextmanager
    def bound(self, tenant_id: UUID | None, *, keep: bool = False) -> Iterator[psycopg.Connection[Any]]:
        """A transaction as the application role, undone afterwards unless it is to be kept."""
        with psycopg.connect(self.urls.app, row_factory=dict_row) as connection:
            if tenant_id is not None:
                connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenant_id),))
            yield connection
            if not keep:
                connection.rollback()

    def row(self, name: str, tenant_id: UUID, number: int) -> dict[str, Any]:
        """The values of a row: what must be given, and every id, so that children find their parents."""
        values: dict[str, Any] = {}
        own_ids = {own for pairs in self.tables[name].parents.values() for own, _ in pairs}
        for column in self.tables[name].columns:
            linking = column.name in own_ids or column.name in LINKS
            if column.required or column.identity or (linking and column.name != "tenant_id"):
                values[column.name] = self.value(name, column, number)
        return {**values, "tenant_id": tenant_id}

    def value(self, name: str, column: Column, number: int) -> Any:
        chosen = CHECKED.get((name, column.name))
        if chosen is not None:
            return chosen
        plain: dict[str, Any] = {
            "int2": number,
            "int4": number,
            "int8": 100 if column.name == "gross_revenue_cents" else 0 if "cents" in column.name else number,
            "numeric": 1,
            "bool": False,
            "text": "USD" if column.name == "currency" else f"text-{number}",
            "uuid": UUID(int=1000 + number),
            "timestamptz": AT,
            "date": TODAY,
            "float8": 0.5,
            "jsonb": Jsonb({}),
            "bytea": b"secret",
            "_text": [],
            "_uuid": [UUID(int=1000 + number)],
        }
        return plain[column.kind]

    def insert(self, connection: psycopg.Connection[Any], name: str, values: Mapping[str, Any]) -> int:
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(name),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(sql.Placeholder() * len(values)),
        )
        return connection.execute(statement, list(values.values())).rowcount

    def fill(self, tenant_id: UUID, number: int) -> None:
        """One row in every table, parents first; the directory's by the platform, all else by the tenant. What a row
        has made due is taken out.
        """
        with psycopg.connect(self.urls.platform) as connection:
            self.insert(
                connection, "tenants", self.row("tenants", tenant_id, number) | {"slug": f"t-{number}"}
            )
        with self.bound(tenant_id, keep=True) as app:
            for name in self.order:
                if name != "tenants":
                    self.insert(app, name, self.row(name, tenant_id, number))
            own = self.row("schedule_due", tenant_id, number)["schedule"]
            app.execute("DELETE FROM schedule_due WHERE schedule <> %s", (own,))

    def fingerprint(self, tenant_id: UUID) -> dict[str, str]:
        """Every table's rows of a tenant, as one hash each."""
        prints = {}
        with psycopg.connect(self.urls.reader) as reader:
            for name in self.tables:
                rows = reader.execute(
                    f"SELECT to_jsonb(x)::text FROM {name} x WHERE tenant_id = %s ORDER BY 1".encode(),
                    (tenant_id,),
                ).fetchall()
                prints[name] = hashlib.sha256(repr(rows).encode()).hexdigest()
        return prints
