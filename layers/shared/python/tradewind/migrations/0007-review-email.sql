-- Review e-mails: the whole life of a queue row, what became of each e-mail, incentive codes, pauses of sending.

SET lock_timeout = '3s';

-- A row that may be at the provider is frozen: its e-mail as it was or will be sent, its place in the call that carries it.
-- A call is repeated with the same rows, key and content, or not at all.
ALTER TABLE review_email_queue
    ADD COLUMN run_id uuid,
    ADD COLUMN lease_until timestamptz,
    ADD COLUMN batch_id uuid,
    ADD COLUMN batch_place integer,
    ADD COLUMN batch_size integer,
    ADD COLUMN frozen_at timestamptz,
    ADD COLUMN message jsonb,
    ADD COLUMN template text CHECK (template IN ('request', 'reminder_1', 'reminder_2', 'photo_request', 'thank_you', 'incentive')),
    ADD COLUMN incentive_offered boolean NOT NULL DEFAULT false,
    ADD COLUMN force_incentive boolean NOT NULL DEFAULT false,
    ADD COLUMN incentive_code text,
    ADD COLUMN error text,
    ADD COLUMN next_attempt_at timestamptz,
    ADD COLUMN message_id text,
    ADD COLUMN sent_at timestamptz,
    ADD COLUMN delivered_at timestamptz,
    ADD COLUMN opened_at timestamptz,
    ADD COLUMN clicked_at timestamptz,
    ADD COLUMN bounced_at timestamptz,
    ADD COLUMN complained_at timestamptz,
    ADD COLUMN opens integer NOT NULL DEFAULT 0,
    ADD COLUMN clicks integer NOT NULL DEFAULT 0,
    ADD CHECK ((batch_id IS NULL) = (message IS NULL));
CREATE INDEX review_email_processing ON review_email_queue (tenant_id, lease_until) WHERE state = 'processing';
CREATE INDEX review_email_retry ON review_email_queue (tenant_id, next_attempt_at) WHERE state = 'failed';
CREATE INDEX review_email_awaiting ON review_email_queue (tenant_id, awaiting_since) WHERE state = 'awaiting_delivery';
CREATE INDEX review_email_batch ON review_email_queue (tenant_id, batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX review_email_sent ON review_email_queue (tenant_id, sent_at) WHERE sent_at IS NOT NULL;
ALTER TABLE review_email_queue SET (autovacuum_vacuum_scale_factor = 0.05, fillfactor = 80);
INSERT INTO personal_data (table_name, column_name, holds, on_redact) VALUES
    ('review_email_queue', 'message', 'personal', 'delete'),
    ('review_email_queue', 'error', 'personal', 'delete'),
    ('review_email_queue', 'template', 'nothing', 'keep'),
    ('review_email_queue', 'incentive_code', 'nothing', 'keep'),
    ('review_email_queue', 'message_id', 'nothing', 'keep');

-- What the provider tells of an e-mail, each event once. The e-mail's own row counts them; they are kept here for as long
-- as the provider may repeat them, and then purged by age.
CREATE TABLE review_email_events (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    event_id text NOT NULL,
    shopify_order_id bigint NOT NULL,
    sequence integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('sent', 'delivered', 'opened', 'clicked', 'bounced', 'complained')),
    occurred_at timestamptz NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, event_id),
    FOREIGN KEY (tenant_id, shopify_order_id, sequence) REFERENCES review_email_queue ON DELETE CASCADE
);
CREATE INDEX review_email_events_by_email ON review_email_events (tenant_id, shopify_order_id, sequence);
CREATE INDEX review_email_events_by_age ON review_email_events (kept_at);
CALL protect('review_email_events');
CALL open_to_platform('review_email_events');
CALL declare_data('review_email_events', '{"event_id": "nothing", "shopify_order_id": "order", "kind": "nothing"}');

-- One code per order. It is written before Shopify is asked for the discount, and offered to nobody before it exists there.
CREATE TABLE review_incentive_codes (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    code text NOT NULL,
    shopify_order_id bigint NOT NULL,
    sequence integer NOT NULL,
    percent integer NOT NULL CHECK (percent BETWEEN 1 AND 100),
    photo_percent integer NOT NULL CHECK (photo_percent BETWEEN percent AND 100),
    state text NOT NULL DEFAULT 'intended' CHECK (state IN ('intended', 'active', 'redeemed', 'expired')),
    shopify_discount_id text,
    review_id uuid,
    redeeming_order_id bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, code),
    UNIQUE (tenant_id, shopify_order_id),
    FOREIGN KEY (tenant_id, shopify_order_id) REFERENCES orders ON DELETE CASCADE
);
CALL protect('review_incentive_codes');
CALL declare_data('review_incentive_codes', '{"code": "nothing", "shopify_order_id": "order", "state": "nothing",
    "shopify_discount_id": "nothing"}');

-- Until when a tenant's account sends nothing, and why: a quota is used up, or the account refuses.
CREATE TABLE email_sending_pauses (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    paused_until timestamptz NOT NULL,
    reason text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id)
);
CALL protect('email_sending_pauses');
CALL declare_data('email_sending_pauses', '{"reason": "nothing"}');
