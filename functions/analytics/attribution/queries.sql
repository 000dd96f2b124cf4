-- lock_orders --
-- Orders as attribution sees them, locked as the order chain locks them: in order of their ids.
SELECT o.shopify_order_id, o.visitor_id, o.shopify_customer_id, o.currency, o.total_cents, o.placed_at, o.test,
       CASE o.status WHEN 'cancelled' THEN 0 ELSE greatest(0, o.total_cents - o.refunded_cents) END AS remaining_cents
FROM orders o WHERE o.shopify_order_id = ANY (%(order_ids)s)
ORDER BY o.shopify_order_id FOR NO KEY UPDATE;

-- lock_owners --
-- One at a time recomputes what belongs to a visitor or a customer; the keys are those of the order chain.
SELECT pg_advisory_xact_lock(k.key) FROM (
    SELECT DISTINCT hashtextextended(current_tenant()::text || o.owner, 1) AS key
    FROM unnest(%(owners)s::text[]) AS o(owner)
    ORDER BY key OFFSET 0
) k;

-- list_weights --
-- What the tenant's training has learnt, where it had enough to learn from.
SELECT channel, weight FROM attribution_weights WHERE conversions >= 300;

-- list_journeys --
-- What each order's conversion is computed from.
SELECT * FROM attribution_journeys(%(order_ids)s, %(look_back)s, %(types)s) j
ORDER BY j.shopify_order_id, j.occurred_at, j.touchpoint_id;

-- save_conversions --
-- One conversion an order, with every model's credits.
SELECT * FROM save_conversions(%(conversions)s, %(credits)s, '{}') AS s (shopify_order_id);

-- delete_conversions --
-- Of orders that have not, or no longer, what makes a conversion.
DELETE FROM attribution_conversions WHERE shopify_order_id = ANY (%(order_ids)s);

-- has_refund --
-- Whether a refund is stored with its order.
SELECT 1 AS stored FROM refunds WHERE shopify_refund_id = %(refund_id)s;

-- pick_platforms --
-- Of which of these providers the tenant has stored a credential.
SELECT DISTINCT c.provider FROM credentials c WHERE c.provider = ANY (%(destinations)s) ORDER BY 1;

-- cut_range --
-- The times at which a range's chunks begin: of equal size, at most so many conversions each, and as many of them as leave
-- none of those idle who work on them side by side. Conversions of one instant stay together.
SELECT DISTINCT r.converted_at FROM (
    SELECT c.converted_at, row_number() OVER (ORDER BY c.converted_at) - 1 AS place, count(*) OVER () AS number
    FROM attribution_conversions c WHERE c.converted_at >= %(begin_at)s AND c.converted_at < %(end_at)s
) r WHERE r.place %% ceil(r.number / (%(abreast)s * ceil(r.number / (%(abreast)s * %(page)s::numeric))))::bigint = 0
ORDER BY r.converted_at;

-- begin_chunk --
-- The place of a chunk of conversions, until the transaction ends.
CREATE TEMPORARY TABLE attribution_chunk (
    place integer, shopify_order_id bigint, visitor_id text, shopify_customer_id bigint, revenue_cents bigint,
    touchpoints integer, opened_at timestamptz, converted_at timestamptz, calculated_at timestamptz) ON COMMIT DROP;

-- fill_chunk --
-- A time's conversions in their order, with what refunds leave of them, and from when on touches lead to them. One of 90
-- million and more stays as the order chain has computed it: its cents times a weight would pass 64 bits.
INSERT INTO attribution_chunk
SELECT row_number() OVER (ORDER BY c.converted_at, c.shopify_order_id) - 1, c.shopify_order_id, c.visitor_id,
       c.shopify_customer_id, c.revenue_cents, c.touchpoints, c.converted_at - %(look_back)s, c.converted_at, c.calculated_at
FROM attribution_conversions c
WHERE c.converted_at >= %(since)s AND c.converted_at < %(until)s AND c.revenue_cents < 9000000000;

