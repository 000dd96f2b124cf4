-- add_conversions --
-- Orders that changed since an instant, or one order, as conversions of the tests whose visitor placed them: known by the
-- visitor, else by the session, else by the customer. An order that is a test's already stays as it is.
WITH changed AS (
    SELECT o.shopify_order_id, o.visitor_id, o.attributes ->> 'session_id' AS session_id, o.shopify_customer_id, o.placed_at,
           o.total_cents, greatest(0, o.total_cents - o.refunded_cents) AS remaining_cents, o.status = 'cancelled' AS removed
    FROM orders o
    WHERE NOT o.test AND CASE WHEN %(only_order)s::bigint IS NULL THEN o.shopify_updated_at >= %(changed_since)s
                              ELSE o.shopify_order_id = %(only_order)s END
), matched AS (
    SELECT o.*, a.test_id, a.variant_id, a.visitor_id AS assigned_visitor_id, a.seen_at,
           CASE WHEN a.visitor_id = o.visitor_id THEN 1 WHEN a.session_id = o.session_id THEN 2 ELSE 3 END AS place
    FROM changed o
    JOIN ab_test_assignments a ON a.visitor_id = o.visitor_id OR a.session_id = o.session_id
                               OR a.shopify_customer_id = o.shopify_customer_id
    JOIN ab_tests t ON t.test_id = a.test_id AND t.started_at <= o.placed_at
                    AND coalesce(t.ended_at >= o.placed_at, true)
    WHERE a.seen_at <= o.placed_at
), chosen AS (
    SELECT DISTINCT ON (m.shopify_order_id, m.test_id) m.*
    FROM matched m ORDER BY m.shopify_order_id, m.test_id, m.place, m.seen_at
)
INSERT INTO ab_test_conversions AS c (test_id, shopify_order_id, variant_id, visitor_id, source, matched_by, ordered_cents,
                                      revenue_cents, removed, converted_on, converted_at, confirmed_at)
SELECT h.test_id, h.shopify_order_id, h.variant_id, h.assigned_visitor_id, 'reconciliation',
       (ARRAY['visitor', 'session', 'customer'])[h.place], h.total_cents,
       CASE WHEN h.removed THEN 0 ELSE h.remaining_cents END, h.removed, (h.placed_at AT TIME ZONE 'UTC')::date,
       h.placed_at, now()
FROM chosen h ORDER BY 1, 2
ON CONFLICT DO NOTHING;

-- settle_conversions --
-- What conversions are worth now, by their orders that changed since.
SELECT settle_ab_conversions(ARRAY(SELECT o.shopify_order_id FROM orders o WHERE o.shopify_updated_at >= %(changed_since)s));

-- settle_conversions_of --
-- The same for some orders.
SELECT settle_ab_conversions(%(order_ids)s);

-- list_converted --
-- The orders that are a test's conversions.
SELECT c.shopify_order_id FROM ab_test_conversions c WHERE c.test_id = %(test_id)s ORDER BY 1;

-- list_conversions --
-- An order's conversions.
SELECT c.test_id, c.variant_id, c.visitor_id, c.source, c.matched_by, c.ordered_cents, c.revenue_cents, c.removed
FROM ab_test_conversions c WHERE c.shopify_order_id = %(order_id)s ORDER BY 1;

-- list_order --
-- What an order says of who placed it.
SELECT o.visitor_id IS NOT NULL AS has_visitor, o.attributes ? 'session_id' AS has_session,
       o.shopify_customer_id IS NOT NULL AS has_customer, o.status, o.placed_at
FROM orders o WHERE o.shopify_order_id = %(order_id)s;

-- list_cohorts --
-- A test's visitors by the day on which they were first seen: how many, what they came to until now, and its squares.
-- measured is 'revenue' (cents) or the goal that a visitor has reached (1) or not (0).
SELECT p.seen_on, p.variant_id, count(*) AS visitors, sum(p.amount)::double precision AS total,
       sum(p.amount * p.amount)::double precision AS squares
FROM ab_visitor_outcomes(%(test_id)s, %(measured)s) p GROUP BY 1, 2 ORDER BY 1, 2;

