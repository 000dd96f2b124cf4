-- save_test --
-- A test's definition; it may change until the test has started. Comes back only if it was written.
INSERT INTO ab_tests AS t (test_id, name, status, mode, type, goal, metric, confidence, exclusion_group, forced_variant_id, zone,
                           starts_at, ends_at, auto_start, auto_end)
SELECT n.test_id, n.name, 'draft', n.mode, n.type, n.goal, n.metric, n.confidence, n.exclusion_group, n.forced_variant_id, n.zone,
       n.starts_at, n.ends_at, n.auto_start, n.auto_end
FROM jsonb_populate_recordset(NULL::ab_tests, %(tests)s) n
ON CONFLICT (tenant_id, test_id) DO UPDATE
SET name = excluded.name, mode = excluded.mode, type = excluded.type, goal = excluded.goal, metric = excluded.metric,
    confidence = excluded.confidence, exclusion_group = excluded.exclusion_group,
    forced_variant_id = excluded.forced_variant_id, zone = excluded.zone, starts_at = excluded.starts_at,
    ends_at = excluded.ends_at, auto_start = excluded.auto_start, auto_end = excluded.auto_end, updated_at = now()
WHERE t.status = 'draft'
RETURNING t.test_id;

-- save_variants --
-- Variants as they are now.
INSERT INTO ab_variants AS v (test_id, variant_id, name, place, is_control, weight_basis_points)
SELECT n.test_id, n.variant_id, n.name, n.place, n.is_control, n.weight_basis_points
FROM jsonb_populate_recordset(NULL::ab_variants, %(test_variants)s) n
ON CONFLICT (tenant_id, test_id, variant_id) DO UPDATE
SET name = excluded.name, place = excluded.place, is_control = excluded.is_control,
    weight_basis_points = excluded.weight_basis_points;

-- drop_variants --
-- Variants that a changed definition does not name any more.
DELETE FROM ab_variants WHERE test_id = %(test_id)s AND NOT variant_id = ANY (%(kept_variants)s);

-- replace_rules --
-- A test's targeting rules, in the place of what was there.
WITH gone AS (DELETE FROM ab_targeting_rules WHERE test_id = %(test_id)s AND NOT priority = ANY (%(priorities)s))
INSERT INTO ab_targeting_rules AS r (test_id, priority, logic, action, variant_id, conditions)
SELECT n.test_id, n.priority, n.logic, n.action, n.variant_id, n.conditions
FROM jsonb_populate_recordset(NULL::ab_targeting_rules, %(rules)s) n
ON CONFLICT (tenant_id, test_id, priority) DO UPDATE
SET logic = excluded.logic, action = excluded.action, variant_id = excluded.variant_id, conditions = excluded.conditions;

-- replace_guardrails --
-- A test's guardrails, in the place of what was there.
WITH gone AS (DELETE FROM ab_guardrails WHERE test_id = %(test_id)s AND NOT metric = ANY (%(metric_names)s))
INSERT INTO ab_guardrails AS g (test_id, metric, threshold, action)
SELECT n.test_id, n.metric, n.threshold, n.action
FROM jsonb_populate_recordset(NULL::ab_guardrails, %(guardrails)s) n
ON CONFLICT (tenant_id, test_id, metric) DO UPDATE SET threshold = excluded.threshold, action = excluded.action;

-- init_metrics --
-- A row of zeros for each variant's day, so that a test without visitors is seen.
INSERT INTO ab_daily_metrics (test_id, variant_id, metrics_on)
SELECT v.test_id, v.variant_id, (%(started_at)s::timestamptz AT TIME ZONE 'UTC')::date
FROM ab_variants v WHERE v.test_id = %(test_id)s
ON CONFLICT DO NOTHING;

-- find_test --
-- A test with its variants.
SELECT t.test_id, t.name, t.status, t.mode, t.goal, t.metric, t.confidence, t.started_at, t.ended_at, t.winner_variant_id,
       t.optimized_at,
       (SELECT coalesce(jsonb_agg(to_jsonb(v) ORDER BY v.place, v.variant_id), '[]') FROM ab_variants v
        WHERE v.test_id = t.test_id) AS variants
