-- find_order --
-- An order with who bought it, where they live, and its lines; sums are as it was placed.
SELECT o.shopify_order_id, o.currency, o.net_cents, o.total_cents, o.tax_cents, o.shipping_cents, o.test, o.discount_codes,
       o.attributes, o.landing_page, o.visited_at, o.placed_at, coalesce(o.email, c.email) AS email,
       o.shopify_customer_id, c.first_name, c.last_name, coalesce(c.phone, a.phone) AS phone, a.city, a.province_code,
       a.zip, a.country_code,
       EXISTS (SELECT FROM attribution_conversions v WHERE v.shopify_order_id = o.shopify_order_id) AS converted,
       coalesce((SELECT jsonb_agg(jsonb_build_object(
                     'line_id', l.shopify_line_id, 'product_id', l.shopify_product_id, 'variant_id', l.shopify_variant_id,
                     'sku', l.sku, 'title', l.title, 'quantity', l.quantity,
                     'cents', l.unit_price_cents * l.quantity - l.discount_cents) ORDER BY l.shopify_line_id)
                 FROM order_line_items l WHERE l.shopify_order_id = o.shopify_order_id), '[]') AS lines
FROM orders o
LEFT JOIN customers c ON c.shopify_customer_id = o.shopify_customer_id
LEFT JOIN customer_addresses a ON a.shopify_customer_id = c.shopify_customer_id
    AND a.shopify_address_id = c.default_address_id
WHERE o.shopify_order_id = %(order_id)s;

-- find_refund --
-- A refund with its lines.
SELECT r.shopify_refund_id, r.shopify_order_id, r.amount_cents, r.net_cents, r.refunded_at,
       coalesce((SELECT jsonb_agg(jsonb_build_object('line_id', l.shopify_line_id, 'quantity', l.quantity,
                                                     'cents', l.subtotal_cents) ORDER BY l.shopify_line_id)
                 FROM refund_line_items l WHERE l.shopify_refund_id = r.shopify_refund_id), '[]') AS lines
FROM refunds r WHERE r.shopify_refund_id = %(refund_id)s;

-- list_standings --
-- How an order's purchase stands at each platform.
SELECT e.destination, e.state FROM conversion_events_sent e
WHERE e.shopify_order_id = %(order_id)s AND e.event_name = 'purchase' ORDER BY e.destination;

-- lock_order --
-- Until the transaction ends nobody else decides what is told of this order's refunds.
SELECT FROM orders o WHERE o.shopify_order_id = %(order_id)s FOR NO KEY UPDATE;

-- pick_untold_refunds --
-- Refunds of an order that a platform was not told, since it did not know of the purchase.
SELECT e.subject::bigint AS shopify_refund_id FROM conversion_events_sent e
WHERE e.shopify_order_id = %(order_id)s AND e.destination = %(destination)s AND e.event_name = 'refund'
  AND e.state = 'skipped' AND e.reason = 'no_purchase' ORDER BY 1;

-- pick_told --
-- How an order's purchase stands at each platform, and since when the platform may know its id.
SELECT e.destination, e.state, e.first_told_at, e.updated_at FROM conversion_events_sent e
WHERE e.shopify_order_id = %(order_id)s AND e.event_name = 'purchase' ORDER BY e.destination;

-- pick_mappings --
-- How many accounts of each platform are synced.
SELECT m.platform, count(*)::integer AS accounts FROM ad_account_mappings m WHERE m.active GROUP BY 1 ORDER BY 1;