-- list_histories --
-- The same by variant, beside what the same people bought before the test's start: known by visitor or customer.
WITH earlier AS (
    SELECT a.visitor_id, o.shopify_order_id, greatest(0, o.total_cents - o.refunded_cents) AS cents
    FROM ab_tests t JOIN ab_test_assignments a ON a.test_id = t.test_id JOIN orders o ON o.visitor_id = a.visitor_id
    WHERE t.test_id = %(test_id)s AND o.placed_at >= t.started_at - %(look_back)s AND o.placed_at < t.started_at
      AND o.status <> 'cancelled' AND NOT o.test
    UNION
    SELECT a.visitor_id, o.shopify_order_id, greatest(0, o.total_cents - o.refunded_cents)
    FROM ab_tests t JOIN ab_test_assignments a ON a.test_id = t.test_id
    JOIN orders o ON o.shopify_customer_id = a.shopify_customer_id
    WHERE t.test_id = %(test_id)s AND o.placed_at >= t.started_at - %(look_back)s AND o.placed_at < t.started_at
      AND o.status <> 'cancelled' AND NOT o.test
), before AS (
    SELECT e.visitor_id, sum(e.cents) AS cents FROM earlier e GROUP BY 1
), people AS (
    SELECT v.variant_id, v.amount, coalesce(b.cents, 0) AS earlier
    FROM ab_visitor_outcomes(%(test_id)s, %(measured)s) v LEFT JOIN before b ON b.visitor_id = v.visitor_id
)
SELECT p.variant_id, count(*) AS visitors, sum(p.amount)::double precision AS total,
       sum(p.amount * p.amount)::double precision AS squares, sum(p.earlier)::double precision AS before_total,
       sum(p.earlier * p.earlier)::double precision AS before_squares,
       sum(p.amount * p.earlier)::double precision AS products
FROM people p GROUP BY 1 ORDER BY 1;

-- list_amounts --
-- How many of a variant's visitors came to each amount.
SELECT p.variant_id, p.amount::double precision AS amount, count(*) AS visitors
FROM ab_visitor_outcomes(%(test_id)s, 'revenue') p GROUP BY 1, 2 ORDER BY 1, 2;

-- list_lifetimes --
-- What a visitor has bought within so many days of being seen first, of those who were seen as long ago. An order is the
-- visitor's by name, or the customer's; who comes as two visitors counts as the first of them.
WITH people AS (
    SELECT a.visitor_id, a.variant_id, a.seen_at, a.shopify_customer_id
    FROM ab_test_assignments a WHERE a.test_id = %(test_id)s
), customers AS (
    SELECT DISTINCT ON (k.shopify_customer_id) k.shopify_customer_id, k.visitor_id
    FROM (
        SELECT p.shopify_customer_id, p.visitor_id, p.seen_at FROM people p
        UNION ALL
        SELECT o.shopify_customer_id, p.visitor_id, p.seen_at FROM people p JOIN orders o ON o.visitor_id = p.visitor_id
    ) k
    WHERE k.shopify_customer_id IS NOT NULL ORDER BY k.shopify_customer_id, k.seen_at, k.visitor_id
), bought AS (
    SELECT p.visitor_id, o.shopify_order_id, o.placed_at, greatest(0, o.total_cents - o.refunded_cents) AS cents
    FROM people p JOIN orders o ON o.visitor_id = p.visitor_id
    WHERE o.status <> 'cancelled' AND NOT o.test AND o.placed_at >= p.seen_at
    UNION
    SELECT c.visitor_id, o.shopify_order_id, o.placed_at, greatest(0, o.total_cents - o.refunded_cents)
    FROM customers c JOIN people p ON p.visitor_id = c.visitor_id
    JOIN orders o ON o.shopify_customer_id = c.shopify_customer_id
    WHERE o.status <> 'cancelled' AND NOT o.test AND o.placed_at >= p.seen_at
      AND NOT EXISTS (SELECT FROM people q WHERE q.visitor_id = o.visitor_id)
), lives AS (
    SELECT h.days, p.variant_id, p.visitor_id,
           coalesce(sum(b.cents) FILTER (WHERE b.placed_at < p.seen_at + h.days * interval '1 day'), 0) AS cents
    FROM unnest(%(horizons)s::integer[]) h(days)
    JOIN people p ON p.seen_at + h.days * interval '1 day' <= %(until)s
    LEFT JOIN bought b ON b.visitor_id = p.visitor_id
    GROUP BY 1, 2, 3
)
SELECT l.days, l.variant_id, count(*) AS visitors, sum(l.cents)::double precision AS total,
       sum(l.cents * l.cents)::double precision AS squares
FROM lives l GROUP BY 1, 2 ORDER BY 1, 2;

-- first_order_at --
-- Since when orders are known.
SELECT min(o.placed_at) AS placed_at FROM orders o;
