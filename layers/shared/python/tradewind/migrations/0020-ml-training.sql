-- Trainings, and the models that they have left.

SET lock_timeout = '3s';

-- One row a training; its id is that of the run that asked for it. fence rises with each container that takes it up, and
-- held_until is how long a silent one is believed to be at work.
CREATE TABLE ml_trainings (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    training_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('attribution', 'mmm')),
    state text NOT NULL DEFAULT 'requested' CHECK (state IN ('requested', 'running', 'succeeded', 'skipped', 'failed')),
    may_use boolean NOT NULL DEFAULT true,
    until timestamptz NOT NULL,
    attempt integer NOT NULL DEFAULT 0,
    fence integer NOT NULL DEFAULT 0,
    held_until timestamptz,
    reason text,
    requested_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    ended_at timestamptz,
    PRIMARY KEY (tenant_id, training_id)
);
CREATE INDEX trainings_at_work ON ml_trainings (tenant_id, kind) WHERE state = 'running';
CALL protect('ml_trainings');
CALL declare_data('ml_trainings', '{"kind": "nothing", "state": "nothing", "reason": "nothing"}');

-- The registry. document is the model itself, weights what the data-driven credits take from it, metrics how good it is and
-- on what; reason is why it is not used. At most one of a kind is.
CREATE TABLE ml_models (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    kind text NOT NULL CHECK (kind IN ('attribution', 'mmm')),
    version integer NOT NULL CHECK (version > 0),
    training_id uuid NOT NULL,
    algorithm text NOT NULL,
    code integer NOT NULL,
    samples integer NOT NULL,
    conversions integer NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    weights jsonb NOT NULL,
    metrics jsonb NOT NULL,
    document jsonb NOT NULL,
    used boolean NOT NULL,
    reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, kind, version),
    UNIQUE (tenant_id, training_id),
    FOREIGN KEY (tenant_id, training_id) REFERENCES ml_trainings
);
CREATE UNIQUE INDEX models_in_use ON ml_models (tenant_id, kind) WHERE used;
CALL protect('ml_models');
CALL declare_data('ml_models', '{"kind": "nothing", "algorithm": "nothing", "weights": "nothing", "metrics": "nothing",
    "document": "nothing", "reason": "nothing"}');
