-- A/B tests: what is tested, who saw what, what they did, and what was counted of it.
--
-- Truth are the raw events, the assignments and the conversions; ab_daily_metrics is counted from them. Between two folds
-- the counts lie in Valkey, whose loss loses nothing but time: a rebuild reads the truth again and wins.

SET lock_timeout = '3s';

-- counted_through is the instant up to which the daily metrics hold everything that was kept.
-- weight_basis_points of a test's variants sum to 10,000. starts_at and ends_at are what the schedule says, started_at
-- and ended_at what happened.
CREATE TABLE ab_tests (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    test_id text NOT NULL,
    name text NOT NULL,
    status text NOT NULL CHECK (status IN ('draft', 'running', 'paused', 'completed')),
    mode text NOT NULL CHECK (mode IN ('manual', 'mab', 'thompson')),
    type text NOT NULL DEFAULT 'landing_page' CHECK (type IN ('landing_page', 'shipping', 'email')),
    goal text NOT NULL DEFAULT 'purchase' CHECK (goal IN ('page_view', 'add_to_cart', 'begin_checkout', 'purchase')),
    metric text NOT NULL DEFAULT 'revenue_per_visitor' CHECK (metric IN ('revenue_per_visitor', 'conversion_rate')),
    confidence numeric(3, 2) NOT NULL DEFAULT 0.95 CHECK (confidence IN (0.90, 0.95, 0.99)),
    exclusion_group text,
    forced_variant_id text,
    zone text NOT NULL DEFAULT 'America/New_York',
    starts_at timestamptz,
    ends_at timestamptz,
    auto_start boolean NOT NULL DEFAULT true,
    auto_end boolean NOT NULL DEFAULT true,
    started_at timestamptz,
    ended_at timestamptz,
    winner_variant_id text,
    winner_flagged_at timestamptz,
    optimized_at timestamptz,
    measured_at timestamptz,
    last_synced_at timestamptz,
    counted_through timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, test_id)
);
CREATE INDEX ab_tests_live ON ab_tests (tenant_id, test_id) WHERE status IN ('running', 'paused');
CALL protect('ab_tests');

CREATE TABLE ab_variants (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    test_id text NOT NULL,
    variant_id text NOT NULL,
    name text NOT NULL,
    place integer NOT NULL,
    is_control boolean NOT NULL DEFAULT false,
    weight_basis_points integer NOT NULL CHECK (weight_basis_points BETWEEN 0 AND 10000),
    content jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, test_id, variant_id),
    FOREIGN KEY (tenant_id, test_id) REFERENCES ab_tests ON DELETE CASCADE
);
CALL protect('ab_variants');

CREATE TABLE ab_targeting_rules (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    test_id text NOT NULL,
    priority integer NOT NULL,
    logic text NOT NULL DEFAULT 'and' CHECK (logic IN ('and', 'or')),
    action text NOT NULL DEFAULT 'include' CHECK (action IN ('include', 'exclude', 'assign')),
    variant_id text,
    conditions jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (tenant_id, test_id, priority),
    FOREIGN KEY (tenant_id, test_id) REFERENCES ab_tests ON DELETE CASCADE
);
CALL protect('ab_targeting_rules');

-- A limit on how far a variant may be worse than the control: threshold is the relative change, -0.10 a loss of a tenth.
CREATE TABLE ab_guardrails (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    test_id text NOT NULL,
    metric text NOT NULL CHECK (metric IN ('revenue_per_visitor', 'conversion_rate', 'bounce_rate', 'error_rate',
                                           'add_to_cart_rate', 'checkout_rate', 'refund_rate')),
    threshold numeric(6, 4) NOT NULL,
    action text NOT NULL CHECK (action IN ('warn', 'pause', 'stop')),
    PRIMARY KEY (tenant_id, test_id, metric),
    FOREIGN KEY (tenant_id, test_id) REFERENCES ab_tests ON DELETE CASCADE
);
CALL protect('ab_guardrails');

