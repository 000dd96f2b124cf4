-- lock_orders --
-- Orders as attribution sees them, locked as the order chain locks them: in order of their ids.
SELECT o.shopify_order_id, o.visitor_id, o.shopify_customer_id, o.currency, o.total_cents, o.placed_at,
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

-- begin_chunk --
-- The place of a chunk of conversions, until the transaction ends.
CREATE TEMPORARY TABLE attribution_chunk (
    place integer, shopify_order_id bigint, visitor_id text, shopify_customer_id bigint, converted_at timestamptz,
    calculated_at timestamptz) ON COMMIT DROP;

-- fill_chunk --
-- The next conversions after a cursor (their time and order), in that order. One of 90 million and more stays as the order
-- chain has computed it: its cents times a weight would pass 64 bits.
INSERT INTO attribution_chunk
SELECT row_number() OVER (ORDER BY c.converted_at, c.shopify_order_id) - 1, c.shopify_order_id, c.visitor_id,
       c.shopify_customer_id, c.converted_at, c.calculated_at
FROM attribution_conversions c
WHERE c.converted_at >= %(since)s AND c.converted_at < %(until)s
  AND (c.converted_at, c.shopify_order_id) > (%(after_at)s, %(after_id)s) AND c.revenue_cents < 9000000000
ORDER BY c.converted_at, c.shopify_order_id LIMIT %(most)s;

-- know_chunk --
-- So that Postgres plans for as many conversions as there are.
ANALYZE attribution_chunk;

-- end_of_chunk --
-- The last conversion's time and order, from where the next chunk goes on.
SELECT converted_at, shopify_order_id FROM attribution_chunk ORDER BY place DESC LIMIT 1;

-- copy_conversions --
-- The chunk's orders, with what refunds leave of them, by place.
COPY (
    SELECT k.shopify_order_id, c.revenue_cents, k.converted_at
    FROM attribution_chunk k JOIN attribution_conversions c ON c.shopify_order_id = k.shopify_order_id ORDER BY k.place
) TO STDOUT (FORMAT binary);

-- copy_touches --
-- What may lead to the chunk's conversions, one touch as often as it is found: by visitor, by customer where no visitor is
-- known, by visitors that are known to be the customer, and the orders' own.
COPY (
    SELECT k.place, t.touchpoint_id, array_position(%(channels)s::text[], t.channel)::smallint AS channel, t.occurred_at
    FROM attribution_chunk k JOIN attribution_touchpoints t ON t.visitor_id = k.visitor_id
    WHERE t.occurred_at BETWEEN k.converted_at - %(look_back)s AND k.converted_at AND t.type = ANY (%(types)s)
    UNION ALL
    SELECT k.place, t.touchpoint_id, array_position(%(channels)s::text[], t.channel)::smallint, t.occurred_at
    FROM attribution_chunk k JOIN attribution_touchpoints t ON t.shopify_customer_id = k.shopify_customer_id
    WHERE k.visitor_id IS NULL AND t.occurred_at BETWEEN k.converted_at - %(look_back)s AND k.converted_at
      AND t.type = ANY (%(types)s)
    UNION ALL
    SELECT k.place, t.touchpoint_id, array_position(%(channels)s::text[], t.channel)::smallint, t.occurred_at
    FROM attribution_chunk k
    JOIN attribution_identities i ON i.shopify_customer_id = k.shopify_customer_id
    JOIN attribution_touchpoints t ON t.visitor_id = i.visitor_id
    WHERE t.occurred_at BETWEEN k.converted_at - %(look_back)s AND k.converted_at AND t.type = ANY (%(types)s)
    UNION ALL
    SELECT k.place, t.touchpoint_id, array_position(%(channels)s::text[], t.channel)::smallint, t.occurred_at
    FROM attribution_chunk k JOIN attribution_touchpoints t ON t.shopify_order_id = k.shopify_order_id
    WHERE t.visitor_id IS DISTINCT FROM k.visitor_id
      AND t.occurred_at BETWEEN k.converted_at - %(look_back)s AND k.converted_at AND t.type = ANY (%(types)s)
) TO STDOUT (FORMAT binary);

-- stage_credits --
-- Where the chunk's new credits lie before they are compared with what stands.
CREATE TEMPORARY TABLE attribution_staged (
    shopify_order_id bigint, window_days integer, touchpoint_ids uuid[], channels smallint[], credits integer[], cents bigint[])
    ON COMMIT DROP;

-- copy_credits --
-- Stage credits.
COPY attribution_staged FROM STDIN (FORMAT binary);

-- write_chunk --
-- Credits of the conversions that nobody else has written since the chunk was read; what stands already is not written. A
-- window without a touch loses its row. How many conversions were computed, and how many of their rows have changed.
WITH mine AS MATERIALIZED (
    SELECT c.shopify_order_id, k.place FROM attribution_conversions c
    JOIN attribution_chunk k ON k.shopify_order_id = c.shopify_order_id AND k.calculated_at = c.calculated_at
    FOR NO KEY UPDATE OF c
), counted AS MATERIALIZED (
    SELECT m.shopify_order_id, coalesce(max(cardinality(s.touchpoint_ids)), 0) AS touchpoints
    FROM mine m LEFT JOIN attribution_staged s ON s.shopify_order_id = m.shopify_order_id GROUP BY 1
), conversions AS (
    UPDATE attribution_conversions c SET touchpoints = n.touchpoints, calculated_at = now(),
           status = CASE WHEN n.touchpoints > 0 THEN 'attributed' ELSE 'unattributed' END
    FROM counted n WHERE n.shopify_order_id = c.shopify_order_id AND c.touchpoints <> n.touchpoints
    RETURNING c.shopify_order_id
), gone AS (
    DELETE FROM attribution_credits a USING mine m
    WHERE a.shopify_order_id = m.shopify_order_id
      AND NOT EXISTS (SELECT FROM attribution_staged s WHERE s.shopify_order_id = a.shopify_order_id
                                                         AND s.window_days = a.window_days)
    RETURNING a.shopify_order_id
), written AS (
    INSERT INTO attribution_credits AS a (shopify_order_id, window_days, touchpoint_ids, channels, credits, cents)
    SELECT s.shopify_order_id, s.window_days, s.touchpoint_ids, s.channels, s.credits, s.cents
    FROM attribution_staged s JOIN mine m ON m.shopify_order_id = s.shopify_order_id
    ON CONFLICT (tenant_id, shopify_order_id, window_days) DO UPDATE SET
        touchpoint_ids = excluded.touchpoint_ids, channels = excluded.channels, credits = excluded.credits,
        cents = excluded.cents
    WHERE (a.touchpoint_ids, a.channels, a.credits, a.cents)
          IS DISTINCT FROM (excluded.touchpoint_ids, excluded.channels, excluded.credits, excluded.cents)
    RETURNING a.shopify_order_id
)
SELECT (SELECT count(*) FROM mine)::integer AS conversions,
       ((SELECT count(*) FROM conversions) + (SELECT count(*) FROM gone) + (SELECT count(*) FROM written))::integer AS changed;