FROM ab_tests t WHERE t.test_id = %(test_id)s;

-- lock_test --
-- The same, held until the transaction ends.
SELECT t.test_id, t.name, t.status, t.mode, t.goal, t.metric, t.confidence, t.started_at, t.ended_at, t.winner_variant_id,
       t.optimized_at,
       (SELECT coalesce(jsonb_agg(to_jsonb(v) ORDER BY v.place, v.variant_id), '[]') FROM ab_variants v
        WHERE v.test_id = t.test_id) AS variants
FROM ab_tests t WHERE t.test_id = %(test_id)s FOR UPDATE OF t;

-- list_live_tests --
-- Tests that run or are paused.
SELECT t.test_id, t.name, t.status, t.mode, t.goal, t.metric, t.confidence, t.started_at, t.ended_at, t.winner_variant_id,
       t.optimized_at,
       (SELECT coalesce(jsonb_agg(to_jsonb(v) ORDER BY v.place, v.variant_id), '[]') FROM ab_variants v
        WHERE v.test_id = t.test_id) AS variants
FROM ab_tests t WHERE t.status IN ('running', 'paused') ORDER BY t.test_id;

-- start_test --
-- A draft starts, a paused test goes on. Comes back only if it was so.
UPDATE ab_tests
SET status = 'running', started_at = coalesce(started_at, %(started_at)s), updated_at = now()
WHERE test_id = %(test_id)s AND status IN ('draft', 'paused')
RETURNING test_id;

-- end_test --
-- A test is over. Comes back only if it was not.
UPDATE ab_tests
SET status = 'completed', ended_at = %(ended_at)s, winner_variant_id = coalesce(%(winner_variant_id)s, winner_variant_id),
    updated_at = now()
WHERE test_id = %(test_id)s AND status <> 'completed'
RETURNING test_id;

-- lock_metrics --
-- Whoever writes a tenant's metrics does it alone.
SELECT pg_advisory_xact_lock(hashtextextended('ab-metrics:' || current_tenant()::text, 0));

-- begin_fold --
-- Remember a snapshot of counters. Comes back only if it is new.
INSERT INTO ab_counter_folds (snapshot_id, hour_at, counts)
VALUES (%(snapshot_id)s, %(hour_at)s, %(amount)s)
ON CONFLICT DO NOTHING
RETURNING snapshot_id;

-- fold_counts --
-- Add an hour's counts to the days' metrics, but for those that a rebuild of a later hour has counted already. Counts of
-- a test that is not there any more are left out.
WITH told AS (
    SELECT c.day, c.test_id, c.variant_id,
           coalesce(sum(c.amount) FILTER (WHERE c.metric = 'visitors'), 0) AS visitors,
           coalesce(sum(c.amount) FILTER (WHERE c.metric = 'viewers'), 0) AS viewers,
           coalesce(sum(c.amount) FILTER (WHERE c.metric = 'views'), 0) AS views,
           coalesce(sum(c.amount) FILTER (WHERE c.metric = 'carts'), 0) AS carts,
           coalesce(sum(c.amount) FILTER (WHERE c.metric = 'cart_visitors'), 0) AS cart_visitors,
           coalesce(sum(c.amount) FILTER (WHERE c.metric = 'checkouts'), 0) AS checkouts,
           coalesce(sum(c.amount) FILTER (WHERE c.metric = 'checkout_visitors'), 0) AS checkout_visitors,
           coalesce(sum(c.amount) FILTER (WHERE c.metric = 'bounces'), 0) AS bounces,
           coalesce(sum(c.amount) FILTER (WHERE c.metric = 'bounce_visitors'), 0) AS bounce_visitors,
           coalesce(sum(c.amount) FILTER (WHERE c.metric = 'errors'), 0) AS errors,
           coalesce(sum(c.amount) FILTER (WHERE c.metric = 'error_visitors'), 0) AS error_visitors
    FROM jsonb_to_recordset(%(hour_counts)s) AS c (day date, test_id text, variant_id text, metric text, amount bigint)
    JOIN ab_variants v ON v.test_id = c.test_id AND v.variant_id = c.variant_id
    GROUP BY 1, 2, 3
)
INSERT INTO ab_daily_metrics AS m (test_id, variant_id, metrics_on, visitors, viewers, views, carts, cart_visitors,
                                   checkouts, checkout_visitors, bounces, bounce_visitors, errors, error_visitors)