-- A visitor of a test, once, with the variant that stays theirs. *_on is the day they are counted on, *_at when we heard.
CREATE TABLE ab_test_assignments (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    test_id text NOT NULL,
    visitor_id text NOT NULL,
    variant_id text NOT NULL,
    session_id text,
    shopify_customer_id bigint,
    device text,
    country text,
    utm jsonb NOT NULL DEFAULT '{}',
    seen_on date NOT NULL,
    seen_at timestamptz NOT NULL,
    viewed_on date,
    viewed_at timestamptz,
    carted_on date,
    carted_at timestamptz,
    checkout_on date,
    checkout_at timestamptz,
    bounced_on date,
    bounced_at timestamptz,
    error_on date,
    error_at timestamptz,
    PRIMARY KEY (tenant_id, test_id, visitor_id),
    FOREIGN KEY (tenant_id, test_id, variant_id) REFERENCES ab_variants ON DELETE CASCADE
);
CREATE INDEX ab_assignments_by_visitor ON ab_test_assignments (tenant_id, visitor_id);
CREATE INDEX ab_assignments_by_session ON ab_test_assignments (tenant_id, session_id) WHERE session_id IS NOT NULL;
CREATE INDEX ab_assignments_by_customer ON ab_test_assignments (tenant_id, shopify_customer_id)
    WHERE shopify_customer_id IS NOT NULL;
CREATE INDEX ab_assignments_by_day ON ab_test_assignments (tenant_id, test_id, seen_on);
CALL protect('ab_test_assignments');

-- What visitors did, as told, one partition a day of occurred_on. The same event is one of the same id and day.
CREATE TABLE ab_events (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    occurred_on date NOT NULL,
    event_id text NOT NULL,
    test_id text NOT NULL,
    variant_id text NOT NULL,
    visitor_id text,
    type text NOT NULL CHECK (type IN ('page_view', 'add_to_cart', 'begin_checkout', 'purchase', 'bounce', 'error')),
    value_cents bigint,
    shopify_order_id bigint,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, occurred_on, event_id)
) PARTITION BY RANGE (occurred_on);
CREATE INDEX ab_events_by_test ON ab_events (tenant_id, test_id, occurred_on);
CALL protect('ab_events');

-- An order that a test's visitor placed. revenue_cents is what remains of it, 0 after a cancellation; confirmed once the
-- order itself was seen, whose figures then replace the storefront's.
CREATE TABLE ab_test_conversions (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    test_id text NOT NULL,
    shopify_order_id bigint NOT NULL,
    variant_id text NOT NULL,
    visitor_id text,
    source text NOT NULL CHECK (source IN ('event', 'reconciliation')),
    matched_by text NOT NULL DEFAULT 'visitor' CHECK (matched_by IN ('visitor', 'session', 'customer')),
    ordered_cents bigint NOT NULL CHECK (ordered_cents >= 0),
    revenue_cents bigint NOT NULL CHECK (revenue_cents >= 0),
    removed boolean NOT NULL DEFAULT false,
    converted_on date NOT NULL,
    converted_at timestamptz NOT NULL,
    confirmed_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, test_id, shopify_order_id),
    FOREIGN KEY (tenant_id, test_id, variant_id) REFERENCES ab_variants ON DELETE CASCADE
);
CREATE INDEX ab_conversions_by_order ON ab_test_conversions (tenant_id, shopify_order_id);
CREATE INDEX ab_conversions_by_day ON ab_test_conversions (tenant_id, test_id, converted_on);
CREATE INDEX ab_conversions_by_change ON ab_test_conversions (tenant_id, updated_at);
CALL protect('ab_test_conversions');

-- visitors are counted once, on the day they were first seen; so are those who carted, went to the
-- checkout, bounced or met an error. purchases, purchasers
-- and revenue follow from the conversions of that day. Counts of hours before rebuilt_through are in it already.
CREATE TABLE ab_daily_metrics (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    test_id text NOT NULL,
    variant_id text NOT NULL,
    metrics_on date NOT NULL,
    visitors bigint NOT NULL DEFAULT 0,
    viewers bigint NOT NULL DEFAULT 0,
    views bigint NOT NULL DEFAULT 0,
    carts bigint NOT NULL DEFAULT 0,
    cart_visitors bigint NOT NULL DEFAULT 0,
    checkouts bigint NOT NULL DEFAULT 0,
    checkout_visitors bigint NOT NULL DEFAULT 0,
    bounces bigint NOT NULL DEFAULT 0,
    bounce_visitors bigint NOT NULL DEFAULT 0,
    errors bigint NOT NULL DEFAULT 0,
    error_visitors bigint NOT NULL DEFAULT 0,
    purchases bigint NOT NULL DEFAULT 0,
    revenue_cents bigint NOT NULL DEFAULT 0,
    rebuilt_through timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, test_id, variant_id, metrics_on),
    FOREIGN KEY (tenant_id, test_id, variant_id) REFERENCES ab_variants ON DELETE CASCADE
);
CREATE INDEX ab_daily_metrics_by_day ON ab_daily_metrics (tenant_id, metrics_on);
CALL protect('ab_daily_metrics');

