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

-- A visitor's touches. order_id is set for the touch that an order itself carries (its own landing page).
CREATE TABLE attribution_touchpoints (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    touchpoint_id uuid NOT NULL DEFAULT gen_random_uuid(),
    dedupe_hash text NOT NULL,
    visitor_id text,
    session_id text,
    shopify_customer_id bigint,
    shopify_order_id bigint,
    channel text NOT NULL,
    source text,
    medium text,
    campaign text,
    click_id text,
    landing_page text,
    referrer_url text,
    type text NOT NULL DEFAULT 'click' CHECK (type IN ('click', 'view')),
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, touchpoint_id),
    UNIQUE (tenant_id, dedupe_hash)
);
CREATE INDEX touchpoints_by_visitor ON attribution_touchpoints (tenant_id, visitor_id, occurred_at);
CREATE INDEX touchpoints_by_customer ON attribution_touchpoints (tenant_id, shopify_customer_id, occurred_at)
    WHERE shopify_customer_id IS NOT NULL;
CREATE INDEX touchpoints_by_order ON attribution_touchpoints (tenant_id, shopify_order_id)
    WHERE shopify_order_id IS NOT NULL;
CALL protect('attribution_touchpoints');

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

CREATE TABLE attribution_results (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    shopify_order_id bigint NOT NULL,
    touchpoint_id uuid NOT NULL,
    model text NOT NULL,
    window_days integer NOT NULL,
    position integer NOT NULL,
    channel text NOT NULL,
    credit numeric(10, 9) NOT NULL,
    revenue_cents bigint NOT NULL,
    PRIMARY KEY (tenant_id, shopify_order_id, touchpoint_id, model, window_days),
    FOREIGN KEY (tenant_id, shopify_order_id) REFERENCES attribution_conversions ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, touchpoint_id) REFERENCES attribution_touchpoints ON DELETE CASCADE
);
CREATE INDEX attribution_results_by_touchpoint ON attribution_results (tenant_id, touchpoint_id);
CALL protect('attribution_results');

-- One row a conversion: what each model gives to each channel, in cents that sum to the conversion's revenue.
CREATE VIEW conversion_attribution WITH (security_invoker = true) AS
WITH by_channel AS (
    SELECT tenant_id, shopify_order_id, model, channel, sum(revenue_cents) AS cents
    FROM attribution_results WHERE window_days = 30
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
       max(m.channels::text) FILTER (WHERE m.model = 'position_based')::jsonb AS attribution_position
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
