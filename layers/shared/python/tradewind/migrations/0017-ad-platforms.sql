-- What ad platforms were told of orders, and what became of it.

SET lock_timeout = '3s';

-- One row an event and platform. subject is the order's id, a refund's id, or the publisher's own id of an event.
-- claimed: about to be told; sent: told, and what became of it is not known; acknowledged: the platform has taken it;
-- failed: it has not; skipped: it is not to be told. event_id is what the platform knows the event by; value_cents what
-- it was told; answer is the platform's own, without anything of the person.
CREATE TABLE conversion_events_sent (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    destination text NOT NULL CHECK (destination IN ('ga4', 'meta', 'tiktok')),
    event_name text NOT NULL CHECK (event_name IN ('purchase', 'refund', 'add_to_cart', 'view_content',
                                                   'initiate_checkout')),
    subject text NOT NULL,
    shopify_order_id bigint,
    event_id text NOT NULL,
    state text NOT NULL CHECK (state IN ('claimed', 'sent', 'acknowledged', 'failed', 'skipped')),
    reason text,
    value_cents bigint NOT NULL DEFAULT 0,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    payload_hash text,
    answer jsonb NOT NULL DEFAULT '{}',
    attempts integer NOT NULL DEFAULT 0,
    run_id uuid,
    lease_until timestamptz,
    occurred_at timestamptz NOT NULL,
    first_told_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, destination, event_name, subject)
);
CREATE INDEX conversion_events_by_order ON conversion_events_sent (tenant_id, shopify_order_id);
CREATE INDEX conversion_events_by_time ON conversion_events_sent (tenant_id, occurred_at);
CALL protect('conversion_events_sent');
CALL declare_data('conversion_events_sent', '{"shopify_order_id": "order", "destination": "nothing",
    "event_name": "nothing", "subject": "nothing", "event_id": "nothing", "state": "nothing", "reason": "nothing",
    "currency": "nothing", "payload_hash": "personal clear", "answer": "nothing"}');