-- Snapshots of counters that were added to the daily metrics: each once.
CREATE TABLE ab_counter_folds (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    snapshot_id text NOT NULL,
    hour_at timestamptz NOT NULL,
    counts integer NOT NULL,
    folded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, snapshot_id)
);
CREATE INDEX ab_counter_folds_by_age ON ab_counter_folds (folded_at);
CALL protect('ab_counter_folds');
CALL open_to_platform('ab_counter_folds');

-- Where what was counted differs from what was told.
CREATE TABLE ab_metric_discrepancies (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    discrepancy_id uuid NOT NULL DEFAULT gen_random_uuid(),
    test_id text NOT NULL,
    variant_id text NOT NULL,
    metrics_on date NOT NULL,
    metric text NOT NULL,
    stored bigint NOT NULL,
    actual bigint NOT NULL,
    found_by text NOT NULL CHECK (found_by IN ('sync', 'reconciliation', 'aggregation')),
    corrected boolean NOT NULL,
    found_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, discrepancy_id),
    FOREIGN KEY (tenant_id, test_id) REFERENCES ab_tests ON DELETE CASCADE
);
CREATE INDEX ab_discrepancies_by_test ON ab_metric_discrepancies (tenant_id, test_id, found_at);
CALL protect('ab_metric_discrepancies');

-- What a variant was thought to be worth, each time somebody looked, and what its weight became. uplift, p_value and the
-- interval that holds at every look are against the control, whose own are null.
CREATE TABLE ab_measurements (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    test_id text NOT NULL,
    variant_id text NOT NULL,
    measured_at timestamptz NOT NULL,
    metric text NOT NULL,
    visitors bigint NOT NULL,
    conversions bigint NOT NULL,
    mean double precision NOT NULL,
    low double precision NOT NULL,
    high double precision NOT NULL,
    chance_to_be_best double precision NOT NULL,
    expected_loss double precision NOT NULL,
    algorithm text,
    weight_before integer NOT NULL,
    weight_after integer NOT NULL,
    uplift double precision,
    p_value double precision,
    any_time_low double precision,
    any_time_high double precision,
    PRIMARY KEY (tenant_id, test_id, variant_id, measured_at),
    FOREIGN KEY (tenant_id, test_id, variant_id) REFERENCES ab_variants ON DELETE CASCADE
);
CREATE INDEX ab_measurements_by_time ON ab_measurements (tenant_id, test_id, measured_at);
CALL protect('ab_measurements');

-- What was found wrong with a running test, once a day for each thing: a guardrail, a sample ratio.
CREATE TABLE ab_findings (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    test_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('guardrail', 'sample_ratio')),
    metric text NOT NULL,
    variant_id text NOT NULL,
    found_on date NOT NULL,
    level text NOT NULL CHECK (level IN ('warning', 'critical')),
    action text NOT NULL CHECK (action IN ('warn', 'pause', 'stop')),
    control_value double precision,
    variant_value double precision,
    p_value double precision NOT NULL,
    found_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, test_id, kind, metric, variant_id, found_on),
    FOREIGN KEY (tenant_id, test_id) REFERENCES ab_tests ON DELETE CASCADE
);
CALL protect('ab_findings');