-- claim_event --
-- Take an event to tell it, whose row is as it was before the claim. Nobody else's claim is taken before it has ended,
-- and nothing that was told, refused to be told, or may have been told for too long. A refund that was refused for want of
-- its purchase may be told once that is.
WITH before AS (
    SELECT e.state, e.run_id, e.lease_until, e.first_told_at FROM conversion_events_sent e
    WHERE e.destination = %(destination)s AND e.event_name = %(event_name)s AND e.subject = %(subject_key)s
    FOR UPDATE
), taken AS (
    INSERT INTO conversion_events_sent AS e (destination, event_name, subject, shopify_order_id, event_id, state,
        value_cents, currency, payload_hash, attempts, run_id, lease_until, occurred_at, first_told_at, updated_at)
    VALUES (%(destination)s, %(event_name)s, %(subject_key)s, %(order_id)s, %(event_key)s, 'claimed', %(value_cents)s,
        %(currency)s, %(payload_hash)s, 1, %(run_id)s, %(lease_at)s, %(occurred_at)s, %(now_at)s, %(now_at)s)
    ON CONFLICT (tenant_id, destination, event_name, subject) DO UPDATE SET
        state = 'claimed', reason = NULL, value_cents = excluded.value_cents, payload_hash = excluded.payload_hash,
        attempts = e.attempts + 1, run_id = excluded.run_id, lease_until = excluded.lease_until,
        first_told_at = CASE WHEN e.state IN ('failed', 'skipped') THEN excluded.first_told_at ELSE e.first_told_at END,
        updated_at = excluded.updated_at
    WHERE e.state = 'failed' OR (e.state = 'skipped' AND e.reason = 'no_purchase')
       OR (%(repeatable)s AND e.state = 'sent')
       OR (%(repeatable)s AND e.state = 'claimed' AND (e.run_id = %(run_id)s OR e.lease_until <= %(now_at)s))
    RETURNING e.first_told_at
)
SELECT (SELECT b.state FROM before b) AS state, (SELECT b.run_id FROM before b) = %(run_id)s AS own,
       (SELECT b.lease_until FROM before b) > %(now_at)s AS held, (SELECT t.first_told_at FROM taken t) AS first_told_at;

-- record_event --
-- What became of an event; only of the run's own claim.
UPDATE conversion_events_sent e
SET state = %(event_state)s, reason = %(reason)s, answer = %(event_answer)s, lease_until = NULL, updated_at = %(now_at)s
WHERE e.destination = %(destination)s AND e.event_name = %(event_name)s AND e.subject = %(subject_key)s
  AND e.run_id = %(run_id)s AND e.state = 'claimed';

-- leave_event --
-- A claim that was left behind, of an event that may not be told twice: whether it was told is not known.
UPDATE conversion_events_sent e
SET state = 'sent', reason = 'outcome_unknown', lease_until = NULL, updated_at = %(now_at)s
WHERE e.destination = %(destination)s AND e.event_name = %(event_name)s AND e.subject = %(subject_key)s
  AND e.state IN ('claimed', 'sent') AND (e.state = 'sent' OR e.run_id = %(run_id)s OR e.lease_until <= %(now_at)s);

-- skip_event --
-- An event that is not to be told, and why.
INSERT INTO conversion_events_sent (destination, event_name, subject, shopify_order_id, event_id, state, reason,
    value_cents, currency, occurred_at, updated_at)
VALUES (%(destination)s, %(event_name)s, %(subject_key)s, %(order_id)s, %(event_key)s, 'skipped', %(reason)s,
    0, %(currency)s, %(occurred_at)s, %(now_at)s)
ON CONFLICT (tenant_id, destination, event_name, subject) DO NOTHING;

-- pick_accounts --
-- The accounts of a platform whose spend is synced.
SELECT m.platform, m.account_id, m.currency FROM ad_account_mappings m
WHERE m.platform = %(platform)s AND m.active ORDER BY m.account_id;

-- map_account --
-- Name an account, or change how it counts: what was synced of it follows.
WITH counted AS (
    UPDATE ad_spend s SET counts_for_pnl = %(counts_is_on)s
    WHERE s.platform = %(platform)s AND s.account_id = %(account_id)s AND s.counts_for_pnl <> %(counts_is_on)s
)
INSERT INTO ad_account_mappings (platform, account_id, currency, active, counts_for_pnl)
VALUES (%(platform)s, %(account_id)s, %(currency)s, %(active_is_on)s, %(counts_is_on)s)
ON CONFLICT (tenant_id, platform, account_id) DO UPDATE SET
    currency = excluded.currency, active = excluded.active, counts_for_pnl = excluded.counts_for_pnl;

