"""The tenant's books in Postgres."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from analytics.profit_and_loss.configs import (
    CogsConfig,
    ConfigKind,
    CostConfig,
    FormulaConfig,
    FulfilmentModel,
    WeightTier,
)
from analytics.profit_and_loss.model import (
    Booked,
    Category,
    CategoryType,
    Counted,
    DayProfit,
    Expense,
    Snapshot,
    Span,
    Spend,
    UnitCost,
    Versions,
    categories_of,
)
from analytics.profit_and_loss.statement import Rules
from tradewind.catalogue import ItemCost
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)
GRAMS_IN_OUNCE = Decimal("28.349523125")
"""Exact: an avoirdupois pound is 453.59237 g (international yard and pound agreement, 1959)."""
_COUNTS = (
    "orders",
    "units",
    "gross_cents",
    "discount_cents",
    "returns_cents",
    "shipping_cents",
    "tax_cents",
    "charged_cents",
    "paid_orders",
    "processing_cents",
    "weight_fee_cents",
    "orders_without_weight",
    "cost_cents",
    "returned_cost_cents",
    "units_without_cost",
    "sample_orders",
    "skipped_orders",
    "foreign_orders",
    "commission_cents",
    "commissions",
)


@dataclass(frozen=True, slots=True)
class SavedConfig:
    version: int
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Configs:
    rules: Rules
    versions: Versions


class Books:
    """Statements, and what they are made of."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def configs(self) -> Configs:
        """The tenant's configurations as they stand."""
        saved = self.documents()
        documents = {kind: each.document for kind, each in saved.items()}
        return Configs(
            Rules(
                CostConfig.model_validate(documents.get(ConfigKind.COSTS, {})),
                CogsConfig.model_validate(documents.get(ConfigKind.COGS, {})),
                FormulaConfig.model_validate(documents.get(ConfigKind.FORMULA, {})),
            ),
            Versions(**{str(kind): each.version for kind, each in saved.items()}),
        )

    def categories(self) -> dict[str, Category]:
        rows = self._tx.fetch_all(QUERIES["list_categories"], {})
        return categories_of(
            Category(row["category"], row["label"], CategoryType(row["type"]), row["hidden"]) for row in rows
        )

    def count(self, spans: Sequence[Span], currency: str, by: Rules) -> list[Counted]:
        """What each span holds, in their order; one statement for all of them."""
        categories = self.categories()
        rows = self._tx.fetch_all(QUERIES["count_spans"], _parameters(spans, currency, by))
        return [
            Counted(
                span=spans[row["number"]],
                currency=currency,
                **{name: row[name] or 0 for name in _COUNTS},
                spend=tuple(
                    Spend(each["platform"], each["cents"], each["foreign_days"]) for each in row["spend"]
                ),
                booked=tuple(
                    Booked(
                        each["category"],
                        categories[each["category"]].label,
                        categories[each["category"]].type,
                        each["cents"],
                        each["entries"],
                    )
                    for each in row["booked"]
                ),
            )
            for row in rows
        ]

    def save_snapshot(self, snapshot: Snapshot) -> None:
        row = asdict(snapshot) | {
            "start_on": snapshot.start_on.isoformat(),
            "end_on": snapshot.end_on.isoformat(),
            **{f"{kind}_version": version for kind, version in asdict(snapshot.versions).items()},
        }
        self._tx.execute(QUERIES["save_snapshot"], {"snapshots": Jsonb([row])})

    def save_daily_profit(self, days: Iterable[DayProfit]) -> None:
        rows = [asdict(day) | {"opened_at": day.opened_at.isoformat()} for day in days]
        self._tx.execute(QUERIES["save_daily_profit"], {"days": Jsonb(rows)})

    def lock_configs(self) -> None:
        self._tx.execute(QUERIES["lock_configs"], {})

    def saves_after(self, saved_after: datetime) -> int:
        [row] = self._tx.fetch_all(QUERIES["count_saves_after"], {"saved_after": saved_after})
        return int(row["saves"])

    def documents(self) -> dict[ConfigKind, SavedConfig]:
        """The newest version of each configuration that was saved."""
        rows = self._tx.fetch_all(QUERIES["find_configs"], {})
        return {ConfigKind(row["kind"]): SavedConfig(row["version"], row["document"]) for row in rows}

    def add_config(
        self,
        kind: ConfigKind,
        version: int,
        document: Mapping[str, Any],
        changes: Mapping[str, tuple[Any, Any]],
        changed_by: str,
    ) -> None:
        about = {"kind": kind, "version": version}
        self._tx.execute(
            QUERIES["add_config"],
            {
                "config_kind": kind,
                "version": version,
                "document": Jsonb(document),
                "changed_by": changed_by,
            },
        )
        rows = [
            {**about, "field": field, "before": before, "after": after}
            for field, (before, after) in changes.items()
        ]
        self._tx.execute(QUERIES["add_changes"], {"changes": Jsonb(rows)})

    def save_costs(
        self, costs: Iterable[UnitCost], origin: str, source: str, currency: str, valid_from: datetime
    ) -> int:
        """How many of them say something new."""
        rows = [
            {
                "origin": origin,
                "shopify_product_id": each.product_id,
                "shopify_variant_id": each.variant_id or 0,
                "valid_from": valid_from.isoformat(),
                "unit_cost_cents": each.cents,
                "currency": currency,
                "source": source,
            }
            for each in costs
        ]
        return len(self._tx.fetch_all(QUERIES["save_costs"], {"costs": Jsonb(rows)}))

    def save_item_costs(self, costs: Iterable[ItemCost], valid_from: datetime) -> int:
        """How many variants cost something new."""
        rows = Jsonb([asdict(each) for each in costs])
        about = {"item_costs": rows, "valid_from": valid_from}
        return len(self._tx.fetch_all(QUERIES["save_item_costs"], about))

    def mark_costs_read(self, complete_until: datetime) -> None:
        self._tx.execute(QUERIES["mark_costs_read"], {"complete_until": complete_until})

    def costs_read_until(self) -> datetime | None:
        [row] = self._tx.fetch_all(QUERIES["find_costs_read"], {})
        until: datetime | None = row["complete_until"]
        return until

    def unknown_products(self, product_ids: Iterable[int]) -> list[int]:
        """Those of the products that the catalogue does not have."""
        asked = sorted(set(product_ids))
        rows = self._tx.fetch_all(QUERIES["list_known_products"], {"product_ids": asked})
        known = {row["shopify_product_id"] for row in rows}
        return [each for each in asked if each not in known]

    def save_expenses(self, expenses: Iterable[Expense], currency: str) -> int:
        rows = [
            asdict(each) | {"incurred_on": each.incurred_on.isoformat(), "currency": currency}
            for each in expenses
        ]
        return len(self._tx.fetch_all(QUERIES["save_expenses"], {"expenses": Jsonb(rows)}))

    def save_categories(self, categories: Iterable[Category]) -> None:
        rows = [
            {"category": each.key, "label": each.label, "type": each.type, "hidden": each.hidden}
            for each in categories
        ]
        self._tx.execute(QUERIES["save_categories"], {"categories": Jsonb(rows)})


