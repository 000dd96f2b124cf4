-- Orders as Shopify has them, and what follows from each: touchpoints and attribution, commission, review e-mail.

SET lock_timeout = '3s';

CREATE TABLE customers (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    shopify_customer_id bigint NOT NULL,
    email text,
    first_name text,
    last_name text,
    phone text,
    accepts_marketing boolean NOT NULL DEFAULT false,
    tags text[] NOT NULL DEFAULT '{}',
    synced_at timestamptz NOT NULL DEFAULT now(),
    source_updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, shopify_customer_id)
);
CALL protect('customers');

CREATE TABLE orders (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    shopify_order_id bigint NOT NULL,
    order_number text NOT NULL,
    shopify_customer_id bigint,
    email text,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    gross_cents bigint NOT NULL,
    discount_cents bigint NOT NULL,
    net_cents bigint NOT NULL,
    shipping_cents bigint NOT NULL,
    tax_cents bigint NOT NULL,
    total_cents bigint NOT NULL,
    refunded_cents bigint NOT NULL DEFAULT 0,
    refunded_net_cents bigint NOT NULL DEFAULT 0,
    financial_status text NOT NULL,
    fulfillment_status text,
    status text NOT NULL CHECK (status IN ('open', 'cancelled', 'refunded')),
    test boolean NOT NULL DEFAULT false,
    weight_grams bigint,
    tags text[] NOT NULL DEFAULT '{}',
    discount_codes text[] NOT NULL DEFAULT '{}',
    attributes jsonb NOT NULL DEFAULT '{}',
    visitor_id text,
    landing_page text,
    referrer_url text,
    utm jsonb NOT NULL DEFAULT '{}',
    visited_at timestamptz,
    cancel_reason text,
    placed_at timestamptz NOT NULL,
    fulfilled_at timestamptz,
    delivered_at timestamptz,
    cancelled_at timestamptz,
    shopify_updated_at timestamptz NOT NULL,
    content_hash text,
    synced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, shopify_order_id),
    CHECK (net_cents = gross_cents - discount_cents),
    CHECK (refunded_cents >= 0 AND refunded_net_cents >= 0)
);
CREATE INDEX orders_by_update ON orders (tenant_id, shopify_updated_at);
CREATE INDEX orders_by_customer ON orders (tenant_id, shopify_customer_id, placed_at);
CREATE INDEX orders_by_visitor ON orders (tenant_id, visitor_id, placed_at) WHERE visitor_id IS NOT NULL;
CREATE INDEX orders_by_placed ON orders (tenant_id, placed_at);
CALL protect('orders');

CREATE TABLE order_line_items (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    shopify_order_id bigint NOT NULL,
    shopify_line_id bigint NOT NULL,
    shopify_product_id bigint,
    shopify_variant_id bigint,
    sku text,
    title text NOT NULL,
    quantity integer NOT NULL CHECK (quantity >= 0),
    unit_price_cents bigint NOT NULL,
    discount_cents bigint NOT NULL,
    PRIMARY KEY (tenant_id, shopify_order_id, shopify_line_id),
    FOREIGN KEY (tenant_id, shopify_order_id) REFERENCES orders ON DELETE CASCADE
);
CALL protect('order_line_items');

CREATE TABLE fulfillments (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    shopify_order_id bigint NOT NULL,
    shopify_fulfillment_id bigint NOT NULL,
    status text NOT NULL,
    shipment_status text,
    tracking_company text,
    tracking_number text,
    tracking_url text,
    shipped_at timestamptz NOT NULL,
    estimated_delivery_at timestamptz,
    delivered_at timestamptz,
    PRIMARY KEY (tenant_id, shopify_fulfillment_id),
    FOREIGN KEY (tenant_id, shopify_order_id) REFERENCES orders ON DELETE CASCADE
);
CREATE INDEX fulfillments_by_order ON fulfillments (tenant_id, shopify_order_id);
CALL protect('fulfillments');

CREATE TABLE refunds (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    shopify_order_id bigint NOT NULL,
    shopify_refund_id bigint NOT NULL,
    amount_cents bigint NOT NULL CHECK (amount_cents >= 0),
    net_cents bigint NOT NULL CHECK (net_cents >= 0),
    reason text,
    refunded_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, shopify_refund_id),
    FOREIGN KEY (tenant_id, shopify_order_id) REFERENCES orders ON DELETE CASCADE
);
CREATE INDEX refunds_by_order ON refunds (tenant_id, shopify_order_id);
CALL protect('refunds');