-- hold_chunk --
-- So that a chunk's conversions are held in memory while the touches of its time are passed by them: else these would be
-- written aside and read again.
SET LOCAL work_mem = '32MB';

-- know_chunk --
-- So that Postgres plans for as many conversions as there are.
ANALYZE attribution_chunk;

-- pack_conversions --
-- The chunk's orders by place: as bytes, which costs less than a row each.
SELECT string_agg(int8send(k.shopify_order_id) || int8send(k.revenue_cents) || timestamptz_send(k.converted_at)
                  || timestamptz_send(k.calculated_at) || int4send(k.touchpoints), '' ORDER BY k.place) AS packed
FROM attribution_chunk k;

-- pack_standing --
-- What stands of the chunk's credits: a digest of each row, as it would be copied in. Looked up one by one: a chunk is a
-- small part of a tenant's conversions.
SELECT string_agg(int4send(k.place) || int4send(a.window_days) || decode(md5(
           int4send(octet_length(a.ids)) || a.ids || int4send(octet_length(a.codes)) || a.codes
           || int4send(octet_length(a.shares)) || a.shares || int4send(octet_length(a.money)) || a.money), 'hex'), '') AS packed
FROM attribution_chunk k CROSS JOIN LATERAL (
    SELECT c.window_days, array_send(c.touchpoint_ids) AS ids, array_send(c.channels) AS codes,
           array_send(c.credits) AS shares, array_send(c.cents) AS money
    FROM attribution_credits c WHERE c.shopify_order_id = k.shopify_order_id OFFSET 0
) a;

-- pack_touches --
-- What may lead to the chunk's conversions, one touch as often as it is found: by visitor, by customer where no visitor is
-- known, by visitors that are known to be the customer, and the orders' own. As bytes, in no order.
SELECT string_agg(int4send(t.place) || uuid_send(t.touchpoint_id)
                  || int2send(array_position(%(channels)s::text[], t.channel)::smallint) || timestamptz_send(t.occurred_at), '')
       AS packed
FROM (
    SELECT k.place, t.touchpoint_id, t.channel, t.occurred_at
    FROM attribution_chunk k JOIN attribution_touchpoints t ON t.visitor_id = k.visitor_id
    WHERE t.occurred_at BETWEEN k.opened_at AND k.converted_at
      AND t.occurred_at >= %(first_at)s AND t.occurred_at < %(until)s AND t.type = ANY (%(types)s)
    UNION ALL
    SELECT k.place, t.touchpoint_id, t.channel, t.occurred_at
    FROM attribution_chunk k JOIN attribution_touchpoints t ON t.shopify_customer_id = k.shopify_customer_id
    WHERE k.visitor_id IS NULL AND t.occurred_at BETWEEN k.opened_at AND k.converted_at
      AND t.occurred_at >= %(first_at)s AND t.occurred_at < %(until)s AND t.type = ANY (%(types)s)
    UNION ALL
    SELECT k.place, t.touchpoint_id, t.channel, t.occurred_at
    FROM attribution_chunk k JOIN attribution_identities i ON i.shopify_customer_id = k.shopify_customer_id
    JOIN attribution_touchpoints t ON t.visitor_id = i.visitor_id
    WHERE t.occurred_at BETWEEN k.opened_at AND k.converted_at
      AND t.occurred_at >= %(first_at)s AND t.occurred_at < %(until)s AND t.type = ANY (%(types)s)
    UNION ALL
    SELECT k.place, t.touchpoint_id, t.channel, t.occurred_at
    FROM attribution_chunk k JOIN attribution_touchpoints t ON t.shopify_order_id = k.shopify_order_id
    WHERE t.visitor_id IS DISTINCT FROM k.visitor_id AND t.occurred_at BETWEEN k.opened_at AND k.converted_at
      AND t.occurred_at >= %(first_at)s AND t.occurred_at < %(until)s AND t.type = ANY (%(types)s)
) t;

