-- Attribution, shared by the order chain, the recalculation and whoever stores touches: what leads to an order, and how a
-- conversion is written. All of it runs as whoever calls it, under row-level security.

SET lock_timeout = '3s';

SELECT keep_touchpoint_partitions((now() AT TIME ZONE 'UTC')::date, interval '400 days', true);

-- Visitors of whom we know who they are: one person's devices. Their touches count for their customer's orders.
CREATE TABLE attribution_identities (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    visitor_id text NOT NULL,
    shopify_customer_id bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, visitor_id, shopify_customer_id)
);
CREATE INDEX identities_by_customer ON attribution_identities (tenant_id, shopify_customer_id);
CALL protect('attribution_identities');
CALL declare_data('attribution_identities', '{"visitor_id": "visitor delete", "shopify_customer_id": "customer delete"}');

-- What a tenant's training has learnt: each channel's weight in the data-driven model, from so many conversions.
CREATE TABLE attribution_weights (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    channel text NOT NULL,
    weight double precision NOT NULL CHECK (weight BETWEEN 0 AND 1),
    conversions integer NOT NULL,
    trained_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, channel)
);
CALL protect('attribution_weights');
CALL declare_data('attribution_weights', '{"channel": "nothing"}');

-- What each order's conversion is computed from: the newest 50 touches of its visitor (of its customer, where it names no
-- visitor), of visitors who are known to be its customer, and its own, in the time before it, and whether the customer had
-- bought before; of equal instants the lower id is the earlier. An order without a touch has one row without one.
CREATE FUNCTION attribution_journeys(p_order_ids bigint[], p_look_back interval, p_types text[])
RETURNS TABLE (shopify_order_id bigint, touchpoint_id uuid, channel text, occurred_at timestamptz, bought_before boolean)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT o.shopify_order_id, t.touchpoint_id, t.channel, t.occurred_at, EXISTS (
        SELECT FROM orders e WHERE e.shopify_customer_id = o.shopify_customer_id
            AND (e.placed_at, e.shopify_order_id) < (o.placed_at, o.shopify_order_id)) AS bought_before
    FROM orders o LEFT JOIN LATERAL (
        (SELECT a.touchpoint_id, a.channel, a.occurred_at FROM attribution_touchpoints a
         WHERE a.visitor_id = o.visitor_id AND a.occurred_at BETWEEN o.placed_at - p_look_back AND o.placed_at
           AND a.type = ANY (p_types)
         ORDER BY a.occurred_at DESC, a.touchpoint_id DESC LIMIT 50)
        UNION
        (SELECT a.touchpoint_id, a.channel, a.occurred_at FROM attribution_touchpoints a
         WHERE o.visitor_id IS NULL AND a.shopify_customer_id = o.shopify_customer_id
           AND a.occurred_at BETWEEN o.placed_at - p_look_back AND o.placed_at AND a.type = ANY (p_types)
         ORDER BY a.occurred_at DESC, a.touchpoint_id DESC LIMIT 50)
        UNION
        (SELECT a.touchpoint_id, a.channel, a.occurred_at
         FROM attribution_identities i JOIN attribution_touchpoints a ON a.visitor_id = i.visitor_id
         WHERE i.shopify_customer_id = o.shopify_customer_id
           AND a.occurred_at BETWEEN o.placed_at - p_look_back AND o.placed_at AND a.type = ANY (p_types)
         ORDER BY a.occurred_at DESC, a.touchpoint_id DESC LIMIT 50)
        UNION
        SELECT a.touchpoint_id, a.channel, a.occurred_at FROM attribution_touchpoints a
        WHERE a.shopify_order_id = o.shopify_order_id
          AND a.occurred_at BETWEEN o.placed_at - p_look_back AND o.placed_at AND a.type = ANY (p_types)
        ORDER BY occurred_at DESC, touchpoint_id DESC LIMIT 50
    ) t ON true
    WHERE o.shopify_order_id = ANY (p_order_ids);
END;

-- Write conversions with their credits; writing again overwrites, and what stands already is not written. A window that no
-- longer has a touch loses its row. Of p_told those come back that are told now for the first time.
CREATE FUNCTION save_conversions(p_conversions jsonb, p_credits jsonb, p_told bigint[]) RETURNS SETOF bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_told bigint[] := ARRAY(
        SELECT c.shopify_order_id FROM attribution_conversions c WHERE c.shopify_order_id = ANY (p_told) AND c.told);