def _parameters(spans: Sequence[Span], currency: str, rules: Rules) -> dict[str, Any]:
    shares = rules.costs.payment_processing.shares
    weighted = rules.costs.fulfilment.model is FulfilmentModel.WEIGHT_BASED
    return {
        "spans": Jsonb(
            [
                {
                    "number": number,
                    "opened_at": span.opened_at.isoformat(),
                    "closes_at": span.closes_at.isoformat(),
                    "starts_on": span.start.isoformat(),
                    "ends_on": span.end.isoformat(),
                }
                for number, span in enumerate(spans)
            ]
        ),
        "currency": currency,
        "origin": rules.cogs.source,
        "missing": rules.cogs.missing,
        "default_cents": rules.cogs.shopify.default_cents,
        "price_rate": rules.cogs.internal.price_rate,
        "with_samples": rules.formula.include_free_samples,
        "fee_rate": sum((each.share_percent * each.rate for each in shares), Decimal(0)) / 100,
        "fee_cents": sum((each.share_percent * each.fixed_fee_cents for each in shares), Decimal(0)) / 100,
        "weight_tiers": Jsonb(_tiers(rules.costs.fulfilment.weight_tiers) if weighted else []),
    }


def _tiers(tiers: Iterable[WeightTier]) -> list[dict[str, Any]]:
    return [{"above_grams": str(tier.min_oz * GRAMS_IN_OUNCE), "fee_cents": tier.fee_cents} for tier in tiers]
