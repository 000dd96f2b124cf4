-- Messages to people on providers that have no idempotency of their own: each key once.
--
-- claimed: somebody was about to post it, and perhaps has; sent: it stands there under external_id.

SET lock_timeout = '3s';

CREATE TABLE sent_messages (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    provider text NOT NULL,
    key text NOT NULL,
    state text NOT NULL CHECK (state IN ('claimed', 'sent')),
    external_id text,
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at timestamptz,
    PRIMARY KEY (tenant_id, provider, key)
);
CREATE INDEX sent_messages_by_age ON sent_messages (claimed_at);
CALL protect('sent_messages');
CALL open_to_platform('sent_messages');
CALL declare_data('sent_messages', '{"provider": "nothing", "key": "nothing", "state": "nothing", "external_id": "nothing"}');
