-- count_spans --
-- What each span sold, took back, cost and booked. Cancelled, voided and test orders are none. A unit costs what it cost
-- when its order was placed (where the books begin later, what they say first); a given back unit gives that back on the
-- day of its refund. A variant's cost goes before its product's. Processing fees are rounded order by order.
WITH spans AS (
    SELECT * FROM jsonb_to_recordset(%(spans)s)
        AS p(number integer, opened_at timestamptz, closes_at timestamptz, starts_on date, ends_on date)
), placed AS MATERIALIZED (
    SELECT p.number, o.shopify_order_id, o.currency, o.placed_at, o.gross_cents, o.discount_cents, o.net_cents,
           o.shipping_cents, o.tax_cents, o.total_cents, o.weight_grams
    FROM spans p JOIN orders o ON o.placed_at >= p.opened_at AND o.placed_at < p.closes_at
    WHERE o.status <> 'cancelled' AND o.financial_status <> 'voided' AND NOT o.test
), given_back AS MATERIALIZED (
    SELECT p.number, r.shopify_refund_id, r.net_cents, o.shopify_order_id, o.currency, o.placed_at,
           o.net_cents = 0 AS sample
    FROM spans p JOIN refunds r ON r.refunded_at >= p.opened_at AND r.refunded_at < p.closes_at
    JOIN orders o ON o.shopify_order_id = r.shopify_order_id
    WHERE o.status <> 'cancelled' AND o.financial_status <> 'voided' AND NOT o.test
), priced AS MATERIALIZED (
    SELECT l.shopify_order_id, l.shopify_line_id, l.quantity, k.unit_cost_cents IS NULL AS unknown,
           coalesce(k.unit_cost_cents, CASE %(missing)s
               WHEN 'zero' THEN 0
               WHEN 'use_default' THEN %(default_cents)s
               WHEN 'percentage_of_price' THEN round(l.unit_price_cents * %(price_rate)s) END)::bigint AS unit_cost_cents
    FROM (SELECT shopify_order_id, placed_at FROM placed UNION SELECT shopify_order_id, placed_at FROM given_back) o
    JOIN order_line_items l ON l.shopify_order_id = o.shopify_order_id
    LEFT JOIN LATERAL (
        SELECT c.unit_cost_cents FROM product_costs c
        WHERE c.origin = %(origin)s AND c.shopify_product_id = l.shopify_product_id
          AND c.shopify_variant_id IN (l.shopify_variant_id, 0) AND c.currency = %(currency)s
        ORDER BY c.shopify_variant_id = 0, c.valid_from > o.placed_at,
                 CASE WHEN c.valid_from <= o.placed_at THEN c.valid_from END DESC, c.valid_from
        LIMIT 1
    ) k ON true
), made AS MATERIALIZED (
    SELECT shopify_order_id, sum(quantity)::bigint AS units, coalesce(sum(quantity * unit_cost_cents), 0)::bigint AS cost_cents,
           coalesce(sum(quantity) FILTER (WHERE unknown), 0)::bigint AS unknown_units,
           bool_or(unit_cost_cents IS NULL) AS skipped
    FROM priced GROUP BY 1
), sold AS (
    SELECT f.number AS span,
           count(*) FILTER (WHERE f.counts)::integer AS orders,
           coalesce(sum(f.units) FILTER (WHERE f.counts), 0)::bigint AS units,
           coalesce(sum(f.gross_cents) FILTER (WHERE f.counts), 0)::bigint AS gross_cents,
           coalesce(sum(f.discount_cents) FILTER (WHERE f.counts), 0)::bigint AS discount_cents,
           coalesce(sum(f.shipping_cents) FILTER (WHERE f.counts), 0)::bigint AS shipping_cents,
           coalesce(sum(f.tax_cents) FILTER (WHERE f.counts), 0)::bigint AS tax_cents,
           coalesce(sum(f.total_cents) FILTER (WHERE f.counts), 0)::bigint AS charged_cents,
           count(*) FILTER (WHERE f.counts AND f.total_cents > 0)::integer AS paid_orders,
           coalesce(sum(round(f.total_cents * %(fee_rate)s + %(fee_cents)s))
                    FILTER (WHERE f.counts AND f.total_cents > 0), 0)::bigint AS processing_cents,
           coalesce(sum(f.weight_fee_cents) FILTER (WHERE f.counts), 0)::bigint AS weight_fee_cents,
           count(*) FILTER (WHERE f.counts AND f.weight_grams IS NULL)::integer AS orders_without_weight,
           coalesce(sum(f.cost_cents) FILTER (WHERE f.counts AND (%(with_samples)s OR NOT f.sample)), 0)::bigint AS cost_cents,
           coalesce(sum(f.unknown_units) FILTER (WHERE f.own_currency), 0)::bigint AS units_without_cost,
           count(*) FILTER (WHERE f.counts AND f.sample)::integer AS sample_orders,
           count(*) FILTER (WHERE f.own_currency AND f.skipped)::integer AS skipped_orders,
           count(*) FILTER (WHERE NOT f.own_currency)::integer AS foreign_orders
    FROM (
        SELECT o.*, coalesce(m.units, 0) AS units, coalesce(m.cost_cents, 0) AS cost_cents,
               coalesce(m.unknown_units, 0) AS unknown_units, coalesce(m.skipped, false) AS skipped,
               o.currency = %(currency)s AS own_currency, o.net_cents = 0 AS sample,
               o.currency = %(currency)s AND NOT coalesce(m.skipped, false) AS counts,
               (SELECT t.fee_cents FROM jsonb_to_recordset(%(weight_tiers)s) AS t(above_grams numeric, fee_cents bigint)
                WHERE t.above_grams < coalesce(o.weight_grams, 0) OR t.above_grams = 0
                ORDER BY t.above_grams DESC LIMIT 1) AS weight_fee_cents
        FROM placed o LEFT JOIN made m ON m.shopify_order_id = o.shopify_order_id
    ) f
    GROUP BY f.number
), returned AS (
    SELECT g.number AS span, coalesce(sum(g.net_cents), 0)::bigint AS returns_cents,
           coalesce(sum((SELECT sum(l.quantity * p.unit_cost_cents) FROM refund_line_items l
                         JOIN priced p ON p.shopify_order_id = g.shopify_order_id AND p.shopify_line_id = l.shopify_line_id
                         WHERE l.shopify_refund_id = g.shopify_refund_id AND (%(with_samples)s OR NOT g.sample))), 0)::bigint
               AS returned_cost_cents
    FROM given_back g LEFT JOIN made m ON m.shopify_order_id = g.shopify_order_id
    WHERE g.currency = %(currency)s AND NOT coalesce(m.skipped, false)
    GROUP BY g.number
)
SELECT p.number, s.*, r.returns_cents, r.returned_cost_cents, earned.commission_cents, earned.commissions, books.booked,
       ads.spend