-- stage_credits --
-- Where the chunk's new credits lie before they are compared with what stands.
CREATE TEMPORARY TABLE attribution_staged (
    shopify_order_id bigint, window_days integer, touchpoint_ids uuid[], channels smallint[], credits integer[], cents bigint[])
    ON COMMIT DROP;

-- copy_credits --
-- Stage credits.
COPY attribution_staged FROM STDIN (FORMAT binary);

-- lock_computed --
-- Of these conversions those that nobody has computed since they were read (at so many microseconds since 2000), locked until
-- they are written. All of them lie between two times: without these every conversion would be read for each part.
SELECT string_agg(int8send(l.shopify_order_id), '') AS packed FROM (
    SELECT c.shopify_order_id FROM unnest(%(computed_ids)s::bigint[], %(computed_at_us)s::bigint[]) k (order_id, at_us)
    JOIN attribution_conversions c ON c.shopify_order_id = k.order_id
        AND c.calculated_at = timestamptz '2000-01-01 00:00:00+00' + k.at_us * interval '1 microsecond'
    WHERE c.converted_at BETWEEN %(since)s AND %(until)s
    ORDER BY c.shopify_order_id FOR NO KEY UPDATE OF c
) l;

-- write_credits --
-- The staged credits.
INSERT INTO attribution_credits AS a (shopify_order_id, window_days, touchpoint_ids, channels, credits, cents)
SELECT s.shopify_order_id, s.window_days, s.touchpoint_ids, s.channels, s.credits, s.cents FROM attribution_staged s
ON CONFLICT (tenant_id, shopify_order_id, window_days) DO UPDATE SET
    touchpoint_ids = excluded.touchpoint_ids, channels = excluded.channels, credits = excluded.credits, cents = excluded.cents;

-- drop_credits --
-- Windows of conversions that no longer have a touch.
DELETE FROM attribution_credits a USING unnest(%(gone_ids)s::bigint[], %(gone_windows)s::integer[]) g (order_id, window_days)
WHERE a.shopify_order_id = g.order_id AND a.window_days = g.window_days;

-- count_touches --
-- How many touches conversions have now.
UPDATE attribution_conversions c SET touchpoints = n.touches, calculated_at = now(),
       status = CASE WHEN n.touches > 0 THEN 'attributed' ELSE 'unattributed' END
FROM unnest(%(counted_ids)s::bigint[], %(touch_counts)s::integer[]) n (order_id, touches) WHERE c.shopify_order_id = n.order_id;

-- wants_credits --
-- Whether anybody wants to be told of changed credits.
SELECT 1 AS listener FROM attribution_webhooks w WHERE w.active AND 'attribution.calculated' = ANY (w.events) LIMIT 1;

-- tell_of_credits --
-- Have those told of changed credits who want to be.
SELECT queue_webhooks('attribution.calculated', ARRAY(
    SELECT c.shopify_order_id::text FROM attribution_conversions c
    WHERE c.told AND c.shopify_order_id = ANY (%(computed_ids)s) ORDER BY c.converted_at, c.shopify_order_id), '{}');

-- pick_unattributed --
-- Conversions without a touch that are young enough to be tried again, those first that were tried longest ago.
SELECT c.shopify_order_id FROM attribution_conversions c
LEFT JOIN attribution_retries r ON r.shopify_order_id = c.shopify_order_id
WHERE c.status = 'unattributed' AND c.converted_at >= %(since)s AND c.converted_at < %(until)s
  AND NOT coalesce(r.given_up, false)
ORDER BY r.tried_at NULLS FIRST, c.converted_at LIMIT %(page)s;

-- note_retries --
-- That these were tried again; one that turned out to be no conversion is gone.
INSERT INTO attribution_retries AS r (shopify_order_id, tries, tried_at)
SELECT c.shopify_order_id, 1, %(now)s FROM attribution_conversions c WHERE c.shopify_order_id = ANY (%(order_ids)s)
ON CONFLICT (tenant_id, shopify_order_id) DO UPDATE SET tries = r.tries + 1, tried_at = excluded.tried_at;