-- The day's partition of the raw events, under the parent's own rules. False where it is there already.
CREATE FUNCTION make_ab_event_partition(p_day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    v_name text := 'ab_events_' || to_char(p_day, 'YYYYMMDD');
BEGIN
    IF to_regclass(v_name) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('ab_events partitions', 0));
    IF to_regclass(v_name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE ab_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', v_name);
    EXECUTE format('CALL protect(%L)', v_name);
    EXECUTE format('ALTER TABLE ab_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', v_name, p_day, p_day + 1);
    RETURN true;
END
$$;

-- Partitions for the days around today, and an end to those that are older than p_kept; returns how many changed.
CREATE FUNCTION keep_ab_event_partitions(p_today date, p_kept interval) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    v_changed integer := 0;
    v_day date;
    v_name text;
BEGIN
    FOR v_day IN SELECT p_today + n FROM generate_series(-3, 3) n LOOP
        v_changed := v_changed + make_ab_event_partition(v_day)::integer;
    END LOOP;
    FOR v_name IN
        SELECT i.inhrelid::regclass::text FROM pg_inherits i
        WHERE i.inhparent = 'ab_events'::regclass
          AND to_date(right(i.inhrelid::regclass::text, 8), 'YYYYMMDD') < p_today - p_kept
    LOOP
        EXECUTE format('DROP TABLE %I', v_name);
        v_changed := v_changed + 1;
    END LOOP;
    RETURN v_changed;
END
$$;
REVOKE EXECUTE ON FUNCTION make_ab_event_partition(date), keep_ab_event_partitions(date, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keep_ab_event_partitions(date, interval) TO tradewind_platform;
SELECT keep_ab_event_partitions((now() AT TIME ZONE 'UTC')::date, interval '30 days');

-- Whose collecting key with this scope this is, for who holds its secret: nothing is told of any other key.
CREATE FUNCTION find_collecting_key(p_key uuid, p_secret_sha256 bytea, p_scope text) RETURNS TABLE (tenant_id uuid, tenant_status text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public
BEGIN ATOMIC
    SELECT t.tenant_id, t.status
    FROM api_keys k JOIN tenants t ON t.tenant_id = k.tenant_id
    WHERE k.key_id = p_key AND k.secret_sha256 = p_secret_sha256 AND p_scope = ANY (k.scopes)
      AND k.scopes <@ ARRAY['ab:collect', 'touchpoints:collect']
      AND k.revoked_at IS NULL AND coalesce(k.expires_at > now(), true);
END;
REVOKE EXECUTE ON FUNCTION find_collecting_key(uuid, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_collecting_key(uuid, bytea, text) TO tradewind_app;

-- Visitors of running tests, each once per test; a visitor keeps the first variant. Answers every visitor's standing
-- variant, and which rows are new. One statement after the other: the second sees what a concurrent caller wrote.
CREATE FUNCTION assign_ab_visitors(p_asked jsonb, p_now timestamptz)
RETURNS TABLE (test_id text, visitor_id text, variant_id text, is_new boolean, seen_on date)
LANGUAGE plpgsql AS $$
DECLARE
    v_new jsonb;
BEGIN
    WITH asked AS (
        SELECT DISTINCT ON (a.test_id, a.visitor_id) a.*
        FROM jsonb_to_recordset(p_asked) AS a (test_id text, visitor_id text, variant_id text, session_id text,
                                               customer_id bigint, device text, country text, utm jsonb,
                                               occurred_at timestamptz)
        ORDER BY a.test_id, a.visitor_id, a.occurred_at
    ), written AS (
        INSERT INTO ab_test_assignments AS x (test_id, visitor_id, variant_id, session_id, shopify_customer_id, device,
                                              country, utm, seen_on, seen_at)
        SELECT a.test_id, a.visitor_id, a.variant_id, a.session_id, a.customer_id, a.device, a.country,
               coalesce(a.utm, '{}'), (a.occurred_at AT TIME ZONE 'UTC')::date, p_now
        FROM asked a
        JOIN ab_variants v ON v.test_id = a.test_id AND v.variant_id = a.variant_id
        JOIN ab_tests t ON t.test_id = a.test_id AND t.status = 'running'
        WHERE a.variant_id IS NOT NULL
        ON CONFLICT DO NOTHING
        RETURNING x.test_id, x.visitor_id
    )
    SELECT coalesce(jsonb_object_agg(w.test_id || chr(31) || w.visitor_id, true), '{}') INTO v_new FROM written w;
    RETURN QUERY
    SELECT s.test_id, s.visitor_id, s.variant_id, v_new ? (s.test_id || chr(31) || s.visitor_id), s.seen_on
    FROM ab_test_assignments s
    WHERE (s.test_id, s.visitor_id) IN (
        SELECT a.test_id, a.visitor_id FROM jsonb_to_recordset(p_asked) AS a (test_id text, visitor_id text));
END
$$;

-- A batch of events, each kept once, with whatever follows from it: the visitor's assignment, first times, conversions.
-- Returns what is new, to be counted. An event of a test that neither runs nor is paused, or of a visitor who may not be
-- in it, is left out.
CREATE FUNCTION record_ab_events(p_events jsonb)
RETURNS TABLE (accepted integer, duplicates integer, received_at timestamptz, counts jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_counts jsonb;
    v_more jsonb;
    v_accepted integer;
    v_fitting integer;
BEGIN
    SELECT coalesce(jsonb_agg(jsonb_build_object('day', n.seen_on, 'test', n.test_id, 'variant', n.variant_id,
                                                 'metric', 'visitors', 'amount', n.amount)), '[]')
    INTO v_counts
    FROM (SELECT a.seen_on, a.test_id, a.variant_id, count(*) AS amount
          FROM assign_ab_visitors(p_events, v_now) a WHERE a.is_new GROUP BY 1, 2, 3) n;
    WITH told AS (
        SELECT e.*, (e.occurred_at AT TIME ZONE 'UTC')::date AS occurred_on, a.variant_id AS standing_variant_id
        FROM jsonb_to_recordset(p_events) AS e (event_id text, test_id text, visitor_id text, type text,
                                                value_cents bigint, order_id bigint, occurred_at timestamptz)
        JOIN ab_tests t ON t.test_id = e.test_id AND t.status IN ('running', 'paused')
        JOIN ab_test_assignments a ON a.test_id = e.test_id AND a.visitor_id = e.visitor_id
    ), fresh AS (
        INSERT INTO ab_events AS x (occurred_on, event_id, test_id, variant_id, visitor_id, type, value_cents,
                                    shopify_order_id, occurred_at, received_at)
        SELECT o.occurred_on, o.event_id, o.test_id, o.standing_variant_id, o.visitor_id, o.type, o.value_cents,
               o.order_id, o.occurred_at, v_now
        FROM told o ORDER BY o.occurred_on, o.event_id
        ON CONFLICT DO NOTHING
        RETURNING x.*
    ), firsts AS (
        SELECT f.test_id, f.visitor_id, min(f.occurred_on) FILTER (WHERE f.type = 'page_view') AS viewed_on,
               min(f.occurred_on) FILTER (WHERE f.type = 'add_to_cart') AS carted_on,
               min(f.occurred_on) FILTER (WHERE f.type = 'begin_checkout') AS checkout_on,
               min(f.occurred_on) FILTER (WHERE f.type = 'bounce') AS bounced_on,
               min(f.occurred_on) FILTER (WHERE f.type = 'error') AS error_on
        FROM fresh f WHERE f.type <> 'purchase' GROUP BY 1, 2
    ), first_times AS (
        UPDATE ab_test_assignments a
        SET viewed_on = coalesce(a.viewed_on, n.viewed_on),
            viewed_at = CASE WHEN a.viewed_on IS NULL AND n.viewed_on IS NOT NULL THEN v_now ELSE a.viewed_at END,
            carted_on = coalesce(a.carted_on, n.carted_on),
            carted_at = CASE WHEN a.carted_on IS NULL AND n.carted_on IS NOT NULL THEN v_now ELSE a.carted_at END,
            checkout_on = coalesce(a.checkout_on, n.checkout_on),
            checkout_at = CASE WHEN a.checkout_on IS NULL AND n.checkout_on IS NOT NULL THEN v_now ELSE a.checkout_at END,
            bounced_on = coalesce(a.bounced_on, n.bounced_on),
            bounced_at = CASE WHEN a.bounced_on IS NULL AND n.bounced_on IS NOT NULL THEN v_now ELSE a.bounced_at END,
            error_on = coalesce(a.error_on, n.error_on),
            error_at = CASE WHEN a.error_on IS NULL AND n.error_on IS NOT NULL THEN v_now ELSE a.error_at END
        FROM firsts n
        WHERE a.test_id = n.test_id AND a.visitor_id = n.visitor_id
          AND (a.viewed_on IS NULL AND n.viewed_on IS NOT NULL OR a.carted_on IS NULL AND n.carted_on IS NOT NULL
               OR a.checkout_on IS NULL AND n.checkout_on IS NOT NULL OR a.bounced_on IS NULL AND n.bounced_on IS NOT NULL
               OR a.error_on IS NULL AND n.error_on IS NOT NULL)
        RETURNING a.*
    ), converted AS (
        INSERT INTO ab_test_conversions (test_id, shopify_order_id, variant_id, visitor_id, source, ordered_cents,
                                         revenue_cents, removed, converted_on, converted_at, confirmed_at)
        SELECT f.test_id, f.shopify_order_id, f.variant_id, f.visitor_id, 'event', coalesce(o.total_cents, f.value_cents),
               CASE WHEN o.status IS NULL THEN f.value_cents WHEN o.status = 'cancelled' THEN 0
                    ELSE greatest(0, o.total_cents - o.refunded_cents) END,
               coalesce(o.status = 'cancelled', false), f.occurred_on, f.occurred_at,
               CASE WHEN o.status IS NOT NULL THEN v_now END
        FROM fresh f LEFT JOIN orders o ON o.shopify_order_id = f.shopify_order_id
        WHERE f.type = 'purchase'
        ON CONFLICT DO NOTHING
    ), counted AS (
        SELECT f.occurred_on AS day, f.test_id AS test, f.variant_id AS variant,
               CASE f.type WHEN 'page_view' THEN 'views' WHEN 'add_to_cart' THEN 'carts' WHEN 'bounce' THEN 'bounces'
                           WHEN 'begin_checkout' THEN 'checkouts' WHEN 'error' THEN 'errors' END AS metric,
               count(*) AS amount
        FROM fresh f WHERE f.type <> 'purchase' GROUP BY 1, 2, 3, 4
        UNION ALL
        SELECT a.viewed_on, a.test_id, a.variant_id, 'viewers', count(*) FROM first_times a
        WHERE a.viewed_at = v_now GROUP BY 1, 2, 3
        UNION ALL
        SELECT a.carted_on, a.test_id, a.variant_id, 'cart_visitors', count(*) FROM first_times a
        WHERE a.carted_at = v_now GROUP BY 1, 2, 3
        UNION ALL
        SELECT a.checkout_on, a.test_id, a.variant_id, 'checkout_visitors', count(*) FROM first_times a
        WHERE a.checkout_at = v_now GROUP BY 1, 2, 3
        UNION ALL
        SELECT a.bounced_on, a.test_id, a.variant_id, 'bounce_visitors', count(*) FROM first_times a
        WHERE a.bounced_at = v_now GROUP BY 1, 2, 3
        UNION ALL
        SELECT a.error_on, a.test_id, a.variant_id, 'error_visitors', count(*) FROM first_times a
        WHERE a.error_at = v_now GROUP BY 1, 2, 3
    )
    SELECT (SELECT count(*) FROM fresh), (SELECT count(*) FROM told),
           (SELECT coalesce(jsonb_agg(to_jsonb(c)), '[]') FROM counted c)
    INTO v_accepted, v_fitting, v_more;
    RETURN QUERY SELECT v_accepted, v_fitting - v_accepted, v_now, v_counts || v_more;
END
$$;

REVOKE EXECUTE ON FUNCTION assign_ab_visitors(jsonb, timestamptz), record_ab_events(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION assign_ab_visitors(jsonb, timestamptz), record_ab_events(jsonb) TO tradewind_app;

CALL declare_data('ab_tests', '{"test_id": "nothing", "name": "nothing", "status": "nothing", "mode": "nothing",
    "type": "nothing", "goal": "nothing", "metric": "nothing", "exclusion_group": "nothing",
    "forced_variant_id": "nothing", "zone": "nothing", "winner_variant_id": "nothing"}');
CALL declare_data('ab_variants', '{"test_id": "nothing", "variant_id": "nothing", "name": "nothing", "content": "nothing"}');
CALL declare_data('ab_targeting_rules', '{"test_id": "nothing", "logic": "nothing", "action": "nothing",
    "variant_id": "nothing", "conditions": "nothing"}');
CALL declare_data('ab_guardrails', '{"test_id": "nothing", "metric": "nothing", "action": "nothing"}');
CALL declare_data('ab_test_assignments', '{"test_id": "nothing", "visitor_id": "visitor delete", "variant_id": "nothing",
    "session_id": "personal delete", "shopify_customer_id": "customer delete", "device": "personal delete",
    "country": "personal delete", "utm": "personal delete"}');
CALL declare_data('ab_events', '{"event_id": "nothing", "test_id": "nothing", "variant_id": "nothing",
    "visitor_id": "visitor clear", "type": "nothing", "shopify_order_id": "order"}');
CALL declare_data('ab_test_conversions', '{"test_id": "nothing", "shopify_order_id": "order", "variant_id": "nothing",
    "visitor_id": "visitor clear", "source": "nothing", "matched_by": "nothing"}');
CALL declare_data('ab_daily_metrics', '{"test_id": "nothing", "variant_id": "nothing"}');
CALL declare_data('ab_counter_folds', '{"snapshot_id": "nothing"}');
CALL declare_data('ab_metric_discrepancies', '{"test_id": "nothing", "variant_id": "nothing", "metric": "nothing",
    "found_by": "nothing"}');
CALL declare_data('ab_measurements', '{"test_id": "nothing", "variant_id": "nothing", "metric": "nothing",
    "algorithm": "nothing"}');
CALL declare_data('ab_findings', '{"test_id": "nothing", "kind": "nothing", "metric": "nothing", "variant_id": "nothing",
    "level": "nothing", "action": "nothing"}');

-- What each of a test's visitors came to until now: 'revenue' (cents), or whether a goal was reached (1) or not (0).
CREATE FUNCTION ab_visitor_outcomes(p_test_id text, p_measured text)
RETURNS TABLE (visitor_id text, variant_id text, seen_on date, amount numeric)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT a.visitor_id, a.variant_id, a.seen_on,
           (CASE p_measured WHEN 'revenue' THEN coalesce(d.cents, 0) WHEN 'purchase' THEN (d.visitor_id IS NOT NULL)::integer
                            WHEN 'page_view' THEN (a.viewed_on IS NOT NULL)::integer
                            WHEN 'add_to_cart' THEN (a.carted_on IS NOT NULL)::integer
                            ELSE (a.checkout_on IS NOT NULL)::integer END)::numeric
    FROM ab_test_assignments a
    LEFT JOIN (SELECT c.visitor_id, sum(c.revenue_cents) AS cents FROM ab_test_conversions c
               WHERE c.test_id = p_test_id AND NOT c.removed AND c.visitor_id IS NOT NULL GROUP BY 1) d
        ON d.visitor_id = a.visitor_id
    WHERE a.test_id = p_test_id;
END;

-- What orders' conversions are worth now: less after a refund, nothing after a cancellation, and nothing ever of test orders.
CREATE FUNCTION settle_ab_conversions(p_order_ids bigint[]) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
    WITH present AS (
        SELECT o.shopify_order_id, o.total_cents, o.status = 'cancelled' OR o.test AS removed,
               CASE WHEN o.status = 'cancelled' OR o.test THEN 0
                    ELSE greatest(0, o.total_cents - o.refunded_cents) END AS cents
        FROM orders o WHERE o.shopify_order_id = ANY (p_order_ids)
    ), differing AS (
        SELECT c.test_id, p.*
        FROM ab_test_conversions c JOIN present p ON p.shopify_order_id = c.shopify_order_id
        WHERE c.confirmed_at IS NULL OR (c.ordered_cents, c.revenue_cents, c.removed)
                                        IS DISTINCT FROM (p.total_cents, p.cents, p.removed)
        ORDER BY c.shopify_order_id, c.test_id FOR UPDATE OF c
    )
    UPDATE ab_test_conversions c
    SET ordered_cents = d.total_cents, revenue_cents = d.cents, removed = d.removed, updated_at = now(),
        confirmed_at = coalesce(c.confirmed_at, now())
    FROM differing d WHERE c.test_id = d.test_id AND c.shopify_order_id = d.shopify_order_id;
END;
