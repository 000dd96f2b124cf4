-- find_orders --
-- Orders as the rules read them, without a lock.
SELECT * FROM orders WHERE shopify_order_id = ANY (%(order_ids)s) ORDER BY shopify_order_id;

-- lock_orders --
-- The same, locked: whoever recomputes what follows from orders holds their rows, taken in order of their ids.
SELECT * FROM orders WHERE shopify_order_id = ANY (%(order_ids)s) ORDER BY shopify_order_id FOR NO KEY UPDATE;

-- save_orders --
-- Write orders as they are now. An older state never overwrites a newer one (with only_newer: nor one of the same
-- instant); the ids that were written come back.
INSERT INTO orders AS o (
    shopify_order_id, order_number, shopify_customer_id, email, currency, gross_cents, discount_cents, net_cents,
    shipping_cents, tax_cents, total_cents, refunded_cents, refunded_net_cents, financial_status, fulfillment_status,
    status, test, weight_grams, tags, discount_codes, attributes, visitor_id, landing_page, referrer_url, utm, visited_at,
    cancel_reason, placed_at, fulfilled_at, delivered_at, cancelled_at, shopify_updated_at, content_hash)
SELECT
    r.shopify_order_id, r.order_number, r.shopify_customer_id, r.email, r.currency, r.gross_cents, r.discount_cents,
    r.net_cents, r.shipping_cents, r.tax_cents, r.total_cents, r.refunded_cents, r.refunded_net_cents,
    r.financial_status, r.fulfillment_status, r.status, r.test, r.weight_grams, r.tags, r.discount_codes, r.attributes, r.visitor_id,
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
    weight_grams = excluded.weight_grams, tags = excluded.tags, discount_codes = excluded.discount_codes, attributes = excluded.attributes,
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

-- lock_owners --
-- One at a time recomputes what belongs to a visitor, a customer or a creator. The keys are taken in their own order, so
-- that two sets that share some never wait for each other.
SELECT pg_advisory_xact_lock(k.key) FROM (
    SELECT DISTINCT hashtextextended(current_tenant()::text || o.owner, 1) AS key
    FROM unnest(%(owners)s::text[]) AS o(owner)
    ORDER BY key OFFSET 0
) k;

-- save_own_touches --
-- The touches that orders carry themselves. Those come back that are new or have changed.
WITH told AS (
    SELECT * FROM jsonb_populate_recordset(NULL::attribution_touchpoints, %(touches)s)
), moved AS (
    DELETE FROM attribution_touchpoints t USING told r
    WHERE t.touchpoint_id = r.touchpoint_id AND t.occurred_at <> r.occurred_at
)
INSERT INTO attribution_touchpoints AS t (
    touchpoint_id, dedupe_hash, visitor_id, shopify_customer_id, shopify_order_id, channel, source, medium, campaign,
    click_id, landing_page, referrer_url, type, occurred_at)
SELECT r.touchpoint_id, r.dedupe_hash, r.visitor_id, r.shopify_customer_id, r.shopify_order_id, r.channel, r.source,
       r.medium, r.campaign, r.click_id, r.landing_page, r.referrer_url, 'click', r.occurred_at
FROM told r
ORDER BY r.touchpoint_id
ON CONFLICT (tenant_id, touchpoint_id, occurred_at) DO UPDATE SET
    visitor_id = excluded.visitor_id, shopify_customer_id = excluded.shopify_customer_id, channel = excluded.channel,
    source = excluded.source, medium = excluded.medium, campaign = excluded.campaign, click_id = excluded.click_id,
    landing_page = excluded.landing_page, referrer_url = excluded.referrer_url
WHERE (t.visitor_id, t.shopify_customer_id, t.channel, t.source, t.medium, t.campaign)
      IS DISTINCT FROM (excluded.visitor_id, excluded.shopify_customer_id, excluded.channel, excluded.source,
                        excluded.medium, excluded.campaign)
RETURNING t.touchpoint_id;