CREATE TABLE refund_line_items (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    shopify_refund_id bigint NOT NULL,
    shopify_line_id bigint NOT NULL,
    quantity integer NOT NULL CHECK (quantity >= 0),
    subtotal_cents bigint NOT NULL,
    PRIMARY KEY (tenant_id, shopify_refund_id, shopify_line_id),
    FOREIGN KEY (tenant_id, shopify_refund_id) REFERENCES refunds ON DELETE CASCADE
);
CALL protect('refund_line_items');

-- A visitor's touches, one partition a month. touchpoint_id is the first half of dedupe_hash: the same touch has the same.
-- shopify_order_id is set for the touch that an order itself carries (its own landing page).
CREATE TABLE attribution_touchpoints (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    touchpoint_id uuid NOT NULL DEFAULT gen_random_uuid(),
    dedupe_hash text NOT NULL,
    visitor_id text,
    session_id text,
    shopify_customer_id bigint,
    shopify_order_id bigint,
    channel text NOT NULL CHECK (channel IN ('direct', 'organic', 'paid', 'social', 'email', 'affiliate', 'creator',
                                             'referral')),
    source text,
    medium text,
    campaign text,
    click_id text,
    landing_page text,
    referrer_url text,
    device text,
    type text NOT NULL DEFAULT 'click' CHECK (type IN ('click', 'view')),
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, touchpoint_id, occurred_at)
) PARTITION BY RANGE (occurred_at);
CREATE INDEX touchpoints_by_visitor ON attribution_touchpoints (tenant_id, visitor_id, occurred_at);
CREATE INDEX touchpoints_by_customer ON attribution_touchpoints (tenant_id, shopify_customer_id, occurred_at)
    WHERE shopify_customer_id IS NOT NULL;
CREATE INDEX touchpoints_by_order ON attribution_touchpoints (tenant_id, shopify_order_id)
    WHERE shopify_order_id IS NOT NULL;
CALL protect('attribution_touchpoints');

