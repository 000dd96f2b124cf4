-- Profit and loss: a tenant's configurations, what goods cost, what is booked beside the orders, and the statements.

SET lock_timeout = '3s';

-- Append only, whoever writes: a version stays as it was, so that a statement can name those by which it was made. It goes
-- with its tenant alone.
CREATE TABLE finance_configs (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    kind text NOT NULL CHECK (kind IN ('costs', 'cogs', 'formula')),
    version integer NOT NULL CHECK (version >= 1),
    document jsonb NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, kind, version)
);
CALL protect('finance_configs');
CREATE POLICY never_changed ON finance_configs AS RESTRICTIVE FOR UPDATE USING (false);
CALL declare_data('finance_configs', '{"kind": "nothing", "document": "nothing", "changed_by": "partner"}');

-- What each version changed, field by field; before is null for what was not there.
CREATE TABLE finance_config_changes (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    kind text NOT NULL,
    version integer NOT NULL,
    field text NOT NULL,
    before jsonb,
    after jsonb,
    PRIMARY KEY (tenant_id, kind, version, field),
    FOREIGN KEY (tenant_id, kind, version) REFERENCES finance_configs
);
CALL protect('finance_config_changes');
CREATE POLICY never_changed ON finance_config_changes AS RESTRICTIVE FOR UPDATE USING (false);
CALL declare_data('finance_config_changes', '{"kind": "nothing", "field": "nothing", "before": "nothing", "after": "nothing"}');

-- What a unit costs from an instant on; variant 0 stands for every variant of the product. origin shopify are the costs that
-- Shopify keeps, internal the tenant's own books.
CREATE TABLE product_costs (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    origin text NOT NULL CHECK (origin IN ('shopify', 'internal')),
    shopify_product_id bigint NOT NULL,
    shopify_variant_id bigint NOT NULL DEFAULT 0,
    valid_from timestamptz NOT NULL,
    unit_cost_cents bigint NOT NULL CHECK (unit_cost_cents >= 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    source text NOT NULL CHECK (source IN ('shopify', 'manual', 'csv_import', 'erp_sync')),
    saved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, origin, shopify_product_id, shopify_variant_id, valid_from)
);
CALL protect('product_costs');
CALL declare_data('product_costs', '{"origin": "nothing", "currency": "nothing", "source": "nothing"}');

-- A tenant's own categories, and what it changed of the system's.
CREATE TABLE expense_categories (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    category text NOT NULL CHECK (category ~ '^[a-z][a-z0-9_]{0,62}$'),
    label text NOT NULL,
    type text NOT NULL CHECK (type IN ('cogs', 'variable', 'marketing', 'operating', 'other')),
    hidden boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, category)
);
CALL protect('expense_categories');
CALL declare_data('expense_categories', '{"category": "nothing", "label": "nothing", "type": "nothing"}');

CREATE TABLE operating_expenses (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    expense_id text NOT NULL,
    category text NOT NULL,
    amount_cents bigint NOT NULL CHECK (amount_cents > 0),
    income boolean NOT NULL DEFAULT false,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    incurred_on date NOT NULL,
    vendor text,
    description text,
    counts_for_pnl boolean NOT NULL DEFAULT true,
    exclusion_reason text,
    booked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, expense_id)
);
CREATE INDEX operating_expenses_by_day ON operating_expenses (tenant_id, incurred_on);
CALL protect('operating_expenses');
CALL declare_data('operating_expenses', '{"expense_id": "nothing", "category": "nothing", "currency": "nothing",
    "vendor": "partner", "description": "partner", "exclusion_reason": "partner"}');

-- One statement a span; counting again overwrites it. A version of 0 is the configuration's default.
CREATE TABLE pnl_snapshots (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    start_on date NOT NULL,
    end_on date NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    orders integer NOT NULL,
    net_revenue_cents bigint NOT NULL,
    gross_profit_cents bigint NOT NULL,
    contribution_margin_cents bigint NOT NULL,
    operating_income_cents bigint NOT NULL,
    net_profit_cents bigint NOT NULL,
    statement jsonb NOT NULL,
    costs_version integer NOT NULL,
    cogs_version integer NOT NULL,
    formula_version integer NOT NULL,
    calculated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, start_on, end_on),
    CHECK (end_on >= start_on)
);
CALL protect('pnl_snapshots');
CALL declare_data('pnl_snapshots', '{"currency": "nothing", "statement": "nothing"}');

-- Of days alone, by the tenant's configuration.
ALTER TABLE analytics_metrics
    ADD COLUMN gross_profit_cents bigint,
    ADD COLUMN contribution_margin_cents bigint,
    ADD COLUMN net_profit_cents bigint;
