-- The kernel's own tables: tenants, inbox, outbox, run ledger, dead letters.
--
-- Run as tradewind_owner. The application role (tradewind_app) and the platform role (tradewind_platform) exist already
-- and may not bypass row-level security.

SET lock_timeout = '3s';

CREATE FUNCTION current_tenant() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('app.tenant_id', true), '')::uuid;

-- Every tenant table passes through here: forced row-level security, a policy for reads and writes, and the grants.
CREATE PROCEDURE protect(p_table regclass)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', p_table);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', p_table);
    EXECUTE format('CREATE POLICY own_tenant ON %s USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', p_table);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO tradewind_app', p_table);
END
$$;

-- The four tables (and the directory) that the platform's own functions see across tenants.
CREATE PROCEDURE open_to_platform(p_table regclass)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE POLICY platform ON %s TO tradewind_platform USING (true) WITH CHECK (true)', p_table);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO tradewind_platform', p_table);
END
$$;

GRANT USAGE ON SCHEMA public TO tradewind_app, tradewind_platform;

CREATE TABLE tenants (
    tenant_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name text NOT NULL,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'uninstalled', 'platform')),
    zone text NOT NULL DEFAULT 'UTC',
    currency text NOT NULL DEFAULT 'USD' CHECK (currency ~ '^[A-Z]{3}$'),
    settings jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CALL protect('tenants');
REVOKE INSERT, DELETE ON tenants FROM tradewind_app;
CALL open_to_platform('tenants');
CREATE POLICY directory ON tenants TO tradewind_owner USING (true) WITH CHECK (true);

-- Runs that belong to no tenant are booked under this one.
INSERT INTO tenants (tenant_id, slug, name, status)
VALUES ('00000000-0000-0000-0000-000000000000', 'platform', 'Tradewind itself', 'platform');

CREATE TABLE shopify_app_installations (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    app text NOT NULL DEFAULT 'default',
    shop_domain text NOT NULL CHECK (shop_domain = lower(shop_domain)),
    status text NOT NULL DEFAULT 'installed' CHECK (status IN ('installed', 'uninstalled', 'reauthorise')),
    scopes text[] NOT NULL DEFAULT '{}',
    installed_at timestamptz NOT NULL DEFAULT now(),
    uninstalled_at timestamptz,
    PRIMARY KEY (tenant_id, app, shop_domain),
    UNIQUE (app, shop_domain)
);
CALL protect('shopify_app_installations');
CALL open_to_platform('shopify_app_installations');
CREATE POLICY directory ON shopify_app_installations TO tradewind_owner USING (true) WITH CHECK (true);

-- A tenant's secrets, each encrypted under a KMS data key whose encryption context names the tenant.
CREATE TABLE credentials (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    provider text NOT NULL,
    app text NOT NULL DEFAULT 'default',
    name text NOT NULL,
    encrypted_key bytea NOT NULL,
    nonce bytea NOT NULL,
    ciphertext bytea NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    previous_encrypted_key bytea,
    previous_nonce bytea,
    previous_ciphertext bytea,
    previous_until timestamptz,
    expires_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, provider, app, name)
);
CALL protect('credentials');
-- The platform role writes and reads them as one tenant at a time, like everybody else.
GRANT SELECT, INSERT, UPDATE, DELETE ON credentials TO tradewind_platform;
CREATE POLICY directory ON credentials TO tradewind_owner USING (true) WITH CHECK (true);

-- Whatever came in: providers' webhooks, and what the platform's own applications ask for (provider "api").
-- body_sha256 is kept of the latter: the same idempotency key with another body is refused.
CREATE TABLE webhook_inbox (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    inbox_id uuid NOT NULL DEFAULT gen_random_uuid(),
    provider text NOT NULL,
    app text NOT NULL,
    event_id text NOT NULL,
    topic text NOT NULL,
    shop text NOT NULL,
    state text NOT NULL CHECK (state IN ('routed', 'unrouted', 'dead')),
    correlation_id text NOT NULL,
    body bytea,
    body_sha256 text,
    claim text,
    deliveries integer NOT NULL DEFAULT 1,
    triggered_at timestamptz,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, inbox_id),
    UNIQUE (tenant_id, app, provider, event_id)
);
CREATE INDEX webhook_inbox_by_age ON webhook_inbox (received_at);
CREATE INDEX webhook_inbox_unrouted ON webhook_inbox (provider, topic) WHERE state = 'unrouted';
CALL protect('webhook_inbox');
CALL open_to_platform('webhook_inbox');

-- The one door to the queues. held: waits for admission or its due time; ready: may be sent; sent: lies in its queue;
-- done: its run has ended.
CREATE TABLE outbox (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    key text NOT NULL,
    task text NOT NULL,
    lane text NOT NULL DEFAULT 'live' CHECK (lane IN ('live', 'backfill')),
    shard integer NOT NULL,
    cause text NOT NULL,
    source text NOT NULL,
    entity text,
    payload jsonb,
    inbox_id uuid,
    correlation_id text NOT NULL,
    parent_run uuid,
    parent_step text,
    replay_of uuid,
    hops integer NOT NULL DEFAULT 0,
    delivery integer NOT NULL DEFAULT 0,
    state text NOT NULL CHECK (state IN ('held', 'ready', 'sent', 'done')),
    due_at timestamptz,
    accepted_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at timestamptz,
    PRIMARY KEY (tenant_id, key),
    FOREIGN KEY (tenant_id, inbox_id) REFERENCES webhook_inbox ON DELETE CASCADE
);
CREATE INDEX outbox_admitted ON outbox (task, lane, tenant_id) WHERE state IN ('ready', 'sent');
CREATE INDEX outbox_held ON outbox (tenant_id, task, lane, created_at) WHERE state = 'held';
CREATE INDEX outbox_ready ON outbox (created_at) WHERE state = 'ready';
CREATE INDEX outbox_sent ON outbox (sent_at) WHERE state = 'sent';
CREATE INDEX outbox_by_age ON outbox (created_at);
CREATE INDEX outbox_by_inbox ON outbox (tenant_id, inbox_id);
-- Every row changes its state three times, and its partial indexes with it: clean up early.
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, fillfactor = 80);
CALL protect('outbox');
CALL open_to_platform('outbox');
-- For one number: how many tenants have messages in a queue.
CREATE POLICY directory ON outbox TO tradewind_owner USING (true) WITH CHECK (true);