-- list_later_orders --
-- Other orders whose conversions the arrival of these may change: those of the same visitor (where a visitor is unknown,
-- customer; where a visitor is known to be a customer, theirs) within the longest window after a touch that is new, and a
-- customer's later order that was counted as the first.
WITH touched AS (
    SELECT t.visitor_id, t.shopify_customer_id, t.occurred_at, t.occurred_at + %(look_back)s AS closes_at
    FROM attribution_touchpoints t WHERE t.touchpoint_id = ANY (%(touchpoint_ids)s)
), changed AS (
    SELECT o.shopify_order_id FROM touched t JOIN orders o ON o.visitor_id = t.visitor_id
        AND o.placed_at BETWEEN t.occurred_at AND t.closes_at
    UNION
    SELECT o.shopify_order_id FROM touched t JOIN orders o ON o.shopify_customer_id = t.shopify_customer_id
        AND o.visitor_id IS NULL AND o.placed_at BETWEEN t.occurred_at AND t.closes_at
    UNION
    SELECT o.shopify_order_id FROM touched t JOIN attribution_identities i ON i.visitor_id = t.visitor_id
    JOIN orders o ON o.shopify_customer_id = i.shopify_customer_id AND o.placed_at BETWEEN t.occurred_at AND t.closes_at
    UNION
    SELECT o.shopify_order_id FROM orders mine JOIN orders o ON o.shopify_customer_id = mine.shopify_customer_id
        AND (o.placed_at, o.shopify_order_id) > (mine.placed_at, mine.shopify_order_id)
    JOIN attribution_conversions c ON c.shopify_order_id = o.shopify_order_id AND c.first_purchase
    WHERE mine.shopify_order_id = ANY (%(order_ids)s)
)
SELECT o.* FROM orders o
WHERE o.shopify_order_id IN (SELECT shopify_order_id FROM changed)
  AND o.shopify_order_id <> ALL (%(order_ids)s)
  AND EXISTS (SELECT FROM attribution_conversions c WHERE c.shopify_order_id = o.shopify_order_id)
ORDER BY o.shopify_order_id;

-- list_journeys --
-- What each order's conversion is computed from.
SELECT * FROM attribution_journeys(%(order_ids)s, %(look_back)s, %(types)s) j
ORDER BY j.shopify_order_id, j.occurred_at, j.touchpoint_id;

-- list_weights --
-- What the tenant's training has learnt, where it had enough to learn from.
SELECT channel, weight FROM attribution_weights WHERE conversions >= 300;

-- save_conversions --
-- One conversion an order, with every model's credits. Of told_ids those come back that are told for the first time.
SELECT * FROM save_conversions(%(conversions)s, %(credits)s, %(told_ids)s) AS s (shopify_order_id);

-- delete_conversions --
-- Of orders that have not, or no longer, what makes a conversion.
DELETE FROM attribution_conversions WHERE shopify_order_id = ANY (%(order_ids)s);

-- list_booked_creators --
-- The creators of these orders' commissions, of those that have one already.
SELECT c.shopify_order_id, c.creator_id, c.code, r.rate_basis_points
FROM commissions c JOIN creators r ON r.creator_id = c.creator_id
WHERE c.shopify_order_id = ANY (%(order_ids)s);

-- list_creators_by_code --
-- Active creators of any of these codes, whatever their case.
SELECT creator_id, code, rate_basis_points FROM creators
WHERE status = 'active' AND lower(code) = ANY (%(codes)s);

