-- A test order is nobody's first purchase.

SET lock_timeout = '3s';

-- As before, but a customer who has only made test orders has not bought before.
CREATE OR REPLACE FUNCTION attribution_journeys(p_order_ids bigint[], p_look_back interval, p_types text[])
RETURNS TABLE (shopify_order_id bigint, touchpoint_id uuid, channel text, occurred_at timestamptz, bought_before boolean)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT o.shopify_order_id, t.touchpoint_id, t.channel, t.occurred_at, EXISTS (
        SELECT FROM orders e WHERE e.shopify_customer_id = o.shopify_customer_id
            AND (e.placed_at, e.shopify_order_id) < (o.placed_at, o.shopify_order_id) AND NOT e.test) AS bought_before
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
