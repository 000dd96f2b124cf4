-- Whether ad platforms have been told of what they ought to have been, day by day.

SET lock_timeout = '3s';

-- One row a local day and connected platform: its orders, why some of them are not to be told (excluded: reason -> orders),
-- what ought to have been told, what the ledger says left us (sent), and what the platform took (acknowledged). Money in
-- cents of currency, the tenant's; other_currency are orders whose money is compared one by one and stands in no sum.
-- missing: ought to have been told and were not; unacknowledged: told to an unknown end; unlike: told with another value;
-- unexpected: told and ought not to have been.
CREATE TABLE ad_event_reconciliations (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    reconciled_on date NOT NULL,
    destination text NOT NULL CHECK (destination IN ('ga4', 'meta', 'tiktok')),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    orders integer NOT NULL,
    excluded jsonb NOT NULL DEFAULT '{}',
    other_currency integer NOT NULL DEFAULT 0,
    expected integer NOT NULL,
    expected_cents bigint NOT NULL,
    sent integer NOT NULL,
    sent_cents bigint NOT NULL,
    acknowledged integer NOT NULL,
    acknowledged_cents bigint NOT NULL,
    missing integer NOT NULL,
    unacknowledged integer NOT NULL,
    unlike integer NOT NULL,
    unexpected integer NOT NULL,
    calculated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, reconciled_on, destination)
);
CALL protect('ad_event_reconciliations');
CALL declare_data('ad_event_reconciliations', '{"destination": "nothing", "currency": "nothing", "excluded": "nothing"}');