-- sum_earlier_sales --
-- A creator's net sales before each of these orders, as ordered. The orders' own sales count as they are told, unless
-- their commission has been decided on.
WITH told AS (
    SELECT r.shopify_order_id, r.creator_id, r.ordered_at, coalesce(c.net_sales_cents, r.net_sales_cents) AS cents
    FROM jsonb_populate_recordset(NULL::commissions, %(sales)s) r
    LEFT JOIN commissions c ON c.shopify_order_id = r.shopify_order_id
        AND c.state NOT IN ('pending', 'available', 'reversed')
), sales AS (
    SELECT shopify_order_id, creator_id, ordered_at, cents, true AS asked FROM told
    UNION ALL
    SELECT c.shopify_order_id, c.creator_id, c.ordered_at, c.net_sales_cents, false FROM commissions c
    WHERE c.creator_id IN (SELECT creator_id FROM told) AND c.ordered_at <= (SELECT max(ordered_at) FROM told)
      AND c.shopify_order_id NOT IN (SELECT shopify_order_id FROM told)
), summed AS (
    SELECT shopify_order_id, asked, coalesce(sum(cents) OVER (
        PARTITION BY creator_id ORDER BY ordered_at, shopify_order_id
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::bigint AS cents
    FROM sales
)
SELECT shopify_order_id, cents FROM summed WHERE asked;

-- save_commissions --
-- One commission an order, as long as it has not been decided on. Those come back that were written, with the sales that
-- counted before and that count now.
WITH wanted AS (
    SELECT * FROM jsonb_populate_recordset(NULL::commissions, %(commissions)s)
), before AS (
    SELECT c.shopify_order_id, c.net_sales_cents FROM commissions c
    WHERE c.shopify_order_id IN (SELECT shopify_order_id FROM wanted)
)
INSERT INTO commissions AS c (shopify_order_id, creator_id, code, currency, net_sales_cents, rate_basis_points, tier,
                              earned_cents, commission_cents, state, ordered_at)
SELECT w.shopify_order_id, w.creator_id, w.code, w.currency, w.net_sales_cents, w.rate_basis_points, w.tier,
       w.earned_cents, w.commission_cents, w.state, w.ordered_at
FROM wanted w
ORDER BY w.shopify_order_id
ON CONFLICT (tenant_id, shopify_order_id) DO UPDATE SET
    net_sales_cents = excluded.net_sales_cents, rate_basis_points = excluded.rate_basis_points, tier = excluded.tier,
    earned_cents = excluded.earned_cents, commission_cents = excluded.commission_cents,
    state = CASE WHEN c.state = 'available' AND excluded.state = 'pending' THEN c.state ELSE excluded.state END,
    updated_at = now()
WHERE c.state IN ('pending', 'available', 'reversed')
RETURNING c.shopify_order_id,
    (SELECT b.net_sales_cents FROM before b WHERE b.shopify_order_id = c.shopify_order_id) AS sales_before,
    c.net_sales_cents AS sales_now;

-- list_later_commissions --
-- The same creators' commissions after the first of these orders, each with the sales that came before it: what they pay
-- may have changed.
WITH first AS (
    SELECT DISTINCT ON (creator_id) creator_id, ordered_at, shopify_order_id FROM commissions
    WHERE shopify_order_id = ANY (%(order_ids)s)
    ORDER BY creator_id, ordered_at, shopify_order_id
), disturbed AS MATERIALIZED (
    SELECT f.* FROM first f WHERE EXISTS (
        SELECT FROM commissions c WHERE c.creator_id = f.creator_id AND c.shopify_order_id <> ALL (%(order_ids)s)
            AND (c.ordered_at, c.shopify_order_id) > (f.ordered_at, f.shopify_order_id))
), summed AS (
    SELECT c.*, coalesce(sum(c.net_sales_cents) OVER (
        PARTITION BY c.creator_id ORDER BY c.ordered_at, c.shopify_order_id
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::bigint AS lifetime_cents
    FROM commissions c WHERE c.creator_id IN (SELECT creator_id FROM disturbed)
)
SELECT s.shopify_order_id, s.creator_id, s.tier, s.lifetime_cents
FROM disturbed d JOIN summed s ON s.creator_id = d.creator_id
    AND (s.ordered_at, s.shopify_order_id) > (d.ordered_at, d.shopify_order_id)
WHERE s.shopify_order_id <> ALL (%(order_ids)s)
ORDER BY s.ordered_at, s.shopify_order_id;

-- list_review_standings --
-- What decides on review e-mails beside the orders: a review, a suppression, the row itself.
SELECT o.shopify_order_id,
    EXISTS (SELECT FROM reviews r WHERE r.shopify_order_id = o.shopify_order_id) AS reviewed,
    EXISTS (SELECT FROM email_suppressions s WHERE s.email = o.email) AS suppressed,
    EXISTS (SELECT FROM review_email_queue q
            WHERE q.shopify_order_id = o.shopify_order_id AND q.sequence = 1) AS has_row
FROM orders o WHERE o.shopify_order_id = ANY (%(order_ids)s);

-- save_review_emails --
-- The requests' rows, as long as the sender has not taken them. What is scheduled although its parcel has not come has
-- waited long enough: it does not wait again.
INSERT INTO review_email_queue AS q (shopify_order_id, sequence, email, trigger, state, scheduled_at, awaiting_since,
                                     skip_reason)
SELECT r.shopify_order_id, 1, r.email, r.trigger, r.state, r.scheduled_at, r.awaiting_since, r.skip_reason
FROM jsonb_populate_recordset(NULL::review_email_queue, %(emails)s) r
ORDER BY r.shopify_order_id
ON CONFLICT (tenant_id, shopify_order_id, sequence) DO UPDATE SET
    email = excluded.email, trigger = excluded.trigger, state = excluded.state, scheduled_at = excluded.scheduled_at,
    awaiting_since = excluded.awaiting_since, skip_reason = excluded.skip_reason, updated_at = now()
WHERE q.state IN ('pending', 'awaiting_delivery', 'scheduled', 'skipped')
  AND NOT (q.state = 'scheduled' AND q.awaiting_since IS NOT NULL AND excluded.state = 'awaiting_delivery');

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
