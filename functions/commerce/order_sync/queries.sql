-- find_order --
-- An order as the rules read it, without a lock.
SELECT * FROM orders WHERE shopify_order_id = %(order_id)s;

-- lock_order --
-- The same, locked: whoever recomputes what follows from an order holds its row.
SELECT * FROM orders WHERE shopify_order_id = %(order_id)s FOR NO KEY UPDATE;

-- save_orders --
-- Write orders as they are now. An older state never overwrites a newer one (with only_newer: nor one of the same
-- instant); the ids that were written come back.
INSERT INTO orders AS o (
    shopify_order_id, order_number, shopify_customer_id, email, currency, gross_cents, discount_cents, net_cents,
    shipping_cents, tax_cents, total_cents, refunded_cents, refunded_net_cents, financial_status, fulfillment_status,
    status, test, tags, discount_codes, attributes, visitor_id, landing_page, referrer_url, utm, visited_at,
    cancel_reason, placed_at, fulfilled_at, delivered_at, cancelled_at, shopify_updated_at, content_hash)
SELECT
    r.shopify_order_id, r.order_number, r.shopify_customer_id, r.email, r.currency, r.gross_cents, r.discount_cents,
    r.net_cents, r.shipping_cents, r.tax_cents, r.total_cents, r.refunded_cents, r.refunded_net_cents,
    r.financial_status, r.fulfillment_status, r.status, r.test, r.tags, r.discount_codes, r.attributes, r.visitor_id,
    r.landing_page, r.referrer_url, r.utm, r.visited_at, r.cancel_reason, r.placed_at, r.fulfilled_at, r.delivered_at,
    r.cancelled_at, r.shopify_updated_at, r.content_hash
FROM jsonb_populate_recordset(NULL::orders, %(orders)s) r
ORDER BY r.shopify_order_id
ON CONFLICT (tenant_id, shopify_order_id) DO UPDATE SET
    order_number = excluded.order_number, shopify_customer_id = excluded.shopify_customer_id, email = excluded.email,
    currency = excluded.currency, gross_cents = excluded.gross_cents, discount_cents = excluded.discount_cents,
    net_cents = excluded.net_cents, shipping_cents = excluded.shipping_cents, tax_cents = excluded.tax_cents,
    total_cents = excluded.total_cents, refunded_cents = excluded.refunded_cents,
    refunded_net_cents = excluded.refunded_net_cents, financial_status = excluded.financial_status,
    fulfillment_status = excluded.fulfillment_status, status = excluded.status, test = excluded.test,
    tags = excluded.tags, discount_codes = excluded.discount_codes, attributes = excluded.attributes,
    visitor_id = excluded.visitor_id, landing_page = excluded.landing_page, referrer_url = excluded.referrer_url,
    utm = excluded.utm, visited_at = excluded.visited_at, cancel_reason = excluded.cancel_reason,
    placed_at = excluded.placed_at, fulfilled_at = excluded.fulfilled_at, delivered_at = excluded.delivered_at,
    cancelled_at = excluded.cancelled_at, shopify_updated_at = excluded.shopify_updated_at,
    content_hash = excluded.content_hash, synced_at = now()
WHERE excluded.shopify_updated_at > o.shopify_updated_at
   OR (excluded.shopify_updated_at = o.shopify_updated_at AND NOT %(only_newer)s)
RETURNING o.shopify_order_id;

-- save_customers --
-- Write the orders' customers; of two states the one of the later order update stands. Consent and tags that an order
-- does not tell stay as they are.
INSERT INTO customers AS c (shopify_customer_id, email, first_name, last_name, phone, accepts_marketing, tags,
                            source_updated_at)
SELECT DISTINCT ON (r.shopify_customer_id)
    r.shopify_customer_id, r.email, r.first_name, r.last_name, r.phone,
    coalesce(r.accepts_marketing, k.accepts_marketing, false), coalesce(r.tags, k.tags, '{}'), r.source_updated_at
FROM jsonb_populate_recordset(NULL::customers, %(customers)s) r
LEFT JOIN customers k ON k.shopify_customer_id = r.shopify_customer_id
ORDER BY r.shopify_customer_id, r.source_updated_at DESC
ON CONFLICT (tenant_id, shopify_customer_id) DO UPDATE SET
    email = excluded.email, first_name = excluded.first_name, last_name = excluded.last_name, phone = excluded.phone,
    accepts_marketing = excluded.accepts_marketing, tags = excluded.tags,
    source_updated_at = excluded.source_updated_at, synced_at = now()
WHERE excluded.source_updated_at >= c.source_updated_at;