-- delete_vanished_days --
-- Campaigns that a platform reports no more for these days of an account.
DELETE FROM ad_spend s
WHERE s.platform = %(platform)s AND s.account_id = %(account_id)s AND s.spent_on BETWEEN %(first_day)s AND %(last_day)s
  AND NOT EXISTS (SELECT FROM jsonb_populate_recordset(NULL::ad_spend, %(spend_days)s) w
                  WHERE w.platform = s.platform AND w.account_id = s.account_id AND w.spent_on = s.spent_on
                    AND w.campaign_id = s.campaign_id);

-- save_days --
-- What campaigns cost, as it is reported now.
INSERT INTO ad_spend AS s (platform, spent_on, account_id, campaign_id, campaign_name, currency, spend_cents, impressions,
    clicks, conversions, conversion_value_cents, counts_for_pnl)
SELECT w.platform, w.spent_on, w.account_id, w.campaign_id, w.campaign_name, w.currency, w.spend_cents, w.impressions,
       w.clicks, w.conversions, w.conversion_value_cents, coalesce(m.counts_for_pnl, true)
FROM jsonb_populate_recordset(NULL::ad_spend, %(spend_days)s) w
LEFT JOIN ad_account_mappings m ON m.platform = w.platform AND m.account_id = w.account_id
ON CONFLICT (tenant_id, platform, spent_on, account_id, campaign_id) DO UPDATE SET
    campaign_name = excluded.campaign_name, currency = excluded.currency, spend_cents = excluded.spend_cents,
    impressions = excluded.impressions, clicks = excluded.clicks, conversions = excluded.conversions,
    conversion_value_cents = excluded.conversion_value_cents, counts_for_pnl = excluded.counts_for_pnl, synced_at = now();

-- schedule_next --
-- When the schedule is to ask this tenant again.
SELECT mark_due(%(schedule)s, %(due_at)s);

-- pick_all_accounts --
-- Every synced account.
SELECT m.platform, m.account_id, m.currency FROM ad_account_mappings m WHERE m.active ORDER BY 1, 2;

-- delete_vanished_views --
-- Campaigns to which a platform credits nothing more for these days of an account.
DELETE FROM ad_view_conversions v
WHERE v.platform = %(platform)s AND v.account_id = %(account_id)s AND v.viewed_on BETWEEN %(first_day)s AND %(last_day)s
  AND NOT EXISTS (SELECT FROM jsonb_populate_recordset(NULL::ad_view_conversions, %(view_days)s) w
                  WHERE w.platform = v.platform AND w.account_id = v.account_id AND w.viewed_on = v.viewed_on
                    AND w.campaign_id = v.campaign_id);

-- save_views --
-- What is credited to views now.
INSERT INTO ad_view_conversions AS v (platform, viewed_on, account_id, campaign_id, campaign_name, currency, conversions,
    conversion_value_cents)
SELECT w.platform, w.viewed_on, w.account_id, w.campaign_id, w.campaign_name, w.currency, w.conversions,
       w.conversion_value_cents
FROM jsonb_populate_recordset(NULL::ad_view_conversions, %(view_days)s) w
ON CONFLICT (tenant_id, platform, viewed_on, account_id, campaign_id) DO UPDATE SET
    campaign_name = excluded.campaign_name, currency = excluded.currency, conversions = excluded.conversions,
    conversion_value_cents = excluded.conversion_value_cents, synced_at = now();

-- pick_connections --
-- What is stored of each of these platforms, and since when; unknown once a secret was replaced.
SELECT c.provider, array_agg(c.name) AS names, CASE WHEN bool_and(c.version = 1) THEN max(c.updated_at) END AS since
FROM credentials c WHERE c.provider = ANY (%(destinations)s) AND c.app = 'default' GROUP BY c.provider ORDER BY 1;