SELECT o.test_id, o.variant_id, o.day, o.visitors, o.viewers, o.views, o.carts, o.cart_visitors, o.checkouts,
       o.checkout_visitors, o.bounces, o.bounce_visitors, o.errors, o.error_visitors
FROM told o ORDER BY 1, 2, 3
ON CONFLICT (tenant_id, test_id, variant_id, metrics_on) DO UPDATE
SET visitors = m.visitors + excluded.visitors, viewers = m.viewers + excluded.viewers, views = m.views + excluded.views,
    carts = m.carts + excluded.carts, cart_visitors = m.cart_visitors + excluded.cart_visitors,
    checkouts = m.checkouts + excluded.checkouts, checkout_visitors = m.checkout_visitors + excluded.checkout_visitors,
    bounces = m.bounces + excluded.bounces, bounce_visitors = m.bounce_visitors + excluded.bounce_visitors,
    errors = m.errors + excluded.errors, error_visitors = m.error_visitors + excluded.error_visitors, updated_at = now()
WHERE m.rebuilt_through IS NULL OR m.rebuilt_through <= %(hour_at)s;

-- refresh_purchases --
-- Purchases and revenue of days whose conversions have changed, from the conversions themselves.
WITH present AS (
    SELECT c.test_id, c.variant_id, c.converted_on AS metrics_on, count(*) FILTER (WHERE NOT c.removed) AS purchases,
           coalesce(sum(c.revenue_cents) FILTER (WHERE NOT c.removed), 0) AS revenue_cents
    FROM ab_test_conversions c
    WHERE (c.test_id, c.converted_on) IN (
        SELECT x.test_id, x.converted_on FROM ab_test_conversions x WHERE x.updated_at >= %(changed_since)s)
    GROUP BY 1, 2, 3
)
INSERT INTO ab_daily_metrics AS m (test_id, variant_id, metrics_on, purchases, revenue_cents)
SELECT p.test_id, p.variant_id, p.metrics_on, p.purchases, p.revenue_cents FROM present p ORDER BY 1, 2, 3
ON CONFLICT (tenant_id, test_id, variant_id, metrics_on) DO UPDATE
SET purchases = excluded.purchases, revenue_cents = excluded.revenue_cents, updated_at = now()
WHERE (m.purchases, m.revenue_cents) IS DISTINCT FROM (excluded.purchases, excluded.revenue_cents);

-- mark_counted --
-- The tenant's live tests are counted through an instant.
UPDATE ab_tests SET counted_through = %(kept_before)s
WHERE status IN ('running', 'paused') AND coalesce(counted_through < %(kept_before)s, true);

-- mark_synced --
-- The tenant's live tests have their counters in Postgres as of now.
UPDATE ab_tests SET last_synced_at = now() WHERE status IN ('running', 'paused') RETURNING test_id;

-- list_metrics --
-- What is stored for days of tests.
SELECT m.test_id, m.variant_id, m.metrics_on, m.visitors, m.viewers, m.views, m.carts, m.cart_visitors, m.checkouts,
       m.checkout_visitors, m.bounces, m.bounce_visitors, m.errors, m.error_visitors, m.purchases, m.revenue_cents
FROM ab_daily_metrics m
WHERE m.metrics_on BETWEEN %(first_day)s AND %(last_day)s AND (%(only_test)s::text IS NULL OR m.test_id = %(only_test)s)
ORDER BY 1, 2, 3;