-- give_up_unattributed --
-- What is too old to be tried again and has no touch yet stays so.
INSERT INTO attribution_retries AS r (shopify_order_id, given_up)
SELECT c.shopify_order_id, true FROM attribution_conversions c
WHERE c.status = 'unattributed' AND c.converted_at < %(until)s AND NOT EXISTS (
    SELECT FROM attribution_retries g WHERE g.shopify_order_id = c.shopify_order_id AND g.given_up)
ON CONFLICT (tenant_id, shopify_order_id) DO UPDATE SET given_up = true
RETURNING r.shopify_order_id;

-- pick_unsettled --
-- Orders that convert and have no conversion, the oldest first.
SELECT o.shopify_order_id FROM orders o
WHERE o.placed_at >= %(since)s AND o.placed_at < %(until)s AND o.total_cents > 0 AND NOT o.test
  AND (o.visitor_id IS NOT NULL OR o.shopify_customer_id IS NOT NULL)
  AND NOT EXISTS (SELECT FROM attribution_conversions c WHERE c.shopify_order_id = o.shopify_order_id)
ORDER BY o.placed_at, o.shopify_order_id LIMIT %(page)s;

-- pick_range --
-- A range's orders after a cursor, the oldest first, whether they are settled or not.
SELECT o.shopify_order_id, o.placed_at FROM orders o
WHERE o.placed_at >= %(since)s AND o.placed_at < %(until)s
  AND (o.placed_at, o.shopify_order_id) > (%(after_at)s, %(after_id)s)
ORDER BY o.placed_at, o.shopify_order_id LIMIT %(page)s;

-- clear_summary --
-- A day is counted as a whole: a channel that has nothing more of it goes.
DELETE FROM attribution_channel_summary WHERE summary_on = %(summary_on)s;

-- save_summary --
-- A day's channels and platforms by each model in each window, in the tenant's currency. Test orders and voided ones are none.
-- What the mapped ad accounts cost stands at their platform's paid channel, in every model and window, earned it anything or
-- not; a ratio whose divisor is zero is null.
WITH earned AS (
    SELECT a.model, a.window_days, a.channel, touch_platform(t.click_id, t.source) AS platform,
           count(DISTINCT a.touchpoint_id)::integer AS touchpoints, sum(a.credit) AS conversions,
           sum(a.revenue_cents)::bigint AS revenue_cents,
           coalesce(sum(a.credit) FILTER (WHERE c.first_purchase), 0) AS new_customers
    FROM attribution_conversions c
    JOIN orders o ON o.shopify_order_id = c.shopify_order_id AND o.financial_status <> 'voided' AND NOT o.test
    JOIN attribution_results a ON a.shopify_order_id = c.shopify_order_id
    LEFT JOIN attribution_touchpoints t ON t.touchpoint_id = a.touchpoint_id
        AND t.occurred_at BETWEEN c.converted_at - interval '90 days' AND c.converted_at
    WHERE c.converted_at >= %(opened_at)s AND c.converted_at < %(closes_at)s AND c.currency = %(currency)s
    GROUP BY 1, 2, 3, 4
), spent AS (
    SELECT CASE s.platform WHEN 'google_ads' THEN 'google' ELSE s.platform END AS platform, sum(s.spend_cents)::bigint AS cents
    FROM ad_spend s JOIN ad_account_mappings m ON m.platform = s.platform AND m.account_id = s.account_id
    WHERE s.spent_on = %(summary_on)s AND s.currency = %(currency)s AND s.counts_for_pnl
    GROUP BY 1 HAVING sum(s.spend_cents) > 0
), paid AS (
    SELECT m.model, w.window_days, 'paid' AS channel, s.platform, s.cents
    FROM spent s CROSS JOIN unnest(%(models)s::text[]) m (model) CROSS JOIN unnest(%(windows)s::integer[]) w (window_days)
), counted AS (
    SELECT coalesce(e.model, p.model) AS model, coalesce(e.window_days, p.window_days) AS window_days,
           coalesce(e.channel, p.channel) AS channel, coalesce(e.platform, p.platform) AS platform,
           coalesce(e.touchpoints, 0) AS touchpoints, coalesce(e.conversions, 0) AS conversions,
           coalesce(e.revenue_cents, 0) AS revenue_cents, coalesce(e.new_customers, 0) AS new_customers,
           coalesce(p.cents, 0) AS spend_cents
    FROM earned e FULL JOIN paid p ON p.model = e.model AND p.window_days = e.window_days AND p.channel = e.channel
                                  AND p.platform = e.platform
)
INSERT INTO attribution_channel_summary (summary_on, model, window_days, channel, platform, touchpoints, conversions,
    revenue_cents, new_customers, spend_cents, roas_thousandths, cpa_cents, cac_cents)