-- pick_day_orders --
-- The next orders of a day after an order, each with how its purchase stands in the ledgers.
SELECT o.shopify_order_id, o.placed_at, o.currency, o.net_cents, o.total_cents, o.test, o.attributes,
       o.visitor_id IS NOT NULL OR o.shopify_customer_id IS NOT NULL AS identified, c.told,
       coalesce((SELECT jsonb_object_agg(e.destination, jsonb_build_object(
                     'state', e.state, 'reason', e.reason, 'value_cents', e.value_cents, 'noted_at', e.updated_at))
                 FROM conversion_events_sent e
                 WHERE e.shopify_order_id = o.shopify_order_id AND e.event_name = 'purchase'), '{}') AS ledger
FROM orders o LEFT JOIN attribution_conversions c ON c.shopify_order_id = o.shopify_order_id
WHERE o.placed_at >= %(opened_at)s AND o.placed_at < %(closes_at)s AND o.shopify_order_id > %(after_id)s
ORDER BY o.shopify_order_id LIMIT %(page)s;

-- pick_day_refunds --
-- The next refunds of a day after a refund, each with its order, how that one's purchase stands in the ledgers, and how it
-- stands there itself.
SELECT r.shopify_refund_id, r.refunded_at, r.net_cents AS refund_net_cents, r.amount_cents, o.shopify_order_id, o.placed_at,
       o.currency, o.net_cents, o.total_cents, o.test, o.attributes,
       o.visitor_id IS NOT NULL OR o.shopify_customer_id IS NOT NULL AS identified, c.told,
       (SELECT coalesce(jsonb_object_agg(e.destination, jsonb_build_object(
                   'state', e.state, 'reason', e.reason, 'value_cents', e.value_cents, 'noted_at', e.updated_at)), '{}')
        FROM conversion_events_sent e
        WHERE e.shopify_order_id = o.shopify_order_id AND e.event_name = 'purchase') AS ledger,
       (SELECT coalesce(jsonb_object_agg(e.destination, jsonb_build_object(
                   'state', e.state, 'reason', e.reason, 'value_cents', e.value_cents, 'noted_at', e.updated_at)), '{}')
        FROM conversion_events_sent e
        WHERE e.event_name = 'refund' AND e.subject = r.shopify_refund_id::text) AS refund_ledger
FROM refunds r JOIN orders o ON o.shopify_order_id = r.shopify_order_id
LEFT JOIN attribution_conversions c ON c.shopify_order_id = o.shopify_order_id
WHERE r.refunded_at >= %(opened_at)s AND r.refunded_at < %(closes_at)s AND r.shopify_refund_id > %(after_id)s
ORDER BY r.shopify_refund_id LIMIT %(page)s;

-- save_reconciliation --
-- What a day came to at a platform.
INSERT INTO ad_event_reconciliations AS r (reconciled_on, destination, event_name, currency, orders, excluded, other_currency,
    expected, expected_cents, sent, sent_cents, acknowledged, acknowledged_cents, missing, unacknowledged, unlike, unexpected)
VALUES (%(reconciled_on)s, %(destination)s, %(event_name)s, %(currency)s, %(orders_counted)s, %(excluded_orders)s, %(other_currency_orders)s,
    %(expected_purchases)s, %(expected_cents)s, %(sent_purchases)s, %(sent_cents)s, %(acknowledged_purchases)s, %(acknowledged_cents)s, %(missing_purchases)s,
    %(unacknowledged_purchases)s, %(unlike_purchases)s, %(unexpected_purchases)s)
ON CONFLICT (tenant_id, reconciled_on, destination, event_name) DO UPDATE SET
    currency = excluded.currency, orders = excluded.orders, excluded = excluded.excluded,
    other_currency = excluded.other_currency, expected = excluded.expected, expected_cents = excluded.expected_cents,
    sent = excluded.sent, sent_cents = excluded.sent_cents, acknowledged = excluded.acknowledged,
    acknowledged_cents = excluded.acknowledged_cents, missing = excluded.missing, unacknowledged = excluded.unacknowledged,
    unlike = excluded.unlike, unexpected = excluded.unexpected, calculated_at = now();
