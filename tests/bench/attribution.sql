INSERT INTO orders (shopify_order_id, order_number, currency, gross_cents, discount_cents, net_cents, shipping_cents, tax_cents,
                    total_cents, financial_status, status, visitor_id, placed_at, shopify_updated_at)
SELECT n, '#' || n, 'USD', 1000 + n %% 20000, 0, 1000 + n %% 20000, 0, 0, 1000 + n %% 20000, 'paid', 'open', 'v-' || n, at.placed,
       at.placed
FROM generate_series(1, %(conversions)s) n
CROSS JOIN LATERAL (SELECT %(since)s::timestamptz + (%(until)s::timestamptz - %(since)s::timestamptz)
                           * (n::float8 / (%(conversions)s + 1)) AS placed) at
-- next --
INSERT INTO attribution_conversions (shopify_order_id, visitor_id, revenue_cents, gross_revenue_cents, currency, first_purchase,
                                     touchpoints, status, converted_at)
SELECT shopify_order_id, visitor_id, total_cents, total_cents, currency, true, %(touches)s, 'attributed', placed_at FROM orders
-- next --
INSERT INTO attribution_touchpoints (touchpoint_id, dedupe_hash, visitor_id, channel, type, occurred_at)
SELECT gen_random_uuid(), '', o.visitor_id,
       (ARRAY['direct', 'organic', 'paid', 'social', 'email', 'affiliate', 'creator', 'referral'])[1 + (o.shopify_order_id + t) %% 8],
       'click', o.placed_at - (interval '29 days' * ((o.shopify_order_id * 31 + t * 104729) %% 100000) / 100000.0)
FROM orders o CROSS JOIN generate_series(1, %(touches)s) t
-- next --
WITH journeys AS (
    SELECT c.shopify_order_id AS o, c.revenue_cents AS r, t.touchpoint_id AS id, t.occurred_at AS at,
           array_position(ARRAY['direct', 'organic', 'paid', 'social', 'email', 'affiliate', 'creator', 'referral'],
                          t.channel)::smallint AS channel,
           row_number() OVER w AS p, count(*) OVER (PARTITION BY c.shopify_order_id) AS n,
           max(t.occurred_at) OVER (PARTITION BY c.shopify_order_id) AS latest
    FROM attribution_conversions c
    JOIN attribution_touchpoints t ON t.visitor_id = c.visitor_id
        AND t.occurred_at BETWEEN c.converted_at - interval '30 days' AND c.converted_at
    WINDOW w AS (PARTITION BY c.shopify_order_id ORDER BY t.occurred_at, t.touchpoint_id)
), weighed AS (
    SELECT *, floor(power(2::float8, -extract(epoch FROM latest - at)::float8 / 604800) * 1e9 + 0.5)::bigint AS decay,
           CASE WHEN n = 1 THEN 1 WHEN n = 2 THEN 40 WHEN p IN (1, n) THEN 40 * (n - 2) ELSE 20 END AS place
    FROM journeys
), whole AS (
    SELECT *, (sum(decay) OVER (PARTITION BY o))::bigint AS decays, (sum(place) OVER (PARTITION BY o))::bigint AS places FROM weighed
), divided AS (
    SELECT *, r * decay / decays AS dc, r * decay % decays AS dr, r * place / places AS pc, r * place % places AS pr FROM whole
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY o ORDER BY dr DESC, p) AS dk,
           row_number() OVER (PARTITION BY o ORDER BY pr DESC, p) AS pk,
           r - sum(dc) OVER (PARTITION BY o) AS dl, r - sum(pc) OVER (PARTITION BY o) AS pl
    FROM divided
)
INSERT INTO attribution_credits (shopify_order_id, window_days, touchpoint_ids, channels, credits, cents)
SELECT o, 30, array_agg(id ORDER BY p), array_agg(channel ORDER BY p),
       ARRAY[array_agg(CASE WHEN p = 1 THEN 1000000000 ELSE 0 END ORDER BY p),
             array_agg(CASE WHEN p = n THEN 1000000000 ELSE 0 END ORDER BY p),
             array_agg(((2000000000 + n) / (2 * n))::integer ORDER BY p),
             array_agg(((2 * decay * 1000000000 + decays) / (2 * decays))::integer ORDER BY p),
             array_agg(((2 * place * 1000000000 + places) / (2 * places))::integer ORDER BY p),
             array_agg(NULL::integer), array_agg(NULL::integer)],
       ARRAY[array_agg(CASE WHEN p = 1 THEN r ELSE 0 END ORDER BY p), array_agg(CASE WHEN p = n THEN r ELSE 0 END ORDER BY p),
             array_agg(r / n + (p <= r % n)::integer ORDER BY p), array_agg(dc + (dk <= dl)::integer ORDER BY p),
             array_agg(pc + (pk <= pl)::integer ORDER BY p), array_agg(NULL::bigint), array_agg(NULL::bigint)]