SELECT %(summary_on)s, c.model, c.window_days, c.channel, c.platform, c.touchpoints, c.conversions, c.revenue_cents,
       c.new_customers, c.spend_cents, round(c.revenue_cents * 1000.0 / nullif(c.spend_cents, 0))::bigint,
       CASE WHEN c.spend_cents > 0 THEN round(c.spend_cents / nullif(c.conversions, 0))::bigint END,
       CASE WHEN c.spend_cents > 0 THEN round(c.spend_cents / nullif(c.new_customers, 0))::bigint END
FROM counted c;

-- save_quality --
-- How much of a day is explained. Webhooks are those that Shopify has sent; failed ones ended as a dead letter.
INSERT INTO attribution_data_quality_snapshots AS q (
    snapshot_on, orders, conversions, attributed, coverage, touchpoints, visitors, touchpoints_without_source, last_touch_at,
    webhooks, webhooks_failed)
SELECT %(snapshot_on)s, sold.orders, sold.conversions, sold.attributed,
       CASE WHEN sold.orders > 0 THEN round(sold.attributed::numeric / sold.orders, 4) END, came.touchpoints, came.visitors,
       came.without_source, came.last_at, told.webhooks, failed.letters
FROM (
    SELECT count(*)::integer AS orders, count(c.shopify_order_id)::integer AS conversions,
           count(*) FILTER (WHERE c.status = 'attributed')::integer AS attributed
    FROM orders o LEFT JOIN attribution_conversions c ON c.shopify_order_id = o.shopify_order_id
    WHERE o.placed_at >= %(opened_at)s AND o.placed_at < %(closes_at)s AND NOT o.test
) sold CROSS JOIN (
    SELECT count(*)::integer AS touchpoints, count(DISTINCT t.visitor_id)::integer AS visitors,
           count(*) FILTER (WHERE t.source IS NULL)::integer AS without_source, max(t.occurred_at) AS last_at
    FROM attribution_touchpoints t WHERE t.occurred_at >= %(opened_at)s AND t.occurred_at < %(closes_at)s
) came CROSS JOIN (
    SELECT count(*)::integer AS webhooks FROM webhook_inbox i
    WHERE i.provider = 'shopify' AND i.received_at >= %(opened_at)s AND i.received_at < %(closes_at)s
) told CROSS JOIN (
    SELECT count(*)::integer AS letters FROM dead_letter d
    WHERE d.source = 'webhook' AND d.created_at >= %(opened_at)s AND d.created_at < %(closes_at)s
) failed
ON CONFLICT (tenant_id, snapshot_on) DO UPDATE SET
    orders = excluded.orders, conversions = excluded.conversions, attributed = excluded.attributed,
    coverage = excluded.coverage, touchpoints = excluded.touchpoints, visitors = excluded.visitors,
    touchpoints_without_source = excluded.touchpoints_without_source, last_touch_at = excluded.last_touch_at,
    webhooks = excluded.webhooks, webhooks_failed = excluded.webhooks_failed, calculated_at = now()
RETURNING q.orders, q.attributed, q.coverage::float, q.touchpoints, q.webhooks, q.webhooks_failed;
