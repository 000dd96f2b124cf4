-- What customers answer to "how did you hear about us", what platforms credit to views, and what channels cost.

SET lock_timeout = '3s';

-- One row an answer, as it is told now: an answer may be edited, then original is what was first given. told_order_id and
-- order_number are what the survey tells of the order; shopify_order_id is set once the order is stored.
CREATE TABLE survey_answers (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    provider text NOT NULL CHECK (provider IN ('fairing')),
    answer_id text NOT NULL,
    question_id text,
    question text,
    answer text,
    original text,
    other text,
    told_order_id bigint,
    order_number text,
    shopify_order_id bigint,
    shopify_customer_id bigint,
    answered_at timestamptz NOT NULL,
    matched_at timestamptz,
    synced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, provider, answer_id)
);
CREATE INDEX survey_answers_by_order ON survey_answers (tenant_id, shopify_order_id) WHERE shopify_order_id IS NOT NULL;
CREATE INDEX survey_answers_unmatched ON survey_answers (tenant_id, answered_at) WHERE shopify_order_id IS NULL;
CALL protect('survey_answers');
CALL declare_data('survey_answers', '{"provider": "nothing", "answer_id": "nothing", "question_id": "nothing",
    "question": "nothing", "answer": "personal clear", "original": "personal clear", "other": "personal clear",
    "order_number": "nothing", "shopify_order_id": "order", "shopify_customer_id": "customer clear"}');

-- One row a day, account and campaign: conversions that a platform credits to having seen an ad and not clicked it. They
-- are part of what the platform claims and of nobody's attribution. value is null where the platform tells none (Google).
CREATE TABLE ad_view_conversions (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    platform text NOT NULL CHECK (platform IN ('meta', 'google_ads', 'tiktok')),
    viewed_on date NOT NULL,
    account_id text NOT NULL,
    campaign_id text NOT NULL,
    campaign_name text,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    conversions numeric NOT NULL CHECK (conversions >= 0),
    conversion_value_cents bigint,
    synced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, platform, viewed_on, account_id, campaign_id)
);
CALL protect('ad_view_conversions');
CALL declare_data('ad_view_conversions', '{"platform": "nothing", "account_id": "nothing", "campaign_id": "nothing",
    "campaign_name": "nothing", "currency": "nothing"}');

-- What a channel cost. roas_thousandths is revenue / spend, cpa_cents spend / conversions, cac_cents spend / new customers,
-- each rounded half up, and null where the divisor is zero.
ALTER TABLE attribution_channel_summary
    ADD COLUMN spend_cents bigint NOT NULL DEFAULT 0,
    ADD COLUMN new_customers numeric(14, 6) NOT NULL DEFAULT 0,
    ADD COLUMN roas_thousandths bigint,
    ADD COLUMN cpa_cents bigint,
    ADD COLUMN cac_cents bigint;

-- The hourly and nightly fetches ask those tenants alone that have something to fetch: from the moment at which they store
-- the key, or name an account. Each run says for itself when it is due next.
CREATE FUNCTION mark_fetches() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'ad_account_mappings' THEN
        PERFORM mark_due('analytics-attribution-vta-sync-scheduled', now());
    ELSIF NEW.provider = 'fairing' THEN
        PERFORM mark_due('analytics-attribution-fairing-bridge-scheduled', now());
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER mark_fetches AFTER INSERT OR UPDATE ON credentials FOR EACH ROW EXECUTE FUNCTION mark_fetches();
CREATE TRIGGER mark_fetches AFTER INSERT OR UPDATE ON ad_account_mappings FOR EACH ROW EXECUTE FUNCTION mark_fetches();

-- Test orders are nobody's conversions, also where a page has told of them before the order or after it.
CREATE FUNCTION spare_test_orders() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM orders o WHERE o.shopify_order_id = NEW.shopify_order_id AND o.test) THEN
        NEW.removed := true;
        NEW.revenue_cents := 0;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER spare_test_orders BEFORE INSERT ON ab_test_conversions FOR EACH ROW EXECUTE FUNCTION spare_test_orders();
