-- Figures of hours, days and weeks: what was sold, given back, by whom, and from where they came.

SET lock_timeout = '3s';

-- One row a period. starts_on is the local date on which it begins; a day has 23, 24 or 25 hours. Money in the tenant's
-- currency; an order in another one is counted in other_currency_orders alone. sources are the ten best, by what is
-- attributed to them: [{"source", "touchpoints", "attributed_cents"}].
CREATE TABLE analytics_metrics (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    period text NOT NULL CHECK (period IN ('hour', 'day', 'week')),
    opened_at timestamptz NOT NULL,
    closes_at timestamptz NOT NULL,
    starts_on date NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    orders integer NOT NULL DEFAULT 0,
    other_currency_orders integer NOT NULL DEFAULT 0,
    units bigint NOT NULL DEFAULT 0,
    gross_cents bigint NOT NULL DEFAULT 0,
    discount_cents bigint NOT NULL DEFAULT 0,
    returns_cents bigint NOT NULL DEFAULT 0,
    net_sales_cents bigint GENERATED ALWAYS AS (gross_cents - discount_cents - returns_cents) STORED,
    shipping_cents bigint NOT NULL DEFAULT 0,
    tax_cents bigint NOT NULL DEFAULT 0,
    total_cents bigint NOT NULL DEFAULT 0,
    refunded_cents bigint NOT NULL DEFAULT 0,
    average_order_cents bigint NOT NULL DEFAULT 0,
    customers integer NOT NULL DEFAULT 0,
    new_customers integer NOT NULL DEFAULT 0,
    touchpoints integer NOT NULL DEFAULT 0,
    visitors integer NOT NULL DEFAULT 0,
    attributed_cents bigint NOT NULL DEFAULT 0,
    sources jsonb NOT NULL DEFAULT '[]',
    calculated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, period, opened_at),
    CHECK (closes_at >= opened_at)
);
CREATE INDEX refunds_by_time ON refunds (tenant_id, refunded_at);
CREATE INDEX touchpoints_by_time ON attribution_touchpoints (tenant_id, occurred_at);
CREATE INDEX conversions_by_time ON attribution_conversions (tenant_id, converted_at);
CALL protect('analytics_metrics');
CALL declare_data('analytics_metrics', '{"period": "nothing", "currency": "nothing", "sources": "nothing"}');
