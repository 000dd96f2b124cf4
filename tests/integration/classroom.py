"""A tenant whose visitors leave journeys to learn from, by the thousand, and a container's work on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg

from analytics.attribution.recalculation_tasks import attribution_recalculate_recent
from analytics.ml_training.learning.journeys import Journeys, read_journeys
from analytics.ml_training.model import WINDOW
from analytics.ml_training.repository import Trainings
from analytics.ml_training.working import NAMES, Trainer
from tests.fakes import FakePayloads
from tests.integration.harness import House
from tradewind.clock import SystemClock
from tradewind.contracts.attribution import AttributionSettings
from tradewind.tasks.container import Container
from tradewind.tasks.message import Source
from tradewind.tasks.worker import Done
from tradewind.tenancy.database import Session, TenantDb
from tradewind.tenancy.tenant import Tenant

UNTIL = datetime(2026, 11, 20, 4, tzinfo=UTC)
CHANNELS = ("direct", "organic", "paid", "social", "email", "affiliate", "creator", "referral")
JOURNEYS = """
CREATE TEMPORARY TABLE journey ON COMMIT DROP AS
SELECT n, 'v-' || n AS visitor, %(first)s::timestamptz + (%(last)s::timestamptz - %(first)s::timestamptz)
                                * ((n * 7919::bigint %% %(journeys)s)::float8 / %(journeys)s) AS ended,
       1 + n * 31 %% 5 AS length, abs(hashint8(n)) %% 1000 AS luck
FROM generate_series(1, %(journeys)s) n;
CREATE TEMPORARY TABLE step ON COMMIT DROP AS
SELECT j.n, t, (%(channels)s::text[])[1 + abs(hashint8(j.n * 64 + t)) %% cardinality(%(channels)s::text[])] AS channel,
       j.ended - make_interval(mins => (j.length - t) * (60 + 13 * (j.n %% 97)::integer)) AS at
FROM journey j CROSS JOIN LATERAL generate_series(1, j.length) t;
ALTER TABLE journey ADD COLUMN converts boolean;
UPDATE journey j SET converts = luck < CASE %(converting)s WHEN 'none' THEN 0 WHEN 'all' THEN 1000 ELSE
    80 + 250 * EXISTS (SELECT FROM step s WHERE s.n = j.n AND s.channel = 'paid')::integer
       + 120 * EXISTS (SELECT FROM step s WHERE s.n = j.n AND s.channel = 'email')::integer END;
INSERT INTO attribution_touchpoints (touchpoint_id, dedupe_hash, visitor_id, channel, type, occurred_at)
SELECT gen_random_uuid(), '', 'v-' || s.n, s.channel, 'click', s.at FROM step s;
INSERT INTO orders (shopify_order_id, order_number, currency, gross_cents, discount_cents, net_cents, shipping_cents,
                    tax_cents, total_cents, financial_status, status, visitor_id, placed_at, shopify_updated_at)
SELECT n, '#' || n, 'USD', 1000, 0, 1000, 0, 0, 1000, 'paid', 'open', visitor, ended + interval '10 minutes',
       ended + interval '10 minutes'
FROM journey WHERE converts;
INSERT INTO attribution_conversions (shopify_order_id, visitor_id, revenue_cents, gross_revenue_cents, currency,
                                     first_purchase, touchpoints, status, converted_at)
SELECT shopify_order_id, visitor_id, 1000, 1000, 'USD', true, 1, 'attributed', placed_at FROM orders
"""
ANALYSE = "ANALYZE attribution_touchpoints, attribution_conversions, orders"
"""What autovacuum would do within a minute."""


@dataclass
class Bell:
    """Whoever may stop a training: after so many units, or never."""

    after: int | None = None
    asked: int = 0

    def stop_asked(self) -> bool:
        self.asked += 1
        return self.after is not None and self.asked >= self.after


@dataclass
class Classroom:
    """One tenant's journeys, trainings and payload store."""

    house: House
    store: FakePayloads = field(default_factory=FakePayloads)
    notes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def fill(
        self,
        journeys: int,
        *,
        channels: tuple[str, ...] = CHANNELS,
        converting: str = "some",
        credited: bool = True,
    ) -> None:
        """Journeys that ended in 85 days before ``UNTIL``; those with paid or e-mail touches convert more."""
        about = {
            "journeys": journeys,
            "channels": list(channels),
            "converting": converting,
            "first": UNTIL - timedelta(days=85),
            "last": UNTIL - timedelta(days=4),
        }
        with psycopg.connect(self.house.urls.app) as connection:
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(self.house.tenant_id),))
            for statement in JOURNEYS.split(";\n"):
                used = {name: value for name, value in about.items() if f"%({name})s" in statement}
                connection.execute(statement.encode(), used or None)
        with psycopg.connect(self.house.urls.owner, autocommit=True) as connection:
            connection.execute(ANALYSE.encode())
        if credited:
            self.credit()

    def credit(self) -> None:
        """Compute every conversion's credits, as the nightly recalculation does."""
        span = {"since": (UNTIL - timedelta(days=100)).isoformat(), "until": UNTIL.isoformat()}
        assert isinstance(self.house.run(attribution_recalculate_recent, span, source=Source.MANUAL), Done)

    def ask(self, *, may_use: bool = True, until: datetime = UNTIL) -> UUID:
        """A training as the task asks for it."""
        training_id = uuid4()
        self._with(lambda trainings: trainings.request(training_id, until, may_use=may_use))
        return training_id

    def train(
        self,
        training_id: UUID,
        *,
        bell: Bell | None = None,
        noted: Callable[[str], object] = lambda _: None,
        **about: Any,
    ) -> dict[str, Any]:
        """What a container does; what it notes is kept, and told to ``noted``."""

        def note(message: str, fields: Mapping[str, Any]) -> None:
            self.notes.append((message, dict(fields)))
            noted(message)

        session = Session(self.house.connections)
        given = Container(
            tenant=Tenant(self.house.tenant_id, "acme", "Acme", "active", "UTC", "USD"),
            run=training_id,
            session=session,
            payloads=self.store,
            clock=SystemClock(),
            stop_asked=(bell or Bell()).stop_asked,
            note=note,
        )
        try:
            return Trainer(replace(given, **about)).train()
        finally:
            session.close()

    def journeys(self) -> Journeys:
        """What a training of now would learn from."""
        packed: list[bytes] = []
        settings = AttributionSettings()
        self._with(lambda trainings: packed.append(trainings.pack_journeys(UNTIL - WINDOW, UNTIL, settings)))
        return read_journeys(packed[0], NAMES)

    def units(self) -> list[str]:
        """What was done, in order."""
        return [about["unit"] for message, about in self.notes if message == "unit done"]

    def _with(self, act: Callable[[Trainings], object]) -> None:
        session = Session(self.house.connections)
        try:
            with TenantDb(session, self.house.tenant_id).begin() as tx:
                act(Trainings(tx))
            session.settle()
        finally:
            session.close()