-- How many messages a task's queue takes from all tenants together, and from one; the relay writes it from the task's
-- concurrency and its cap.
CREATE TABLE queue_room (
    task text NOT NULL,
    lane text NOT NULL CHECK (lane IN ('live', 'backfill')),
    room integer NOT NULL CHECK (room > 0),
    tenant_room integer NOT NULL CHECK (tenant_room > 0),
    PRIMARY KEY (task, lane)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON queue_room TO tradewind_platform;

CREATE TABLE task_run (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    run_id uuid NOT NULL,
    task text NOT NULL,
    cause text NOT NULL,
    entity text,
    source text NOT NULL,
    correlation_id text NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'retrying', 'waiting', 'succeeded', 'failed')),
    attempt integer NOT NULL DEFAULT 1,
    fence bigint NOT NULL DEFAULT 1,
    lease_until timestamptz,
    hops integer NOT NULL DEFAULT 0,
    parent_run uuid,
    parent_step text,
    children_open integer NOT NULL DEFAULT 0,
    continuation jsonb,
    checkpoint jsonb,
    steps jsonb,
    result jsonb,
    error_kind text,
    error_class text,
    error_message text,
    replay_of uuid,
    accepted_at timestamptz NOT NULL,
    first_started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_attempt_at timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (tenant_id, run_id),
    UNIQUE (tenant_id, task, cause)
);
CREATE INDEX task_run_by_age ON task_run (first_started_at);
CREATE INDEX task_run_by_correlation ON task_run (tenant_id, correlation_id);
CREATE INDEX task_run_by_entity ON task_run (tenant_id, entity) WHERE entity IS NOT NULL;
CREATE INDEX task_run_by_parent ON task_run (tenant_id, parent_run) WHERE parent_run IS NOT NULL;
CREATE INDEX task_run_open ON task_run (tenant_id, task) WHERE state IN ('running', 'retrying', 'waiting');
CREATE INDEX task_run_failed ON task_run (tenant_id, task, finished_at) WHERE state = 'failed';
CALL protect('task_run');
CALL open_to_platform('task_run');

-- Failed attempts only: a successful one is the run itself.
CREATE TABLE task_attempt (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    run_id uuid NOT NULL,
    number integer NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    error_kind text NOT NULL,
    error_class text NOT NULL,
    message text NOT NULL,
    stack text,
    log_stream text,
    fence bigint NOT NULL,
    PRIMARY KEY (tenant_id, run_id, fence),
    FOREIGN KEY (tenant_id, run_id) REFERENCES task_run ON DELETE CASCADE
);
CALL protect('task_attempt');
CALL open_to_platform('task_attempt');

CREATE TABLE dead_letter (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    dead_letter_id uuid NOT NULL DEFAULT gen_random_uuid(),
    run_id uuid,
    task text NOT NULL,
    cause text NOT NULL,
    entity text,
    source text NOT NULL,
    correlation_id text NOT NULL,
    message jsonb,
    body bytea,
    headers jsonb,
    error_kind text NOT NULL,
    error_class text NOT NULL,
    error_message text NOT NULL,
    attempts integer NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'dismissed')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    replayed_at timestamptz,
    PRIMARY KEY (tenant_id, dead_letter_id),
    UNIQUE (tenant_id, task, cause)
);
CREATE INDEX dead_letter_open ON dead_letter (created_at) WHERE state = 'open';
CALL protect('dead_letter');
CALL open_to_platform('dead_letter');

CREATE TABLE dead_letter_audit (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    action text NOT NULL,
    filters jsonb NOT NULL,
    matched integer NOT NULL,
    replayed integer NOT NULL
);
GRANT SELECT, INSERT ON dead_letter_audit TO tradewind_platform;

CREATE TABLE schedule_slot (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    schedule text NOT NULL,
    slot text NOT NULL,
    task text NOT NULL,
    due_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, schedule, slot)
);
CREATE INDEX schedule_slot_by_age ON schedule_slot (created_at);
CALL protect('schedule_slot');
CALL open_to_platform('schedule_slot');

-- When a tenant next has work for a schedule that asks only those who have.
CREATE TABLE schedule_due (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    schedule text NOT NULL,
    due_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, schedule)
);
CREATE INDEX schedule_due_by_time ON schedule_due (schedule, due_at);
CALL protect('schedule_due');
CALL open_to_platform('schedule_due');

-- Tenants on their own clock: when each schedule is next due there.
CREATE TABLE schedule_next_run (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    schedule text NOT NULL,
    zone text NOT NULL,
    next_run_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, schedule)
);
CREATE INDEX schedule_next_run_due ON schedule_next_run (schedule, next_run_at);
CALL protect('schedule_next_run');
CALL open_to_platform('schedule_next_run');
