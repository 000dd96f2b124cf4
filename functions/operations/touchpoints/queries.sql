-- save_touchpoints --
-- Touches, each once. Those come back that are new.
SELECT * FROM save_touchpoints(%(touches)s) AS s (touchpoint_id);

-- link_visitor --
-- That a visitor is the customers with this address. All that are linked come back, whether newly or not.
WITH mine AS (
    SELECT c.shopify_customer_id FROM customers c WHERE email_digest(c.email) = %(digest)s
), linked AS (
    INSERT INTO attribution_identities (visitor_id, shopify_customer_id)
    SELECT %(visitor_id)s, m.shopify_customer_id FROM mine m ON CONFLICT DO NOTHING
)
SELECT shopify_customer_id FROM mine ORDER BY 1;

-- pick_affected --
-- Orders of these customers that convert and were placed within a time after a touch of the visitor.
SELECT o.shopify_order_id FROM orders o
WHERE o.shopify_customer_id = ANY (%(customer_ids)s) AND o.total_cents > 0
  AND EXISTS (SELECT FROM attribution_touchpoints t WHERE t.visitor_id = %(visitor_id)s
              AND t.occurred_at BETWEEN o.placed_at - %(look_back)s AND o.placed_at)
ORDER BY o.placed_at DESC, o.shopify_order_id LIMIT %(page)s;