FROM spans p
LEFT JOIN sold s ON s.span = p.number
LEFT JOIN returned r ON r.span = p.number
CROSS JOIN LATERAL (
    SELECT coalesce(sum(c.commission_cents), 0)::bigint AS commission_cents, count(*)::integer AS commissions
    FROM commissions c WHERE c.ordered_at >= p.opened_at AND c.ordered_at < p.closes_at AND c.currency = %(currency)s
      AND c.state NOT IN ('rejected', 'reversed')
) earned
CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_agg(to_jsonb(b) ORDER BY b.category), '[]') AS booked
    FROM (
        SELECT e.category, sum(CASE WHEN e.income THEN -e.amount_cents ELSE e.amount_cents END)::bigint AS cents,
               count(*)::integer AS entries
        FROM operating_expenses e
        WHERE e.incurred_on BETWEEN p.starts_on AND p.ends_on AND e.counts_for_pnl AND e.currency = %(currency)s
        GROUP BY e.category
    ) b
) books
CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY t.platform), '[]') AS spend
    FROM (
        SELECT a.platform, coalesce(sum(a.spend_cents) FILTER (WHERE a.currency = %(currency)s), 0)::bigint AS cents,
               count(DISTINCT a.spent_on) FILTER (WHERE a.currency <> %(currency)s)::integer AS foreign_days
        FROM ad_spend a WHERE a.spent_on BETWEEN p.starts_on AND p.ends_on AND a.counts_for_pnl
        GROUP BY a.platform
    ) t
) ads
ORDER BY p.number;