-- list_actual_metrics --
-- The same, counted from what was kept before an instant: raw events, assignments, conversions.
WITH rows AS (
    SELECT e.test_id, e.variant_id, e.occurred_on AS metrics_on,
           CASE e.type WHEN 'page_view' THEN 'views' WHEN 'add_to_cart' THEN 'carts' WHEN 'begin_checkout' THEN 'checkouts'
                       WHEN 'bounce' THEN 'bounces' WHEN 'error' THEN 'errors' END AS metric, count(*) AS amount
    FROM ab_events e
    WHERE e.occurred_on BETWEEN %(first_day)s AND %(last_day)s AND e.received_at < %(kept_before)s AND e.type <> 'purchase'
      AND (%(only_test)s::text IS NULL OR e.test_id = %(only_test)s)
    GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT a.test_id, a.variant_id, x.counted_on, x.metric, count(*)
    FROM ab_test_assignments a
    CROSS JOIN LATERAL (VALUES ('visitors', a.seen_on, a.seen_at), ('viewers', a.viewed_on, a.viewed_at),
                               ('cart_visitors', a.carted_on, a.carted_at),
                               ('checkout_visitors', a.checkout_on, a.checkout_at),
                               ('bounce_visitors', a.bounced_on, a.bounced_at),
                               ('error_visitors', a.error_on, a.error_at)) x (metric, counted_on, counted_at)
    WHERE x.counted_on BETWEEN %(first_day)s AND %(last_day)s AND x.counted_at < %(kept_before)s
      AND (%(only_test)s::text IS NULL OR a.test_id = %(only_test)s)
    GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT c.test_id, c.variant_id, c.converted_on, x.metric, sum(x.amount)
    FROM ab_test_conversions c
    CROSS JOIN LATERAL (VALUES ('purchases', 1), ('revenue_cents', c.revenue_cents)) x (metric, amount)
    WHERE c.converted_on BETWEEN %(first_day)s AND %(last_day)s AND NOT c.removed
      AND (%(only_test)s::text IS NULL OR c.test_id = %(only_test)s)
    GROUP BY 1, 2, 3, 4
)
SELECT r.test_id, r.variant_id, r.metrics_on, jsonb_object_agg(r.metric, r.amount) AS values
FROM rows r JOIN ab_variants v ON v.test_id = r.test_id AND v.variant_id = r.variant_id
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- replace_metrics --
-- Days as they were counted anew. What hours before an instant counted is in them from now on.
WITH present AS (
    SELECT n.test_id, n.variant_id, n.metrics_on, n.visitors, n.viewers, n.views, n.carts, n.cart_visitors, n.checkouts,
           n.checkout_visitors, n.bounces, n.bounce_visitors, n.errors, n.error_visitors, n.purchases, n.revenue_cents
    FROM jsonb_populate_recordset(NULL::ab_daily_metrics, %(metrics)s) n
)
INSERT INTO ab_daily_metrics AS m (test_id, variant_id, metrics_on, visitors, viewers, views, carts, cart_visitors,
                                   checkouts, checkout_visitors, bounces, bounce_visitors, errors, error_visitors,
                                   purchases, revenue_cents, rebuilt_through)
SELECT p.test_id, p.variant_id, p.metrics_on, p.visitors, p.viewers, p.views, p.carts, p.cart_visitors, p.checkouts,
       p.checkout_visitors, p.bounces, p.bounce_visitors, p.errors, p.error_visitors, p.purchases, p.revenue_cents,
       %(kept_before)s
FROM present p ORDER BY 1, 2, 3
ON CONFLICT (tenant_id, test_id, variant_id, metrics_on) DO UPDATE
SET visitors = excluded.visitors, viewers = excluded.viewers, views = excluded.views, carts = excluded.carts,
    cart_visitors = excluded.cart_visitors, checkouts = excluded.checkouts,
    checkout_visitors = excluded.checkout_visitors, bounces = excluded.bounces,
    bounce_visitors = excluded.bounce_visitors, errors = excluded.errors, error_visitors = excluded.error_visitors,
    purchases = excluded.purchases, revenue_cents = excluded.revenue_cents,
    rebuilt_through = greatest(m.rebuilt_through, excluded.rebuilt_through), updated_at = now();

-- save_discrepancies --
-- What was found to differ.
INSERT INTO ab_metric_discrepancies (test_id, variant_id, metrics_on, metric, stored, actual, found_by, corrected)
SELECT d.test_id, d.variant_id, d.metrics_on, d.metric, d.stored, d.actual, %(found_by)s, %(corrected)s
FROM jsonb_populate_recordset(NULL::ab_metric_discrepancies, %(metric_differences)s) d;

