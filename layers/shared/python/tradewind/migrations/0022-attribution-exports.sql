-- Attribution as files that a tenant is brought: what goes where and when, and each file that was made.

SET lock_timeout = '3s';

-- address: where files go, without its secrets; columns, models and windows: none means all. next_run_at is null where it
-- is switched off.
CREATE TABLE attribution_exports (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,40}$'),
    dataset text NOT NULL CHECK (dataset IN ('touches', 'conversions', 'channels')),
    format text NOT NULL CHECK (format IN ('csv', 'json', 'parquet')),
    destination text NOT NULL CHECK (destination IN ('s3', 'webhook', 'sftp')),
    address jsonb NOT NULL,
    columns text[] NOT NULL DEFAULT '{}',
    models text[] NOT NULL DEFAULT '{}',
    windows integer[] NOT NULL DEFAULT '{}',
    every text NOT NULL CHECK (every IN ('hour', 'day', 'week', 'month')),
    at_hour integer NOT NULL CHECK (at_hour BETWEEN 0 AND 23),
    look_back_days integer NOT NULL CHECK (look_back_days BETWEEN 1 AND 400),
    active boolean NOT NULL DEFAULT true,
    next_run_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name),
    CHECK (active OR next_run_at IS NULL)
);
CREATE INDEX exports_by_time ON attribution_exports (tenant_id, next_run_at) WHERE active;
CALL protect('attribution_exports');
CALL declare_data('attribution_exports', '{"name": "nothing", "dataset": "nothing", "format": "nothing",
    "destination": "nothing", "address": "nothing", "columns": "nothing", "models": "nothing", "every": "nothing"}');

-- One row a file. pending: to be made; made: it lies under object_key for thirty days; delivered: it is where it belongs;
-- failed: it could not be made or delivered, and why. From since_at on and before until_at.
CREATE TABLE attribution_export_runs (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    name text NOT NULL,
    due_at timestamptz NOT NULL,
    since_at timestamptz NOT NULL,
    until_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'made', 'delivered', 'failed')),
    file_name text NOT NULL,
    object_key text,
    row_count bigint,
    byte_count bigint,
    sha256 text,
    attempts integer NOT NULL DEFAULT 0,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    made_at timestamptz,
    delivered_at timestamptz,
    PRIMARY KEY (tenant_id, name, due_at),
    FOREIGN KEY (tenant_id, name) REFERENCES attribution_exports ON DELETE CASCADE
);
CREATE INDEX export_runs_by_age ON attribution_export_runs (created_at);
CALL protect('attribution_export_runs');
CALL open_to_platform('attribution_export_runs');
CALL declare_data('attribution_export_runs', '{"name": "nothing", "state": "nothing", "file_name": "nothing",
    "object_key": "nothing", "sha256": "nothing", "error": "nothing"}');

-- A text as a spreadsheet may open it: one that would be taken for a formula begins with an apostrophe.
CREATE FUNCTION spreadsheet_text(p_text text, p_guarded boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_guarded AND p_text ~ '^[=+@\t\r-]' THEN '''' || p_text ELSE p_text END;