-- find_configs --
-- The newest version of each configuration that the tenant has saved.
SELECT DISTINCT ON (kind) kind, version, document FROM finance_configs ORDER BY kind, version DESC;

-- list_categories --
-- The tenant's own categories, and what it changed of the system's.
SELECT category, label, type, hidden FROM expense_categories ORDER BY category;

-- lock_configs --
-- One at a time saves a configuration of the tenant.
SELECT pg_advisory_xact_lock(hashtextextended(current_tenant()::text || 'finance_configs', 3));

-- count_saves_after --
-- How many versions were saved after an instant.
SELECT count(*)::integer AS saves FROM finance_configs WHERE changed_at > %(saved_after)s;

-- add_config --
-- The next version of a configuration.
INSERT INTO finance_configs (kind, version, document, changed_by)
VALUES (%(config_kind)s, %(version)s, %(document)s, %(changed_by)s);

-- add_changes --
-- What a version changed, field by field.
INSERT INTO finance_config_changes (kind, version, field, before, after)
SELECT r.kind, r.version, r.field, r.before, r.after FROM jsonb_populate_recordset(NULL::finance_config_changes, %(changes)s) r
ON CONFLICT DO NOTHING;

-- save_costs --
-- Unit costs from an instant on. Those come back that say something new: a cost that stands already opens no new row.
INSERT INTO product_costs AS c (origin, shopify_product_id, shopify_variant_id, valid_from, unit_cost_cents, currency, source)
SELECT r.origin, r.shopify_product_id, r.shopify_variant_id, r.valid_from, r.unit_cost_cents, r.currency, r.source
FROM jsonb_populate_recordset(NULL::product_costs, %(costs)s) r
LEFT JOIN LATERAL (
    SELECT k.unit_cost_cents, k.currency FROM product_costs k
    WHERE k.origin = r.origin AND k.shopify_product_id = r.shopify_product_id
      AND k.shopify_variant_id = r.shopify_variant_id AND k.valid_from <= r.valid_from
    ORDER BY k.valid_from DESC LIMIT 1
) k ON true
WHERE (r.unit_cost_cents, r.currency) IS DISTINCT FROM (k.unit_cost_cents, k.currency)
ORDER BY r.shopify_product_id, r.shopify_variant_id
ON CONFLICT (tenant_id, origin, shopify_product_id, shopify_variant_id, valid_from) DO UPDATE SET
    unit_cost_cents = excluded.unit_cost_cents, currency = excluded.currency, source = excluded.source, saved_at = now()
RETURNING c.shopify_product_id, c.shopify_variant_id;

-- list_known_products --
-- Which of these products the tenant's catalogue has.
SELECT shopify_product_id FROM products WHERE shopify_product_id = ANY (%(product_ids)s) ORDER BY shopify_product_id;

-- save_expenses --
-- Expenses by the ids of those who book them: booked again, one is as it was told last.
INSERT INTO operating_expenses AS e (expense_id, category, amount_cents, income, currency, incurred_on, vendor, description,
                                     counts_for_pnl, exclusion_reason)
SELECT r.expense_id, r.category, r.amount_cents, r.income, r.currency, r.incurred_on, r.vendor, r.description,
       r.counts_for_pnl, r.exclusion_reason
FROM jsonb_populate_recordset(NULL::operating_expenses, %(expenses)s) r
ORDER BY r.expense_id
ON CONFLICT (tenant_id, expense_id) DO UPDATE SET
    category = excluded.category, amount_cents = excluded.amount_cents, income = excluded.income,
    currency = excluded.currency, incurred_on = excluded.incurred_on, vendor = excluded.vendor,
    description = excluded.description, counts_for_pnl = excluded.counts_for_pnl,
    exclusion_reason = excluded.exclusion_reason, booked_at = now()
RETURNING e.expense_id;

