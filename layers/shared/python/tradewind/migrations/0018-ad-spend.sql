-- What advertising costs, by day and campaign, as the platforms report it.

SET lock_timeout = '3s';

-- A tenant's accounts: spend is synced from these alone. currency is the account's, in which its spend is kept.
CREATE TABLE ad_account_mappings (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    platform text NOT NULL CHECK (platform IN ('meta', 'google_ads', 'tiktok')),
    account_id text NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    active boolean NOT NULL DEFAULT true,
    counts_for_pnl boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, platform, account_id)
);
CALL protect('ad_account_mappings');
CALL declare_data('ad_account_mappings', '{"platform": "nothing", "account_id": "nothing", "currency": "nothing"}');

-- One row a day, account and campaign. spent_on is the account's own day; money in cents of the account's currency.
CREATE TABLE ad_spend (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    platform text NOT NULL CHECK (platform IN ('meta', 'google_ads', 'tiktok')),
    spent_on date NOT NULL,
    account_id text NOT NULL,
    campaign_id text NOT NULL,
    campaign_name text,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    spend_cents bigint NOT NULL CHECK (spend_cents >= 0),
    impressions bigint NOT NULL DEFAULT 0,
    clicks bigint NOT NULL DEFAULT 0,
    conversions numeric NOT NULL DEFAULT 0,
    conversion_value_cents bigint NOT NULL DEFAULT 0,
    counts_for_pnl boolean NOT NULL DEFAULT true,
    synced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, platform, spent_on, account_id, campaign_id)
);
CREATE INDEX ad_spend_by_day ON ad_spend (tenant_id, spent_on);
CALL protect('ad_spend');
CALL declare_data('ad_spend', '{"platform": "nothing", "account_id": "nothing", "campaign_id": "nothing",
    "campaign_name": "nothing", "currency": "nothing"}');