-- What has no month of its own: touches that old orders carry themselves, kept as long as these.
CREATE TABLE attribution_touchpoints_other (LIKE attribution_touchpoints INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
CALL protect('attribution_touchpoints_other');
ALTER TABLE attribution_touchpoints ATTACH PARTITION attribution_touchpoints_other DEFAULT;

-- The month's partition, under the parent's own rules. False where it is there already.
CREATE FUNCTION make_touchpoint_partition(p_month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    v_name text := 'attribution_touchpoints_' || to_char(p_month, 'YYYYMM');
    v_end date := p_month + interval '1 month';
BEGIN
    IF to_regclass(v_name) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('touchpoint partitions', 0));
    IF to_regclass(v_name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE attribution_touchpoints INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', v_name);
    EXECUTE format('CALL protect(%L)', v_name);
    EXECUTE format('ALTER TABLE attribution_touchpoints ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', v_name,
                   p_month::timestamp AT TIME ZONE 'UTC', v_end::timestamp AT TIME ZONE 'UTC');
    RETURN true;
END
$$;

-- Partitions for this month, the two to come and at first those that are kept, and an end to older ones; returns how many
-- changed. A month that has passed gets no partition later: what came for it lies with the others.
CREATE FUNCTION keep_touchpoint_partitions(p_today date, p_kept interval, p_first boolean DEFAULT false) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    v_changed integer := 0;
    v_this date := date_trunc('month', p_today)::date;
    v_from date := CASE WHEN p_first THEN date_trunc('month', p_today - p_kept)::date ELSE v_this END;
    v_month date;
    v_name text;
BEGIN
    FOR v_month IN SELECT g::date FROM generate_series(v_from, v_this + interval '2 months', interval '1 month') g LOOP
        v_changed := v_changed + make_touchpoint_partition(v_month)::integer;
    END LOOP;
    FOR v_name IN
        SELECT i.inhrelid::regclass::text FROM pg_inherits i
        WHERE i.inhparent = 'attribution_touchpoints'::regclass
          AND i.inhrelid <> 'attribution_touchpoints_other'::regclass
          AND to_date(right(i.inhrelid::regclass::text, 6), 'YYYYMM') + interval '1 month' < p_today - p_kept
    LOOP
        EXECUTE format('DROP TABLE %I', v_name);
        v_changed := v_changed + 1;
    END LOOP;
    RETURN v_changed;
END
$$;
REVOKE EXECUTE ON FUNCTION make_touchpoint_partition(date), keep_touchpoint_partitions(date, interval, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keep_touchpoint_partitions(date, interval, boolean) TO tradewind_platform;

-- told: that the order has become a conversion was told as order.converted.
CREATE TABLE attribution_conversions (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    shopify_order_id bigint NOT NULL,
    visitor_id text,
    shopify_customer_id bigint,
    revenue_cents bigint NOT NULL CHECK (revenue_cents >= 0),
    gross_revenue_cents bigint NOT NULL CHECK (gross_revenue_cents > 0),
    currency text NOT NULL,
    first_purchase boolean NOT NULL,
    touchpoints integer NOT NULL,
    status text NOT NULL CHECK (status IN ('attributed', 'unattributed')),
    told boolean NOT NULL DEFAULT false,
    converted_at timestamptz NOT NULL,
    calculated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, shopify_order_id),
    FOREIGN KEY (tenant_id, shopify_order_id) REFERENCES orders ON DELETE CASCADE
);
CALL protect('attribution_conversions');

-- What each model gives to each touch of a conversion, a row a window. touchpoint_ids and channels are in order, oldest
-- first; channels by their places in the view below. credits (billionths of the conversion) and cents are arrays by model,
-- in that view's order too, and within it by touch; null where the tenant's settings leave a model out. One row holds what
-- would be seven and more.
CREATE TABLE attribution_credits (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    shopify_order_id bigint NOT NULL,
    window_days integer NOT NULL,
    touchpoint_ids uuid[] NOT NULL,
    channels smallint[] NOT NULL,
    credits integer[] NOT NULL,
    cents bigint[] NOT NULL,
    PRIMARY KEY (tenant_id, shopify_order_id, window_days),
    FOREIGN KEY (tenant_id, shopify_order_id) REFERENCES attribution_conversions ON DELETE CASCADE
);
CALL protect('attribution_credits');

-- The same as one row for each conversion, touch, model and window. position counts from 1, oldest first.
CREATE VIEW attribution_results WITH (security_invoker = true) AS
SELECT c.tenant_id, c.shopify_order_id, t.touchpoint_id, m.model, c.window_days, t.position::integer AS position,
       (ARRAY['direct', 'organic', 'paid', 'social', 'email', 'affiliate', 'creator', 'referral'])[t.channel] AS channel,
       (c.credits[m.place][t.position] / 1e9)::numeric(10, 9) AS credit, c.cents[m.place][t.position] AS revenue_cents
FROM attribution_credits c
CROSS JOIN (VALUES (1, 'first_touch'), (2, 'last_touch'), (3, 'linear'), (4, 'time_decay'), (5, 'position_based'),
                   (6, 'last_non_direct'), (7, 'data_driven')) m (place, model)
CROSS JOIN LATERAL unnest(c.touchpoint_ids, c.channels) WITH ORDINALITY t (touchpoint_id, channel, position)
WHERE c.cents[m.place][1] IS NOT NULL;
GRANT SELECT ON attribution_results TO tradewind_app;

-- One row a conversion: what each model gives to each channel in the tenant's default window (30 days), in cents that sum to
-- the conversion's revenue.
CREATE VIEW conversion_attribution WITH (security_invoker = true) AS
WITH by_channel AS (
    SELECT r.tenant_id, r.shopify_order_id, r.model, r.channel, sum(r.revenue_cents) AS cents
    FROM attribution_results r JOIN tenants t ON t.tenant_id = r.tenant_id
    WHERE r.window_days = CASE jsonb_typeof(t.settings #> '{attribution,default_window_days}')
                          WHEN 'number' THEN (t.settings #>> '{attribution,default_window_days}')::numeric ELSE 30 END
    GROUP BY 1, 2, 3, 4
), by_model AS (
    SELECT tenant_id, shopify_order_id, model, jsonb_object_agg(channel, cents) AS channels
    FROM by_channel GROUP BY 1, 2, 3
)
SELECT c.tenant_id, c.shopify_order_id, c.revenue_cents, c.currency, c.converted_at, c.status,
       max(m.channels::text) FILTER (WHERE m.model = 'first_touch')::jsonb AS attribution_first,
       max(m.channels::text) FILTER (WHERE m.model = 'last_touch')::jsonb AS attribution_last,
       max(m.channels::text) FILTER (WHERE m.model = 'linear')::jsonb AS attribution_linear,
       max(m.channels::text) FILTER (WHERE m.model = 'time_decay')::jsonb AS attribution_time_decay,
       max(m.channels::text) FILTER (WHERE m.model = 'position_based')::jsonb AS attribution_position,
       max(m.channels::text) FILTER (WHERE m.model = 'last_non_direct')::jsonb AS attribution_last_non_direct,
       max(m.channels::text) FILTER (WHERE m.model = 'data_driven')::jsonb AS attribution_data_driven
FROM attribution_conversions c
LEFT JOIN by_model m ON m.tenant_id = c.tenant_id AND m.shopify_order_id = c.shopify_order_id
GROUP BY c.tenant_id, c.shopify_order_id, c.revenue_cents, c.currency, c.converted_at, c.status;
GRANT SELECT ON conversion_attribution TO tradewind_app;

-- A brand's view of a creator. rate_basis_points overrides the tier.
CREATE TABLE creators (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    creator_id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    email text,
    code text NOT NULL,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'inactive')),
    rate_basis_points integer CHECK (rate_basis_points BETWEEN 0 AND 10000),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, creator_id)
);
CREATE UNIQUE INDEX creators_by_code ON creators (tenant_id, lower(code));
CALL protect('creators');

-- One commission per order. earned_cents is what the order would pay unrefunded; commission_cents what remains of it.
CREATE TABLE commissions (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    shopify_order_id bigint NOT NULL,
    creator_id uuid NOT NULL,
    code text NOT NULL,
    currency text NOT NULL,
    net_sales_cents bigint NOT NULL,
    rate_basis_points integer NOT NULL CHECK (rate_basis_points BETWEEN 0 AND 10000),
    tier text NOT NULL,
    earned_cents bigint NOT NULL CHECK (earned_cents >= 0),
    commission_cents bigint NOT NULL CHECK (commission_cents >= 0),
    state text NOT NULL CHECK (state IN ('pending', 'available', 'approved', 'paid', 'rejected', 'reversed')),
    ordered_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, shopify_order_id),
    FOREIGN KEY (tenant_id, shopify_order_id) REFERENCES orders ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, creator_id) REFERENCES creators
);
CREATE INDEX commissions_by_creator ON commissions (tenant_id, creator_id, ordered_at);
CALL protect('commissions');