FROM ranked GROUP BY o
-- next --
CREATE OR REPLACE TABLE results AS
WITH journeys AS (
    SELECT place AS o, revenue AS r, age, row_number() OVER (PARTITION BY place ORDER BY instant) AS p,
           count(*) OVER (PARTITION BY place) AS n, min(age) OVER (PARTITION BY place) AS youngest
    FROM touches
), weighed AS (
    SELECT *, CAST(floor(pow(2.0::DOUBLE, -(age - youngest)::DOUBLE / 604800000000) * 1e9 + 0.5) AS BIGINT) AS decay,
           CASE WHEN n = 1 THEN 1 WHEN n = 2 THEN 40 WHEN p IN (1, n) THEN 40 * (n - 2) ELSE 20 END AS pos
    FROM journeys
), whole AS (
    SELECT *, CAST(sum(decay) OVER (PARTITION BY o) AS BIGINT) AS decays, CAST(sum(pos) OVER (PARTITION BY o) AS BIGINT) AS places
    FROM weighed
), divided AS (
    SELECT *, r * decay // decays AS dc, r * decay % decays AS dr, r * pos // places AS pc, r * pos % places AS pr FROM whole
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY o ORDER BY dr DESC, p) AS dk,
           row_number() OVER (PARTITION BY o ORDER BY pr DESC, p) AS pk,
           r - sum(dc) OVER (PARTITION BY o) AS dl, r - sum(pc) OVER (PARTITION BY o) AS pl
    FROM divided
)
SELECT o, p, CASE WHEN p = 1 THEN r ELSE 0 END AS first_touch, CASE WHEN p = n THEN r ELSE 0 END AS last_touch,
       r // n + (p <= r % n)::INTEGER AS linear, dc + (dk <= dl)::INTEGER AS time_decay, pc + (pk <= pl)::INTEGER AS position_based
FROM ranked
-- next --
SELECT sum(first_touch)::BIGINT, sum(last_touch)::BIGINT, sum(linear)::BIGINT, sum(time_decay)::BIGINT, sum(position_based)::BIGINT
FROM results
-- next --
SELECT count(*)::bigint AS rows, min(by_model.cents)::bigint AS least, max(by_model.cents)::bigint AS most,
       (SELECT sum(revenue_cents)::bigint FROM attribution_conversions) AS revenue,
       (SELECT sum(hashtextextended(a.shopify_order_id || a.cents::text || a.credits::text || a.touchpoint_ids::text, 1)::numeric)
        FROM attribution_credits a) AS digest
FROM (SELECT model, sum(revenue_cents) AS cents FROM attribution_results GROUP BY 1) by_model
-- next --
SELECT c.shopify_order_id, c.revenue_cents, (extract(epoch FROM c.converted_at - t.occurred_at) * 1e6)::bigint,
       (extract(epoch FROM t.occurred_at) * 1e6)::bigint, t.touchpoint_id,
       array_position(ARRAY['direct', 'organic', 'paid', 'social', 'email', 'affiliate', 'creator', 'referral'], t.channel)
FROM attribution_conversions c JOIN attribution_touchpoints t ON t.visitor_id = c.visitor_id
    AND t.occurred_at BETWEEN c.converted_at - interval '30 days' AND c.converted_at
-- next --
CREATE TEMPORARY TABLE flat (o bigint, at bigint, id uuid, channel smallint, s1 integer, s2 integer, s3 integer, s4 integer,
                             s5 integer, c1 bigint, c2 bigint, c3 bigint, c4 bigint, c5 bigint) ON COMMIT DROP
-- next --
INSERT INTO attribution_credits (shopify_order_id, window_days, touchpoint_ids, channels, credits, cents)
SELECT o, 30, array_agg(id ORDER BY at, id), array_agg(channel ORDER BY at, id),
       ARRAY[array_agg(s1 ORDER BY at, id), array_agg(s2 ORDER BY at, id), array_agg(s3 ORDER BY at, id),
             array_agg(s4 ORDER BY at, id), array_agg(s5 ORDER BY at, id), array_agg(NULL::integer), array_agg(NULL::integer)],
       ARRAY[array_agg(c1 ORDER BY at, id), array_agg(c2 ORDER BY at, id), array_agg(c3 ORDER BY at, id),
             array_agg(c4 ORDER BY at, id), array_agg(c5 ORDER BY at, id), array_agg(NULL::bigint), array_agg(NULL::bigint)]
FROM flat GROUP BY o
