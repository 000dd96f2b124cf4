-- What is told of attribution: a day's channels, how much of it is covered, and what is still tried again.

SET lock_timeout = '3s';

CREATE FUNCTION email_digest(p_email text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN encode(sha256(convert_to(lower(btrim(p_email)), 'UTF8')), 'hex');
CREATE INDEX customers_by_email_digest ON customers (tenant_id, email_digest(email)) WHERE email IS NOT NULL;

-- The ad platform that a touch came from, by its click id, else by its source.
CREATE FUNCTION touch_platform(p_click_id text, p_source text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN p_click_id LIKE 'gclid:%' THEN 'google'
    WHEN p_click_id LIKE 'fbclid:%' THEN 'meta'
    WHEN p_click_id LIKE 'ttclid:%' THEN 'tiktok'
    WHEN p_click_id LIKE 'msclkid:%' THEN 'microsoft'
    WHEN p_source LIKE '%google%' THEN 'google'
    WHEN p_source LIKE '%facebook%' OR p_source LIKE '%instagram%' OR p_source = 'meta' THEN 'meta'
    WHEN p_source LIKE '%tiktok%' THEN 'tiktok'
    WHEN p_source LIKE '%bing%' THEN 'microsoft'
    ELSE 'none' END;

-- A local day's channels by each model in each window: the touches of that day's conversions, their credits and revenue.
CREATE TABLE attribution_channel_summary (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    summary_on date NOT NULL,
    model text NOT NULL,
    window_days integer NOT NULL,
    channel text NOT NULL,
    platform text NOT NULL,
    touchpoints integer NOT NULL,
    conversions numeric(14, 6) NOT NULL,
    revenue_cents bigint NOT NULL,
    calculated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, summary_on, model, window_days, channel, platform)
);
CALL protect('attribution_channel_summary');
CALL declare_data('attribution_channel_summary', '{"model": "nothing", "channel": "nothing", "platform": "nothing"}');

-- How much of a local day's orders can be explained, and whether touches and webhooks came in at all.
CREATE TABLE attribution_data_quality_snapshots (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    snapshot_on date NOT NULL,
    orders integer NOT NULL,
    conversions integer NOT NULL,
    attributed integer NOT NULL,
    coverage numeric(5, 4),
    touchpoints integer NOT NULL,
    visitors integer NOT NULL,
    touchpoints_without_source integer NOT NULL,
    last_touch_at timestamptz,
    webhooks integer NOT NULL,
    webhooks_failed integer NOT NULL,
    calculated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, snapshot_on)
);
CALL protect('attribution_data_quality_snapshots');

-- Conversions without a touch that were tried again; after 72 hours they are given up.
CREATE TABLE attribution_retries (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    shopify_order_id bigint NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    tried_at timestamptz,
    given_up boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, shopify_order_id),
    FOREIGN KEY (tenant_id, shopify_order_id) REFERENCES attribution_conversions ON DELETE CASCADE
);
CREATE INDEX conversions_unattributed ON attribution_conversions (tenant_id, converted_at) WHERE status = 'unattributed';
CALL protect('attribution_retries');
CALL declare_data('attribution_retries', '{"shopify_order_id": "order"}');
