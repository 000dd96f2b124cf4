-- find_conversion --
-- An order's conversion as the order chain has written it, with whether Shopify calls it a test.
SELECT c.shopify_order_id, c.revenue_cents, c.currency, c.touchpoints, c.status, o.test
FROM attribution_conversions c JOIN orders o ON o.shopify_order_id = c.shopify_order_id
WHERE c.shopify_order_id = %(order_id)s;

-- pick_platforms --
-- Of which of these providers the tenant has stored a credential.
SELECT DISTINCT c.provider FROM credentials c WHERE c.provider = ANY (%(destinations)s) ORDER BY 1;