-- save_categories --
-- Categories of the tenant's own, and changed ones of the system's.
INSERT INTO expense_categories AS c (category, label, type, hidden)
SELECT r.category, r.label, r.type, r.hidden FROM jsonb_populate_recordset(NULL::expense_categories, %(categories)s) r
ORDER BY r.category
ON CONFLICT (tenant_id, category) DO UPDATE SET label = excluded.label, type = excluded.type, hidden = excluded.hidden;

-- save_snapshot --
-- A span's statement; counting again overwrites it.
INSERT INTO pnl_snapshots AS s (start_on, end_on, currency, orders, net_revenue_cents, gross_profit_cents,
    contribution_margin_cents, operating_income_cents, net_profit_cents, statement, costs_version, cogs_version, formula_version)
SELECT r.start_on, r.end_on, r.currency, r.orders, r.net_revenue_cents, r.gross_profit_cents, r.contribution_margin_cents,
       r.operating_income_cents, r.net_profit_cents, r.statement, r.costs_version, r.cogs_version, r.formula_version
FROM jsonb_populate_recordset(NULL::pnl_snapshots, %(snapshots)s) r
ON CONFLICT (tenant_id, start_on, end_on) DO UPDATE SET
    currency = excluded.currency, orders = excluded.orders, net_revenue_cents = excluded.net_revenue_cents,
    gross_profit_cents = excluded.gross_profit_cents, contribution_margin_cents = excluded.contribution_margin_cents,
    operating_income_cents = excluded.operating_income_cents, net_profit_cents = excluded.net_profit_cents,
    statement = excluded.statement, costs_version = excluded.costs_version, cogs_version = excluded.cogs_version,
    formula_version = excluded.formula_version, calculated_at = now();

-- save_daily_profit --
-- What days brought, beside their other figures.
UPDATE analytics_metrics m SET gross_profit_cents = r.gross_profit_cents,
    contribution_margin_cents = r.contribution_margin_cents, net_profit_cents = r.net_profit_cents
FROM jsonb_populate_recordset(NULL::analytics_metrics, %(days)s) r
WHERE m.period = 'day' AND m.opened_at = r.opened_at;

-- save_item_costs --
-- Costs that Shopify keeps, by the variants that the catalogue knows; a cost that stands already opens no new row.
INSERT INTO product_costs AS c (origin, shopify_product_id, shopify_variant_id, valid_from, unit_cost_cents, currency, source)
SELECT DISTINCT ON (v.shopify_variant_id)
    'shopify', v.shopify_product_id, v.shopify_variant_id, %(valid_from)s, r.cents, r.currency, 'shopify'
FROM jsonb_to_recordset(%(item_costs)s) AS r(inventory_item_id bigint, cents bigint, currency text)
JOIN variants v ON v.shopify_inventory_item_id = r.inventory_item_id
LEFT JOIN LATERAL (
    SELECT k.unit_cost_cents, k.currency FROM product_costs k
    WHERE k.origin = 'shopify' AND k.shopify_product_id = v.shopify_product_id
      AND k.shopify_variant_id = v.shopify_variant_id AND k.valid_from <= %(valid_from)s
    ORDER BY k.valid_from DESC LIMIT 1
) k ON true
WHERE (r.cents, r.currency) IS DISTINCT FROM (k.unit_cost_cents, k.currency)
ORDER BY v.shopify_variant_id
ON CONFLICT (tenant_id, origin, shopify_product_id, shopify_variant_id, valid_from) DO UPDATE SET
    unit_cost_cents = excluded.unit_cost_cents, currency = excluded.currency, saved_at = now()
RETURNING c.shopify_variant_id;

-- mark_costs_read --
-- Until when unit costs were read whole.
INSERT INTO sync_marks (kind, complete_until) VALUES ('unit_costs', %(complete_until)s)
ON CONFLICT (tenant_id, kind) DO UPDATE SET complete_until = greatest(sync_marks.complete_until, excluded.complete_until);

-- find_costs_read --
-- Until when unit costs were read whole; no row where they never were.
SELECT max(complete_until) AS complete_until FROM sync_marks WHERE kind = 'unit_costs';
