-- save_touchpoint --
-- A touch, once. Comes back only if it is new.
INSERT INTO attribution_touchpoints (
    touchpoint_id, dedupe_hash, visitor_id, session_id, shopify_customer_id, channel, source, medium, campaign, click_id,
    landing_page, referrer_url, type, occurred_at)
VALUES (%(touchpoint_id)s, %(dedupe_hash)s, %(visitor_id)s, %(session_id)s, %(customer_id)s, %(channel)s, %(source)s,
        %(medium)s, %(campaign)s, %(click_id)s, %(landing_page)s, %(referrer_url)s, %(type)s, %(occurred_at)s)
ON CONFLICT (tenant_id, dedupe_hash) DO NOTHING
RETURNING touchpoint_id;
