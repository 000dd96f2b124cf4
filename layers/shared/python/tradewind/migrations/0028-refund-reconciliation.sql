-- Refunds are reconciled as purchases are: a row of their own for each day and platform.

SET lock_timeout = '3s';

-- Of refunds, orders is how many there were on the day, and excluded has a reason more: the platform does not know of the
-- purchase.
ALTER TABLE ad_event_reconciliations
    ADD COLUMN event_name text NOT NULL DEFAULT 'purchase' CHECK (event_name IN ('purchase', 'refund'));
ALTER TABLE ad_event_reconciliations DROP CONSTRAINT ad_event_reconciliations_pkey,
    ADD PRIMARY KEY (tenant_id, reconciled_on, destination, event_name);
INSERT INTO personal_data (table_name, column_name, holds, on_redact)
VALUES ('ad_event_reconciliations', 'event_name', 'nothing', 'delete');
