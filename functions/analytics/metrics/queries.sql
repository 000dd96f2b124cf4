-- save_periods --
-- Count periods anew; counting again overwrites. Cancelled, voided and test orders are none. Sales belong to the time at
-- which they were placed, returns to that at which they were given back. A customer is new in the period of their first
-- order; of equal instants the lower id is the earlier.
INSERT INTO analytics_metrics AS m (
    period, opened_at, closes_at, starts_on, currency, orders, other_currency_orders, units, gross_cents, discount_cents,
    returns_cents, shipping_cents, tax_cents, total_cents, refunded_cents, average_order_cents, customers, new_customers,
    touchpoints, visitors, attributed_cents, sources)
SELECT p.period, p.opened_at, p.closes_at, p.starts_on, p.currency, sold.orders, sold.other_currency_orders, lines.units,
       sold.gross_cents, sold.discount_cents, given_back.returns_cents, sold.shipping_cents, sold.tax_cents,
       sold.total_cents, given_back.refunded_cents, sold.average_order_cents, sold.customers, sold.new_customers,
       came.touchpoints, came.visitors, credited.attributed_cents, best.sources
FROM jsonb_populate_recordset(NULL::analytics_metrics, %(periods)s) p
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE o.counts)::integer AS orders,
           count(*) FILTER (WHERE NOT o.counts)::integer AS other_currency_orders,
           coalesce(sum(o.gross_cents) FILTER (WHERE o.counts), 0)::bigint AS gross_cents,
           coalesce(sum(o.discount_cents) FILTER (WHERE o.counts), 0)::bigint AS discount_cents,
           coalesce(sum(o.shipping_cents) FILTER (WHERE o.counts), 0)::bigint AS shipping_cents,
           coalesce(sum(o.tax_cents) FILTER (WHERE o.counts), 0)::bigint AS tax_cents,
           coalesce(sum(o.total_cents) FILTER (WHERE o.counts), 0)::bigint AS total_cents,
           coalesce(round(avg(o.net_cents) FILTER (WHERE o.counts)), 0)::bigint AS average_order_cents,
           count(DISTINCT o.shopify_customer_id)::integer AS customers,
           count(DISTINCT o.shopify_customer_id) FILTER (WHERE o.is_first)::integer AS new_customers
    FROM (
        SELECT f.*, f.currency = p.currency AS counts, NOT EXISTS (
            SELECT FROM orders e WHERE e.shopify_customer_id = f.shopify_customer_id
              AND (e.placed_at, e.shopify_order_id) < (f.placed_at, f.shopify_order_id)
              AND e.status <> 'cancelled' AND e.financial_status <> 'voided' AND NOT e.test) AS is_first
        FROM orders f
        WHERE f.placed_at >= p.opened_at AND f.placed_at < p.closes_at
          AND f.status <> 'cancelled' AND f.financial_status <> 'voided' AND NOT f.test
    ) o
) sold
CROSS JOIN LATERAL (
    SELECT coalesce(sum(l.quantity), 0)::bigint AS units
    FROM orders o JOIN order_line_items l ON l.shopify_order_id = o.shopify_order_id
    WHERE o.placed_at >= p.opened_at AND o.placed_at < p.closes_at AND o.currency = p.currency
      AND o.status <> 'cancelled' AND o.financial_status <> 'voided' AND NOT o.test
) lines
CROSS JOIN LATERAL (
    SELECT coalesce(sum(r.net_cents), 0)::bigint AS returns_cents,
           coalesce(sum(r.amount_cents), 0)::bigint AS refunded_cents
    FROM refunds r JOIN orders o ON o.shopify_order_id = r.shopify_order_id
    WHERE r.refunded_at >= p.opened_at AND r.refunded_at < p.closes_at AND o.currency = p.currency
      AND o.status <> 'cancelled' AND o.financial_status <> 'voided' AND NOT o.test
) given_back
CROSS JOIN LATERAL (
    SELECT count(*)::integer AS touchpoints, count(DISTINCT t.visitor_id)::integer AS visitors
    FROM attribution_touchpoints t WHERE t.occurred_at >= p.opened_at AND t.occurred_at < p.closes_at
) came
CROSS JOIN LATERAL (
    SELECT coalesce(sum(c.revenue_cents), 0)::bigint AS attributed_cents
    FROM attribution_conversions c JOIN orders o ON o.shopify_order_id = c.shopify_order_id
    WHERE c.converted_at >= p.opened_at AND c.converted_at < p.closes_at AND c.currency = p.currency
      AND c.status = 'attributed' AND o.financial_status <> 'voided' AND NOT o.test
) credited
CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_agg(to_jsonb(b) ORDER BY b.attributed_cents DESC, b.touchpoints DESC, b.source), '[]') AS sources
    FROM (
        SELECT s.source, sum(s.touchpoints)::integer AS touchpoints, sum(s.cents)::bigint AS attributed_cents
        FROM (
            SELECT coalesce(t.source, t.channel) AS source, 1 AS touchpoints, 0 AS cents FROM attribution_touchpoints t
            WHERE t.occurred_at >= p.opened_at AND t.occurred_at < p.closes_at
            UNION ALL
            SELECT coalesce(t.source, a.channel), 0, a.revenue_cents
            FROM attribution_conversions c
            JOIN orders o ON o.shopify_order_id = c.shopify_order_id AND o.financial_status <> 'voided' AND NOT o.test
            JOIN attribution_results a ON a.shopify_order_id = c.shopify_order_id AND a.model = %(model)s
                AND a.window_days = %(window_days)s
            LEFT JOIN attribution_touchpoints t ON t.touchpoint_id = a.touchpoint_id
                AND t.occurred_at BETWEEN c.converted_at - interval '90 days' AND c.converted_at
            WHERE c.converted_at >= p.opened_at AND c.converted_at < p.closes_at AND c.currency = p.currency
        ) s
        GROUP BY s.source ORDER BY 3 DESC, 2 DESC, 1 LIMIT 10
    ) b
) best
ON CONFLICT (tenant_id, period, opened_at) DO UPDATE SET
    closes_at = excluded.closes_at, starts_on = excluded.starts_on, currency = excluded.currency, orders = excluded.orders,
    other_currency_orders = excluded.other_currency_orders, units = excluded.units, gross_cents = excluded.gross_cents,
    discount_cents = excluded.discount_cents, returns_cents = excluded.returns_cents,
    shipping_cents = excluded.shipping_cents, tax_cents = excluded.tax_cents, total_cents = excluded.total_cents,
    refunded_cents = excluded.refunded_cents, average_order_cents = excluded.average_order_cents,
    customers = excluded.customers, new_customers = excluded.new_customers, touchpoints = excluded.touchpoints,
    visitors = excluded.visitors, attributed_cents = excluded.attributed_cents, sources = excluded.sources,
    calculated_at = now()
RETURNING m.period, m.opened_at, m.closes_at, m.starts_on, m.orders, m.net_sales_cents, m.average_order_cents,
    m.customers, m.new_customers, m.attributed_cents;