BEGIN
    RETURN QUERY
    WITH wanted AS (
        SELECT r.* FROM jsonb_populate_recordset(NULL::attribution_credits, p_credits) r
    ), saved AS (
        INSERT INTO attribution_conversions AS c (shopify_order_id, visitor_id, shopify_customer_id, revenue_cents,
            gross_revenue_cents, currency, first_purchase, touchpoints, status, told, converted_at)
        SELECT r.shopify_order_id, r.visitor_id, r.shopify_customer_id, r.revenue_cents, r.gross_revenue_cents, r.currency,
               r.first_purchase, r.touchpoints, r.status, r.shopify_order_id = ANY (p_told), r.converted_at
        FROM jsonb_populate_recordset(NULL::attribution_conversions, p_conversions) r
        ORDER BY r.shopify_order_id
        ON CONFLICT (tenant_id, shopify_order_id) DO UPDATE SET
            visitor_id = excluded.visitor_id, shopify_customer_id = excluded.shopify_customer_id,
            revenue_cents = excluded.revenue_cents, gross_revenue_cents = excluded.gross_revenue_cents,
            currency = excluded.currency, first_purchase = excluded.first_purchase, touchpoints = excluded.touchpoints,
            status = excluded.status, told = c.told OR excluded.told, converted_at = excluded.converted_at,
            calculated_at = now()
        RETURNING c.shopify_order_id
    ), gone AS (
        DELETE FROM attribution_credits a USING saved s
        WHERE a.shopify_order_id = s.shopify_order_id
          AND NOT EXISTS (SELECT FROM wanted w WHERE w.shopify_order_id = a.shopify_order_id
                                                 AND w.window_days = a.window_days)
    ), credited AS (
        INSERT INTO attribution_credits AS a (shopify_order_id, window_days, touchpoint_ids, channels, credits, cents)
        SELECT w.shopify_order_id, w.window_days, w.touchpoint_ids, w.channels, w.credits, w.cents FROM wanted w
        ON CONFLICT (tenant_id, shopify_order_id, window_days) DO UPDATE SET
            touchpoint_ids = excluded.touchpoint_ids, channels = excluded.channels, credits = excluded.credits,
            cents = excluded.cents
        WHERE (a.touchpoint_ids, a.channels, a.credits, a.cents)
              IS DISTINCT FROM (excluded.touchpoint_ids, excluded.channels, excluded.credits, excluded.cents)
    )
    SELECT s.shopify_order_id FROM saved s
    WHERE s.shopify_order_id = ANY (p_told) AND s.shopify_order_id <> ALL (v_told) ORDER BY 1;
END
$$;

-- Store touches, each once; those that are new come back. A touch that is told again under its id is the same within five
-- weeks of its time, whatever time it is told with.
CREATE FUNCTION save_touchpoints(p_touches jsonb) RETURNS SETOF uuid
LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO attribution_touchpoints AS a (
        touchpoint_id, dedupe_hash, visitor_id, session_id, shopify_customer_id, channel, source, medium, campaign, click_id,
        landing_page, referrer_url, device, type, occurred_at)
    SELECT DISTINCT ON (r.touchpoint_id)
           r.touchpoint_id, r.dedupe_hash, r.visitor_id, r.session_id, r.shopify_customer_id, r.channel, r.source, r.medium,
           r.campaign, r.click_id, r.landing_page, r.referrer_url, r.device, r.type, r.occurred_at
    FROM jsonb_populate_recordset(NULL::attribution_touchpoints, p_touches) r
    WHERE NOT EXISTS (SELECT FROM attribution_touchpoints t WHERE t.touchpoint_id = r.touchpoint_id
                      AND t.occurred_at BETWEEN r.occurred_at - interval '35 days' AND r.occurred_at + interval '35 days')
    ORDER BY r.touchpoint_id
    ON CONFLICT DO NOTHING
    RETURNING a.touchpoint_id;
END;

REVOKE EXECUTE ON FUNCTION attribution_journeys(bigint[], interval, text[]), save_conversions(jsonb, jsonb, bigint[]),
    save_touchpoints(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION attribution_journeys(bigint[], interval, text[]), save_conversions(jsonb, jsonb, bigint[]),
    save_touchpoints(jsonb) TO tradewind_app;