-- replace_lines --
-- Line items are replaced as a whole: a line that an edit removed must go.
WITH wanted AS (
    SELECT * FROM jsonb_populate_recordset(NULL::order_line_items, %(lines)s)
), gone AS (
    DELETE FROM order_line_items l
    WHERE l.shopify_order_id = ANY (%(order_ids)s)
      AND NOT EXISTS (SELECT FROM wanted w WHERE w.shopify_order_id = l.shopify_order_id
                                             AND w.shopify_line_id = l.shopify_line_id)
)
INSERT INTO order_line_items AS l (shopify_order_id, shopify_line_id, shopify_product_id, shopify_variant_id, sku, title,
                                   quantity, unit_price_cents, discount_cents)
SELECT w.shopify_order_id, w.shopify_line_id, w.shopify_product_id, w.shopify_variant_id, w.sku, w.title, w.quantity,
       w.unit_price_cents, w.discount_cents
FROM wanted w
ON CONFLICT (tenant_id, shopify_order_id, shopify_line_id) DO UPDATE SET
    shopify_product_id = excluded.shopify_product_id, shopify_variant_id = excluded.shopify_variant_id,
    sku = excluded.sku, title = excluded.title, quantity = excluded.quantity,
    unit_price_cents = excluded.unit_price_cents, discount_cents = excluded.discount_cents;

-- save_fulfillments --
-- Parcels with carrier and tracking.
INSERT INTO fulfillments (shopify_order_id, shopify_fulfillment_id, status, shipment_status, tracking_company,
                          tracking_number, tracking_url, shipped_at, estimated_delivery_at, delivered_at)
SELECT r.shopify_order_id, r.shopify_fulfillment_id, r.status, r.shipment_status, r.tracking_company,
       r.tracking_number, r.tracking_url, r.shipped_at, r.estimated_delivery_at, r.delivered_at
FROM jsonb_populate_recordset(NULL::fulfillments, %(fulfillments)s) r
ON CONFLICT (tenant_id, shopify_fulfillment_id) DO UPDATE SET
    status = excluded.status, shipment_status = excluded.shipment_status, tracking_company = excluded.tracking_company,
    tracking_number = excluded.tracking_number, tracking_url = excluded.tracking_url, shipped_at = excluded.shipped_at,
    estimated_delivery_at = excluded.estimated_delivery_at, delivered_at = excluded.delivered_at;

-- save_refunds --
-- Refunds, each once.
INSERT INTO refunds (shopify_order_id, shopify_refund_id, amount_cents, net_cents, reason, refunded_at)
SELECT r.shopify_order_id, r.shopify_refund_id, r.amount_cents, r.net_cents, r.reason, r.refunded_at
FROM jsonb_populate_recordset(NULL::refunds, %(refunds)s) r
ON CONFLICT (tenant_id, shopify_refund_id) DO UPDATE SET
    amount_cents = excluded.amount_cents, net_cents = excluded.net_cents, reason = excluded.reason,
    refunded_at = excluded.refunded_at;

-- save_refund_lines --
-- What each refund took back.
INSERT INTO refund_line_items (shopify_refund_id, shopify_line_id, quantity, subtotal_cents)
SELECT r.shopify_refund_id, r.shopify_line_id, r.quantity, r.subtotal_cents
FROM jsonb_populate_recordset(NULL::refund_line_items, %(refund_lines)s) r
ON CONFLICT (tenant_id, shopify_refund_id, shopify_line_id) DO UPDATE SET
    quantity = excluded.quantity, subtotal_cents = excluded.subtotal_cents;

-- lock_journey --
-- One at a time recomputes what belongs to a visitor or a creator; always taken before any row of theirs.
SELECT pg_advisory_xact_lock(hashtextextended(current_tenant()::text || %(what)s, 1));

-- save_own_touch --
-- The touch that an order carries itself. Comes back only if it is new or has changed.
INSERT INTO attribution_touchpoints AS t (
    touchpoint_id, dedupe_hash, visitor_id, shopify_customer_id, shopify_order_id, channel, source, medium, campaign,
    click_id, landing_page, referrer_url, occurred_at)
VALUES (%(touchpoint_id)s, %(dedupe_hash)s, %(visitor_id)s, %(customer_id)s, %(order_id)s, %(channel)s, %(source)s,
        %(medium)s, %(campaign)s, %(click_id)s, %(landing_page)s, %(referrer_url)s, %(occurred_at)s)
ON CONFLICT (tenant_id, dedupe_hash) DO UPDATE SET
    visitor_id = excluded.visitor_id, shopify_customer_id = excluded.shopify_customer_id, channel = excluded.channel,
    source = excluded.source, medium = excluded.medium, campaign = excluded.campaign, click_id = excluded.click_id,
    landing_page = excluded.landing_page, referrer_url = excluded.referrer_url, occurred_at = excluded.occurred_at