-- list_standings --
-- What each variant of live tests, or of one test, has come to: visitors and what they did as far as it is counted,
-- buyers (each visitor once) with what they spent, and what was refunded.
WITH wanted AS (
    SELECT t.test_id, t.counted_through FROM ab_tests t
    WHERE CASE WHEN %(only_test)s::text IS NULL THEN t.status IN ('running', 'paused') ELSE t.test_id = %(only_test)s END
), counted AS (
    SELECT m.test_id, m.variant_id, sum(m.visitors) AS visitors, sum(m.viewers) AS viewers,
           sum(m.cart_visitors) AS cart_visitors, sum(m.checkout_visitors) AS checkout_visitors, sum(m.views) AS views,
           sum(m.bounce_visitors) AS bounce_visitors, sum(m.error_visitors) AS error_visitors
    FROM ab_daily_metrics m JOIN wanted w ON w.test_id = m.test_id GROUP BY 1, 2
), buyers AS (
    SELECT c.test_id, c.variant_id, count(*) AS orders, sum(c.revenue_cents) AS cents,
           count(*) FILTER (WHERE c.revenue_cents < c.ordered_cents) AS refunded
    FROM ab_test_conversions c JOIN wanted w ON w.test_id = c.test_id
    WHERE c.converted_at < coalesce(w.counted_through, c.converted_at + interval '1 day') AND NOT c.removed
    GROUP BY c.test_id, c.variant_id, coalesce(c.visitor_id, 'order ' || c.shopify_order_id)
), bought AS (
    SELECT b.test_id, b.variant_id, count(*) AS purchasers, sum(b.orders) AS purchases, sum(b.cents) AS revenue_cents,
           sum(b.cents::numeric * b.cents) AS squares, sum(b.refunded) AS refunded
    FROM buyers b GROUP BY 1, 2
)
SELECT v.test_id, v.variant_id, coalesce(n.visitors, 0)::bigint AS visitors, coalesce(n.viewers, 0)::bigint AS viewers,
       coalesce(n.cart_visitors, 0)::bigint AS cart_visitors,
       coalesce(n.checkout_visitors, 0)::bigint AS checkout_visitors, coalesce(n.views, 0)::bigint AS views,
       coalesce(n.bounce_visitors, 0)::bigint AS bounce_visitors, coalesce(n.error_visitors, 0)::bigint AS error_visitors,
       coalesce(b.purchasers, 0)::bigint AS purchasers, coalesce(b.purchases, 0)::bigint AS purchases,
       coalesce(b.revenue_cents, 0)::bigint AS revenue_cents, coalesce(b.squares, 0)::double precision AS squares,
       coalesce(b.refunded, 0)::bigint AS refunded
FROM ab_variants v JOIN wanted w ON w.test_id = v.test_id
LEFT JOIN counted n ON n.test_id = v.test_id AND n.variant_id = v.variant_id
LEFT JOIN bought b ON b.test_id = v.test_id AND b.variant_id = v.variant_id
ORDER BY v.test_id, v.place, v.variant_id;

-- save_measurements --
-- What variants were thought to be worth.
INSERT INTO ab_measurements (test_id, variant_id, measured_at, metric, visitors, conversions, mean, low, high,
                             chance_to_be_best, expected_loss, algorithm, weight_before, weight_after, uplift, p_value,
                             any_time_low, any_time_high)
SELECT n.test_id, n.variant_id, n.measured_at, n.metric, n.visitors, n.conversions, n.mean, n.low, n.high,
       n.chance_to_be_best, n.expected_loss, n.algorithm, n.weight_before, n.weight_after, n.uplift, n.p_value,
       n.any_time_low, n.any_time_high
FROM jsonb_populate_recordset(NULL::ab_measurements, %(measurements)s) n
ON CONFLICT DO NOTHING;

-- save_weights --
-- New weights of running tests, as they were measured.
WITH changed AS (
    UPDATE ab_variants v SET weight_basis_points = n.weight_after
    FROM jsonb_populate_recordset(NULL::ab_measurements, %(measurements)s) n
    JOIN ab_tests t ON t.test_id = n.test_id AND t.status = 'running'
    WHERE v.test_id = n.test_id AND v.variant_id = n.variant_id
    RETURNING v.test_id
)
UPDATE ab_tests SET optimized_at = %(optimized_at)s WHERE test_id IN (SELECT c.test_id FROM changed c);