CREATE TABLE reviews (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    review_id uuid NOT NULL DEFAULT gen_random_uuid(),
    shopify_order_id bigint,
    shopify_product_id bigint,
    email text,
    rating integer CHECK (rating BETWEEN 1 AND 5),
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'approved', 'rejected', 'spam')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, review_id)
);
CREATE INDEX reviews_by_order ON reviews (tenant_id, shopify_order_id);
CALL protect('reviews');

CREATE TABLE email_suppressions (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    email text NOT NULL CHECK (email = lower(email)),
    reason text NOT NULL CHECK (reason IN ('hard_bounce', 'complaint', 'unsubscribe', 'manual')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, email)
);
CALL protect('email_suppressions');

CREATE TABLE review_email_queue (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    shopify_order_id bigint NOT NULL,
    sequence integer NOT NULL CHECK (sequence >= 1),
    email text,
    trigger text NOT NULL CHECK (trigger IN ('delivered', 'fulfilled', 'immediate')),
    state text NOT NULL CHECK (state IN ('pending', 'awaiting_delivery', 'scheduled', 'processing', 'sent', 'skipped', 'failed')),
    scheduled_at timestamptz,
    awaiting_since timestamptz,
    skip_reason text,
    attempts integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, shopify_order_id, sequence),
    FOREIGN KEY (tenant_id, shopify_order_id) REFERENCES orders ON DELETE CASCADE
);
CREATE INDEX review_email_due ON review_email_queue (tenant_id, scheduled_at) WHERE state = 'scheduled';
CALL protect('review_email_queue');

CREATE TABLE webhook_registrations (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    shop_domain text NOT NULL,
    topic text NOT NULL,
    subscription_id text NOT NULL,
    uri text NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, shop_domain, topic)
);
CALL protect('webhook_registrations');

-- What reconciliation found and repaired.
CREATE TABLE order_discrepancies (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    shopify_order_id bigint NOT NULL,
    shopify_updated_at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('missing', 'outdated')),
    found_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, shopify_order_id, shopify_updated_at)
);
CALL protect('order_discrepancies');