WHERE (t.visitor_id, t.shopify_customer_id, t.channel, t.source, t.medium, t.campaign, t.occurred_at)
      IS DISTINCT FROM (excluded.visitor_id, excluded.shopify_customer_id, excluded.channel, excluded.source,
                        excluded.medium, excluded.campaign, excluded.occurred_at)
RETURNING t.touchpoint_id;

-- list_touches --
-- A visitor's touches in the window, or a customer's where the order names no visitor; newest 50.
SELECT touchpoint_id, channel, occurred_at FROM attribution_touchpoints
WHERE ((%(visitor_id)s::text IS NOT NULL AND visitor_id = %(visitor_id)s)
       OR (%(visitor_id)s::text IS NULL AND shopify_customer_id = %(customer_id)s)
       OR shopify_order_id = %(order_id)s)
  AND occurred_at BETWEEN %(opened_at)s AND %(converted_at)s
ORDER BY occurred_at DESC, touchpoint_id DESC
LIMIT 50;

-- list_later_orders --
-- Conversions that an order's arrival may change: where its touch is new, those of the same visitor within the window
-- after it; and the customer's later one that was counted as the first purchase.
SELECT o.shopify_order_id FROM orders o
JOIN attribution_conversions c ON c.shopify_order_id = o.shopify_order_id
WHERE o.shopify_order_id <> %(order_id)s
  AND ((%(touch_is_new)s AND o.visitor_id = %(visitor_id)s AND o.placed_at BETWEEN %(touched_at)s AND %(closes_at)s)
       OR (%(touch_is_new)s AND o.visitor_id IS NULL AND o.shopify_customer_id = %(customer_id)s
           AND o.placed_at BETWEEN %(touched_at)s AND %(closes_at)s)
       OR (c.first_purchase AND o.shopify_customer_id = %(customer_id)s
           AND (o.placed_at, o.shopify_order_id) > (%(placed_at)s, %(order_id)s)))
ORDER BY o.shopify_order_id;

-- has_earlier_order --
-- Whether the customer bought before; of equal instants the lower id is the earlier.
SELECT EXISTS (
    SELECT FROM orders o
    WHERE o.shopify_customer_id = %(customer_id)s
      AND (o.placed_at, o.shopify_order_id) < (%(placed_at)s, %(order_id)s)
) AS found;

-- save_conversion --
-- One conversion per order; recalculation overwrites.
INSERT INTO attribution_conversions (shopify_order_id, visitor_id, shopify_customer_id, revenue_cents,
    gross_revenue_cents, currency, first_purchase, touchpoints, status, converted_at)
VALUES (%(order_id)s, %(visitor_id)s, %(customer_id)s, %(revenue_cents)s, %(gross_revenue_cents)s, %(currency)s,
        %(first_purchase)s, %(touchpoints)s, %(status)s, %(converted_at)s)
ON CONFLICT (tenant_id, shopify_order_id) DO UPDATE SET
    visitor_id = excluded.visitor_id, shopify_customer_id = excluded.shopify_customer_id,
    revenue_cents = excluded.revenue_cents, gross_revenue_cents = excluded.gross_revenue_cents,
    currency = excluded.currency, first_purchase = excluded.first_purchase, touchpoints = excluded.touchpoints,
    status = excluded.status, converted_at = excluded.converted_at, calculated_at = now();

-- replace_results --
-- Every model's credits of a conversion; a touch that no longer counts loses its rows.
WITH wanted AS (
    SELECT * FROM jsonb_populate_recordset(NULL::attribution_results, %(results)s)
), gone AS (
    DELETE FROM attribution_results a
    WHERE a.shopify_order_id = %(order_id)s
      AND NOT EXISTS (SELECT FROM wanted w WHERE w.touchpoint_id = a.touchpoint_id AND w.model = a.model
                                             AND w.window_days = a.window_days)
)
INSERT INTO attribution_results (shopify_order_id, touchpoint_id, model, window_days, position, channel, credit,
                                 revenue_cents)
SELECT w.shopify_order_id, w.touchpoint_id, w.model, w.window_days, w.position, w.channel, w.credit, w.revenue_cents
FROM wanted w
ON CONFLICT (tenant_id, shopify_order_id, touchpoint_id, model, window_days) DO UPDATE SET
    position = excluded.position, channel = excluded.channel, credit = excluded.credit,
    revenue_cents = excluded.revenue_cents;

-- delete_conversion --
-- An order that lost what makes it a conversion.
DELETE FROM attribution_conversions WHERE shopify_order_id = %(order_id)s;

-- find_commission_creator --
-- The creator of an order's commission, once it has one.
SELECT c.creator_id, c.code, r.rate_basis_points
FROM commissions c JOIN creators r ON r.creator_id = c.creator_id
WHERE c.shopify_order_id = %(order_id)s;