-- choose_due_starts --
-- Drafts whose start has passed.
SELECT t.test_id, t.starts_at AS due_at FROM ab_tests t
WHERE t.status = 'draft' AND t.auto_start AND t.starts_at <= %(due_at)s AND coalesce(t.ends_at > %(due_at)s, true)
ORDER BY t.starts_at, t.test_id LIMIT %(most)s;

-- choose_due_ends --
-- Live tests whose end has passed, and drafts that never began.
SELECT t.test_id, t.ends_at AS due_at FROM ab_tests t
WHERE t.status <> 'completed' AND t.auto_end AND t.ends_at <= %(due_at)s
ORDER BY t.ends_at, t.test_id LIMIT %(most)s;

-- choose_unmeasured --
-- Running tests without a winner, those first at which nobody has looked for the longest; once an hour, as they are
-- counted.
SELECT t.test_id FROM ab_tests t
WHERE t.status = 'running' AND t.winner_flagged_at IS NULL
  AND coalesce(t.measured_at < now() - interval '55 minutes', true)
ORDER BY t.measured_at NULLS FIRST, t.test_id LIMIT %(most)s;

-- mark_measured --
-- Somebody has looked; with a winner where the numbers show one.
UPDATE ab_tests
SET measured_at = %(measured_at)s, winner_variant_id = coalesce(winner_variant_id, %(winner_variant_id)s),
    winner_flagged_at = CASE WHEN %(winner_variant_id)s::text IS NULL THEN winner_flagged_at ELSE %(measured_at)s END
WHERE test_id = %(test_id)s;

-- list_guardrails --
-- The limits of running tests.
SELECT g.test_id, g.metric, g.threshold, g.action
FROM ab_guardrails g JOIN ab_tests t ON t.test_id = g.test_id AND t.status = 'running' ORDER BY 1, 2;

-- save_findings --
-- What was found wrong, once a day for each thing. Only what is new comes back.
INSERT INTO ab_findings AS f (test_id, kind, metric, variant_id, found_on, level, action, control_value, variant_value,
                              p_value)
SELECT n.test_id, n.kind, n.metric, n.variant_id, n.found_on, n.level, n.action, n.control_value, n.variant_value, n.p_value
FROM jsonb_populate_recordset(NULL::ab_findings, %(findings)s) n
ON CONFLICT DO NOTHING
RETURNING f.test_id, f.kind, f.metric, f.variant_id;

-- pause_tests --
-- Running tests take no new visitors until somebody lets them go on.
UPDATE ab_tests SET status = 'paused', updated_at = now() WHERE test_id = ANY (%(test_ids)s) AND status = 'running';

-- list_points --
-- What variants of tests were worth since an instant: the last measurement of each hour.
SELECT DISTINCT ON (m.test_id, m.variant_id, date_trunc('hour', m.measured_at)) m.test_id, m.variant_id, m.measured_at,
       m.mean, m.low, m.high, m.chance_to_be_best, m.weight_after, m.uplift, m.p_value, m.any_time_low, m.any_time_high
FROM ab_measurements m
WHERE m.test_id = ANY (%(test_ids)s) AND m.measured_at >= %(changed_since)s
ORDER BY m.test_id, m.variant_id, date_trunc('hour', m.measured_at), m.measured_at DESC;

-- list_weight_changes --
-- Weights of tests before and after a time, by what optimization wrote.
SELECT m.test_id, m.variant_id, (array_agg(m.weight_before ORDER BY m.measured_at))[1] AS before,
       (array_agg(m.weight_after ORDER BY m.measured_at DESC))[1] AS after,
       count(*) FILTER (WHERE m.weight_before <> m.weight_after)::integer AS changes
FROM ab_measurements m
WHERE m.test_id = ANY (%(test_ids)s) AND m.measured_at >= %(changed_since)s
GROUP BY 1, 2 ORDER BY 1, 2;

-- forget_measurements --
-- Measurements that no chart goes back to.
DELETE FROM ab_measurements WHERE measured_at < %(forgotten_at)s;
