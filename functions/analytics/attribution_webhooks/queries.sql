-- lock_subscriptions --
-- A tenant's subscriptions, so that two do not become the last one that it may have.
SELECT w.name FROM attribution_webhooks w ORDER BY w.name FOR UPDATE;

-- save_subscription --
-- A subscription as it is described now; what was given up is tried again.
INSERT INTO attribution_webhooks AS w (name, url, events, active)
VALUES (%(webhook_name)s, %(webhook_url)s, %(event_types)s, %(active_is_on)s)
ON CONFLICT (tenant_id, name) DO UPDATE SET url = excluded.url, events = excluded.events, active = excluded.active,
    disabled_reason = NULL, failures = 0, due_at = now(), updated_at = now();

-- mark_webhooks_due --
-- When the tenant has something to tell next; after some was told once more, for what is being written at this moment.
SELECT mark_due('analytics-attribution-webhook-queue-scheduled', (
    SELECT min(x.at) FROM (
        SELECT greatest(w.due_at, w.leased_until, %(now)s) AS at FROM attribution_webhooks w
        WHERE w.active AND EXISTS (SELECT FROM attribution_webhook_queue q WHERE q.name = w.name AND q.state = 'pending')
        UNION ALL SELECT %(now)s WHERE %(told_is_any)s) x));

-- claim_subscriptions --
-- Subscriptions that have something to tell and that nobody else is telling, for a time, the one that waits longest first.
UPDATE attribution_webhooks w SET leased_until = %(lease_at)s, run_id = %(run_id)s
FROM (
    SELECT s.name FROM attribution_webhooks s
    CROSS JOIN LATERAL (SELECT q.webhook_id FROM attribution_webhook_queue q WHERE q.name = s.name AND q.state = 'pending'
                        ORDER BY q.webhook_id LIMIT 1) first
    WHERE s.active AND s.due_at <= %(now)s AND (s.leased_until IS NULL OR s.leased_until <= %(now)s OR s.run_id = %(run_id)s)
    ORDER BY first.webhook_id FOR UPDATE OF s SKIP LOCKED
) due
WHERE w.name = due.name
RETURNING w.name, w.url, w.failures;

-- pick_tellings --
-- The next things to tell a subscriber, in order, with what is true of each now. Channels' cents are those of the default
-- window, by model.
SELECT q.webhook_id, q.event, q.subject, q.attempts, q.created_at,
       CASE q.event
           WHEN 'touchpoint.recorded' THEN (
               SELECT jsonb_build_object('touchpoint_id', t.touchpoint_id, 'occurred_at', t.occurred_at, 'visitor_id',
                          t.visitor_id, 'channel', t.channel, 'source', t.source, 'medium', t.medium, 'campaign', t.campaign,
                          'type', t.type)
               FROM attribution_touchpoints t
               WHERE t.touchpoint_id = CASE WHEN q.event = 'touchpoint.recorded' THEN q.subject::uuid END
                 AND t.occurred_at = q.fact_at)
           ELSE (
               SELECT jsonb_build_object('order_id', c.shopify_order_id, 'converted_at', c.converted_at, 'currency', c.currency,
                          'gross_revenue_cents', c.gross_revenue_cents, 'revenue_cents', c.revenue_cents, 'first_purchase',
                          c.first_purchase, 'status', c.status, 'touchpoints', c.touchpoints)
                      || CASE WHEN q.event = 'attribution.calculated' THEN jsonb_build_object(
                             'calculated_at', c.calculated_at, 'window_days', %(window_days)s::integer, 'models', coalesce((
                                 SELECT jsonb_object_agg(m.model, m.channels) FROM (
                                     SELECT h.model, jsonb_object_agg(h.channel, h.cents) AS channels FROM (
                                         SELECT a.model, a.channel, sum(a.revenue_cents)::bigint AS cents
                                         FROM attribution_results a WHERE a.shopify_order_id = c.shopify_order_id
                                           AND a.window_days = %(window_days)s GROUP BY 1, 2) h GROUP BY 1) m), '{}'))
                         ELSE '{}' END
               FROM attribution_conversions c
               WHERE c.shopify_order_id = CASE WHEN q.event <> 'touchpoint.recorded' THEN q.subject::bigint END)
       END AS data
FROM attribution_webhook_queue q
WHERE q.name = %(webhook_name)s AND q.state = 'pending'
ORDER BY q.webhook_id LIMIT %(page)s;

-- begin_attempt --
-- That something is about to be told: what happens to it from now on is told by itself.
UPDATE attribution_webhook_queue SET attempts = attempts + 1 WHERE webhook_id = %(webhook_id)s AND state = 'pending';

-- end_telling --
-- What became of it.
UPDATE attribution_webhook_queue SET state = %(telling_state)s, error = %(reason)s,
    delivered_at = CASE WHEN %(telling_state)s = 'delivered' THEN now() END
WHERE webhook_id = %(webhook_id)s AND state = 'pending';

-- note_delivery --
-- A subscriber has taken something: whatever failed before is over.
UPDATE attribution_webhooks SET failures = 0 WHERE name = %(webhook_name)s AND failures > 0;

-- note_failure --
-- A subscriber has not taken something: when it is asked next, and whether at all.
UPDATE attribution_webhooks SET failures = failures + 1, due_at = %(due_at)s,
    active = active AND %(disabled_reason)s::text IS NULL, disabled_reason = coalesce(%(disabled_reason)s, disabled_reason)
WHERE name = %(webhook_name)s;

-- release_subscriptions --
-- This run's claims, at its end.
UPDATE attribution_webhooks SET leased_until = NULL, run_id = NULL WHERE run_id = %(run_id)s;