-- list_creators_by_code --
-- Active creators of any of these codes, whatever their case.
SELECT creator_id, code, rate_basis_points FROM creators
WHERE status = 'active' AND lower(code) = ANY (%(codes)s);

-- sum_earlier_sales --
-- A creator's net sales before an order, as ordered.
SELECT coalesce(sum(net_sales_cents), 0)::bigint AS cents FROM commissions
WHERE creator_id = %(creator_id)s AND (ordered_at, shopify_order_id) < (%(ordered_at)s, %(order_id)s);

-- save_commission --
-- One commission per order, as long as it has not been decided on. Comes back where the sales count newly or otherwise.
WITH before AS (
    SELECT net_sales_cents FROM commissions WHERE shopify_order_id = %(order_id)s
)
INSERT INTO commissions AS c (shopify_order_id, creator_id, code, currency, net_sales_cents, rate_basis_points, tier,
                              earned_cents, commission_cents, state, ordered_at)
VALUES (%(order_id)s, %(creator_id)s, %(code)s, %(currency)s, %(net_sales_cents)s, %(rate)s, %(tier)s, %(earned_cents)s,
        %(commission_cents)s, %(state)s, %(ordered_at)s)
ON CONFLICT (tenant_id, shopify_order_id) DO UPDATE SET
    net_sales_cents = excluded.net_sales_cents, rate_basis_points = excluded.rate_basis_points, tier = excluded.tier,
    earned_cents = excluded.earned_cents, commission_cents = excluded.commission_cents,
    state = CASE WHEN c.state = 'available' AND excluded.state = 'pending' THEN c.state ELSE excluded.state END,
    updated_at = now()
WHERE c.state IN ('pending', 'available', 'reversed')
RETURNING (SELECT net_sales_cents FROM before) AS sales_before, c.net_sales_cents AS sales_now;

-- list_later_commissions --
-- A creator's commissions after an order, each with the sales that came before it: what they pay may have changed.
SELECT shopify_order_id, tier,
       (%(sales_so_far)s + coalesce(sum(net_sales_cents) OVER (ORDER BY ordered_at, shopify_order_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0))::bigint AS lifetime_cents
FROM commissions
WHERE creator_id = %(creator_id)s AND (ordered_at, shopify_order_id) > (%(ordered_at)s, %(order_id)s)
ORDER BY ordered_at, shopify_order_id;

-- find_review_standing --
-- What decides on a review e-mail beside the order: a review, a suppression, the row itself.
SELECT
    EXISTS (SELECT FROM reviews r WHERE r.shopify_order_id = %(order_id)s) AS reviewed,
    EXISTS (SELECT FROM email_suppressions s WHERE s.email = %(email)s) AS suppressed,
    EXISTS (SELECT FROM review_email_queue q WHERE q.shopify_order_id = %(order_id)s AND q.sequence = 1) AS has_row;

-- save_review_email --
-- The request's row, as long as the sender has not taken it.
INSERT INTO review_email_queue AS q (shopify_order_id, sequence, email, trigger, state, scheduled_at, awaiting_since,
                                     skip_reason)
VALUES (%(order_id)s, 1, %(email)s, %(trigger)s, %(state)s, %(scheduled_at)s, %(awaiting_since)s, %(skip_reason)s)
ON CONFLICT (tenant_id, shopify_order_id, sequence) DO UPDATE SET
    email = excluded.email, trigger = excluded.trigger, state = excluded.state, scheduled_at = excluded.scheduled_at,
    awaiting_since = excluded.awaiting_since, skip_reason = excluded.skip_reason, updated_at = now()
WHERE q.state IN ('pending', 'awaiting_delivery', 'scheduled', 'skipped');

-- list_stored_updates --
-- When each of these orders was last updated, as far as we know.
SELECT shopify_order_id, shopify_updated_at FROM orders WHERE shopify_order_id = ANY (%(order_ids)s);

-- save_discrepancies --
-- What reconciliation found, once per state.
INSERT INTO order_discrepancies (shopify_order_id, shopify_updated_at, kind)
SELECT r.shopify_order_id, r.shopify_updated_at, r.kind
FROM jsonb_populate_recordset(NULL::order_discrepancies, %(discrepancies)s) r
ON CONFLICT DO NOTHING;

-- save_registrations --
-- The webhook subscriptions that the shop has.
INSERT INTO webhook_registrations (shop_domain, topic, subscription_id, uri)
SELECT r.shop_domain, r.topic, r.subscription_id, r.uri
FROM jsonb_populate_recordset(NULL::webhook_registrations, %(registrations)s) r
ON CONFLICT (tenant_id, shop_domain, topic) DO UPDATE SET
    subscription_id = excluded.subscription_id, uri = excluded.uri, checked_at = now(), deleted_at = NULL;
