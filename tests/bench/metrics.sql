INSERT INTO orders (shopify_order_id, order_number, shopify_customer_id, currency, gross_cents, discount_cents, net_cents,
                    shipping_cents, tax_cents, total_cents, financial_status, status, visitor_id, placed_at, shopify_updated_at)
SELECT n, '#' || n, n, 'USD', 1000 + n, 0, 1000 + n, 0, 0, 1000 + n, 'paid', 'open', 'v-' || n,
       %(since)s::timestamptz + n * interval '1 minute', %(since)s
FROM generate_series(1, %(orders)s) n
-- next --
INSERT INTO order_line_items (shopify_order_id, shopify_line_id, title, quantity, unit_price_cents, discount_cents)
SELECT n, n, 'Mug', 1, 1000 + n, 0 FROM generate_series(1, %(orders)s) n
-- next --
INSERT INTO attribution_touchpoints (touchpoint_id, dedupe_hash, visitor_id, channel, source, type, occurred_at)
SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, '', 'v-' || n, 'paid', 'source-' || n %% 20, 'click',
       %(since)s::timestamptz + n * interval '1 minute' - interval '30 seconds'
FROM generate_series(1, %(orders)s) n
-- next --
INSERT INTO attribution_conversions (shopify_order_id, visitor_id, revenue_cents, gross_revenue_cents, currency, first_purchase,
                                     touchpoints, status, converted_at)
SELECT o.shopify_order_id, o.visitor_id, o.total_cents, o.total_cents, o.currency, true, 1, 'attributed', o.placed_at FROM orders o
-- next --
INSERT INTO attribution_credits (shopify_order_id, window_days, touchpoint_ids, channels, credits, cents)
SELECT n, 30, ARRAY[('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid], ARRAY[3]::smallint[],
       array_fill(1000000000, ARRAY[7, 1]), array_fill((1000 + n)::bigint, ARRAY[7, 1])
FROM generate_series(1, %(orders)s) n
