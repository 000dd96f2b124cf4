-- look_for_work --
-- What waits now: rows that are due, calls that nobody is working on, and until when the account pauses.
SELECT
    EXISTS (SELECT FROM review_email_queue q WHERE q.state = 'scheduled' AND q.scheduled_at <= %(now_at)s) AS due,
    EXISTS (SELECT FROM review_email_queue q WHERE q.batch_id IS NOT NULL AND q.state IN ('processing', 'sent')
                AND (q.lease_until IS NULL OR q.lease_until <= %(now_at)s OR q.run_id = %(run_id)s)) AS left_over,
    EXISTS (SELECT FROM review_email_queue q WHERE q.state = 'failed' AND q.next_attempt_at <= %(now_at)s) AS failed,
    (SELECT p.paused_until FROM email_sending_pauses p WHERE p.paused_until > %(now_at)s) AS paused_until;

-- claim_due --
-- Take rows that are due, the longest due first, past whatever another worker holds.
WITH due AS (
    SELECT q.shopify_order_id, q.sequence FROM review_email_queue q
    WHERE q.state = 'scheduled' AND q.scheduled_at <= %(now_at)s
    ORDER BY q.scheduled_at, q.shopify_order_id, q.sequence
    LIMIT %(most)s FOR UPDATE SKIP LOCKED
)
UPDATE review_email_queue q
SET state = 'processing', run_id = %(run_id)s, lease_until = %(lease_at)s, updated_at = %(now_at)s
FROM due d WHERE q.shopify_order_id = d.shopify_order_id AND q.sequence = d.sequence
RETURNING q.shopify_order_id, q.sequence;

-- claim_one --
-- Take one row for a person who asks for it: with force whatever its state, else what is due or has failed.
UPDATE review_email_queue q
SET state = 'processing', run_id = %(run_id)s, lease_until = %(lease_at)s, updated_at = %(now_at)s
WHERE q.shopify_order_id = %(order_id)s AND q.sequence = %(sequence)s
  AND (q.state IN ('scheduled', 'failed') OR (q.state = 'processing' AND q.lease_until <= %(now_at)s)
       OR (q.state = 'processing' AND q.run_id = %(run_id)s) OR (%(force)s AND q.state <> 'processing'))
RETURNING q.shopify_order_id, q.sequence, q.batch_id;

-- find_email --
-- One row's standing.
SELECT q.state, q.batch_id, q.message_id, q.email, q.attempts FROM review_email_queue q
WHERE q.shopify_order_id = %(order_id)s AND q.sequence = %(sequence)s;

-- peek_due --
-- The rows that would be taken now, for a dry run.
SELECT q.shopify_order_id, q.sequence FROM review_email_queue q
WHERE q.state = 'scheduled' AND q.scheduled_at <= %(now_at)s
ORDER BY q.scheduled_at, q.shopify_order_id, q.sequence
LIMIT %(most)s;

-- list_candidates --
-- What decides on each of these e-mails and stands in it.
SELECT q.shopify_order_id, q.sequence, q.email, q.attempts, q.template, q.force_incentive,
       o.order_number, o.status, o.currency, o.total_cents, o.refunded_cents, c.first_name,
       EXISTS (SELECT FROM reviews r WHERE r.shopify_order_id = q.shopify_order_id) AS reviewed,
       (SELECT s.reason FROM email_suppressions s WHERE s.email = lower(q.email)) AS suppression,
       i.code, i.percent, i.photo_percent, i.state AS code_state, i.expires_at,
       coalesce((SELECT jsonb_agg(jsonb_build_object('title', l.title, 'quantity', l.quantity) ORDER BY l.shopify_line_id)
                 FROM order_line_items l WHERE l.shopify_order_id = q.shopify_order_id), '[]') AS lines
FROM jsonb_populate_recordset(NULL::review_email_queue, %(emails)s) w
JOIN review_email_queue q ON q.shopify_order_id = w.shopify_order_id AND q.sequence = w.sequence
JOIN orders o ON o.shopify_order_id = q.shopify_order_id
LEFT JOIN customers c ON c.shopify_customer_id = o.shopify_customer_id
LEFT JOIN review_incentive_codes i ON i.shopify_order_id = q.shopify_order_id
ORDER BY q.scheduled_at, q.shopify_order_id, q.sequence;

-- skip_emails --
-- These are not sent, each with its reason. A review ends every open row of its order.
WITH told AS (
    SELECT w.shopify_order_id, w.sequence, w.skip_reason
    FROM jsonb_populate_recordset(NULL::review_email_queue, %(skipped)s) w
)
UPDATE review_email_queue q
SET state = 'skipped', skip_reason = t.skip_reason, run_id = NULL, lease_until = NULL, next_attempt_at = NULL,
    updated_at = %(now_at)s
FROM told t
WHERE q.shopify_order_id = t.shopify_order_id
  AND (q.sequence = t.sequence OR t.skip_reason = 'reviewed')
  AND q.batch_id IS NULL AND q.state IN ('pending', 'awaiting_delivery', 'scheduled', 'processing', 'failed');

-- freeze_emails --
-- What each of these e-mails says from now on, and its place in the call that will carry it.
UPDATE review_email_queue q
SET batch_id = w.batch_id, batch_place = w.batch_place, batch_size = w.batch_size, frozen_at = %(now_at)s,
    message = w.message, template = w.template, incentive_offered = w.incentive_offered, incentive_code = w.incentive_code,
    message_id = NULL, error = NULL
FROM jsonb_populate_recordset(NULL::review_email_queue, %(frozen)s) w
WHERE q.shopify_order_id = w.shopify_order_id AND q.sequence = w.sequence AND q.state = 'processing';

-- claim_left_over --
-- Take the calls that nobody is working on: a dead worker's, those of this run's earlier attempts, and those of which the
-- provider has told before we knew.
WITH open AS (
    SELECT q.shopify_order_id, q.sequence FROM review_email_queue q
    WHERE q.batch_id IS NOT NULL AND q.state IN ('processing', 'sent')
      AND (q.lease_until IS NULL OR q.lease_until <= %(now_at)s OR q.run_id = %(run_id)s)
    ORDER BY q.batch_id, q.batch_place LIMIT %(most)s FOR UPDATE SKIP LOCKED
)
UPDATE review_email_queue q SET run_id = %(run_id)s, lease_until = %(lease_at)s, updated_at = %(now_at)s
FROM open o WHERE q.shopify_order_id = o.shopify_order_id AND q.sequence = o.sequence
RETURNING q.batch_id;

-- claim_failed --
-- Take failed rows whose wait is over, the longest failed first. What may be at the provider is taken as it was frozen;
-- what never left goes back into the queue.
WITH due AS (
    SELECT q.shopify_order_id, q.sequence FROM review_email_queue q
    WHERE q.state = 'failed' AND q.next_attempt_at <= %(now_at)s
    ORDER BY q.next_attempt_at, q.batch_id, q.shopify_order_id, q.sequence
    LIMIT %(most)s FOR UPDATE SKIP LOCKED
)
UPDATE review_email_queue q
SET state = CASE WHEN q.batch_id IS NULL THEN 'scheduled' ELSE 'processing' END,
    scheduled_at = CASE WHEN q.batch_id IS NULL THEN %(now_at)s ELSE q.scheduled_at END,
    run_id = CASE WHEN q.batch_id IS NOT NULL THEN %(run_id)s::uuid END,
    lease_until = CASE WHEN q.batch_id IS NOT NULL THEN %(lease_at)s::timestamptz END,
    next_attempt_at = NULL, updated_at = %(now_at)s
FROM due d WHERE q.shopify_order_id = d.shopify_order_id AND q.sequence = d.sequence
RETURNING q.batch_id;

-- thaw_batches --
-- The rows of these calls, as they were frozen, with who has objected since.
SELECT q.batch_id, q.shopify_order_id, q.sequence, q.state, q.batch_size, q.frozen_at, q.attempts, q.message,
       EXISTS (SELECT FROM email_suppressions s WHERE s.email = lower(q.email)) AS objected
FROM review_email_queue q
WHERE q.batch_id = ANY (%(batch_ids)s)
ORDER BY q.batch_id, q.batch_place;

-- mark_sent --
-- The provider has taken these. Only a row that was frozen for this very call is touched.
UPDATE review_email_queue q
SET state = 'sent', message_id = w.message_id, sent_at = coalesce(q.sent_at, %(now_at)s), batch_id = NULL, message = NULL,
    run_id = NULL, lease_until = NULL, next_attempt_at = NULL, error = NULL, skip_reason = NULL, updated_at = %(now_at)s
FROM jsonb_populate_recordset(NULL::review_email_queue, %(sent)s) w
WHERE q.shopify_order_id = w.shopify_order_id AND q.sequence = w.sequence AND q.batch_id = w.batch_id;

-- mark_failed --
-- What did not go out, with its error and its next try; what may have gone out stays frozen for it.
UPDATE review_email_queue q
SET state = 'failed', attempts = w.attempts, error = w.error, next_attempt_at = w.next_attempt_at,
    batch_id = CASE WHEN w.message IS NOT NULL THEN q.batch_id END,
    message = CASE WHEN w.message IS NOT NULL THEN q.message END,
    run_id = NULL, lease_until = NULL, updated_at = %(now_at)s
FROM jsonb_populate_recordset(NULL::review_email_queue, %(failed)s) w
WHERE q.shopify_order_id = w.shopify_order_id AND q.sequence = w.sequence AND q.batch_id = w.batch_id
  AND q.state = 'processing';

-- give_back --
-- These were certainly not taken by the provider: they are due as before.
UPDATE review_email_queue q
SET state = 'scheduled', batch_id = NULL, message = NULL, run_id = NULL, lease_until = NULL, updated_at = %(now_at)s,
    scheduled_at = coalesce(q.scheduled_at, %(now_at)s)
WHERE q.batch_id = ANY (%(batch_ids)s) AND q.state = 'processing';

-- save_codes --
-- Incentive codes, one per order; of two the first stands. The codes that stand come back.
INSERT INTO review_incentive_codes AS i (code, shopify_order_id, sequence, percent, photo_percent, expires_at)
SELECT w.code, w.shopify_order_id, w.sequence, w.percent, w.photo_percent, w.expires_at
FROM jsonb_populate_recordset(NULL::review_incentive_codes, %(codes_wanted)s) w
ON CONFLICT (tenant_id, shopify_order_id) DO UPDATE SET code = i.code
RETURNING i.shopify_order_id, i.code, i.percent, i.photo_percent, i.expires_at, i.state;

-- pick_intended_codes --
-- The codes that these calls offer and Shopify does not know yet.
SELECT DISTINCT i.code, i.percent, i.photo_percent, i.expires_at
FROM review_email_queue q JOIN review_incentive_codes i ON i.code = q.incentive_code
WHERE q.batch_id = ANY (%(batch_ids)s) AND i.state = 'intended'
ORDER BY i.code;

-- activate_code --
-- Shopify has the discount; its id where it told it.
UPDATE review_incentive_codes
SET state = 'active', shopify_discount_id = coalesce(%(shopify_discount_id)s::text, shopify_discount_id)
WHERE code = %(code)s AND state = 'intended';

-- schedule_follow_ups --
-- The next e-mail of these orders, some days after the last that was sent, unless a review has come.
INSERT INTO review_email_queue (shopify_order_id, sequence, email, trigger, state, scheduled_at)
SELECT q.shopify_order_id, q.sequence + 1, q.email, q.trigger, 'scheduled', q.sent_at + %(wait)s
FROM review_email_queue q
WHERE q.shopify_order_id = ANY (%(order_ids)s) AND q.state = 'sent' AND q.sequence < %(most)s
  AND NOT EXISTS (SELECT FROM reviews r WHERE r.shopify_order_id = q.shopify_order_id)
  AND NOT EXISTS (SELECT FROM review_email_queue n WHERE n.shopify_order_id = q.shopify_order_id
                                                     AND n.sequence = q.sequence + 1)
ON CONFLICT (tenant_id, shopify_order_id, sequence) DO NOTHING;

-- end_waiting --
-- What has waited long enough for its parcel: where it arrived it is due after the usual days, else now, and keeps since
-- when it waited, so that the order's next change does not let it wait again.
UPDATE review_email_queue q
SET state = 'scheduled', updated_at = %(now_at)s,
    awaiting_since = CASE WHEN o.delivered_at IS NULL THEN q.awaiting_since END,
    scheduled_at = CASE WHEN o.delivered_at IS NULL THEN %(now_at)s ELSE o.delivered_at + %(wait)s END
FROM orders o
WHERE o.shopify_order_id = q.shopify_order_id AND q.state = 'awaiting_delivery' AND q.awaiting_since <= %(waiting_since)s;

-- queue_email --
-- An e-mail that another application asks for, due at its time. What the sender has taken stays as it is.
INSERT INTO review_email_queue AS q (shopify_order_id, sequence, email, trigger, state, scheduled_at, template, force_incentive)
SELECT o.shopify_order_id, %(sequence)s, coalesce(%(email)s, lower(trim(o.email))), 'immediate', 'scheduled',
       %(scheduled_at)s, %(template)s, %(force)s
FROM orders o WHERE o.shopify_order_id = %(order_id)s
ON CONFLICT (tenant_id, shopify_order_id, sequence) DO UPDATE SET
    email = coalesce(%(email)s, lower(trim(q.email)), excluded.email), state = 'scheduled',
    scheduled_at = excluded.scheduled_at, awaiting_since = NULL, skip_reason = NULL,
    template = coalesce(excluded.template, q.template), force_incentive = q.force_incentive OR excluded.force_incentive,
    updated_at = now()
WHERE q.state IN ('pending', 'awaiting_delivery', 'scheduled', 'skipped')
RETURNING q.state;

-- record_event --
-- What the provider tells of an e-mail: kept and counted once. A row that was thought to be on its way has been sent.
-- The state before comes back.
WITH before AS (
    SELECT q.state FROM review_email_queue q WHERE q.shopify_order_id = %(order_id)s AND q.sequence = %(sequence)s
), kept AS (
    INSERT INTO review_email_events (event_id, shopify_order_id, sequence, kind, occurred_at)
    SELECT %(event_id)s::text, q.shopify_order_id, q.sequence, %(news)s, %(occurred_at)s
    FROM review_email_queue q WHERE q.shopify_order_id = %(order_id)s AND q.sequence = %(sequence)s
    ON CONFLICT (tenant_id, event_id) DO NOTHING
    RETURNING kind, occurred_at
)
UPDATE review_email_queue q
SET state = CASE WHEN q.state IN ('processing', 'failed') THEN 'sent' ELSE q.state END,
    sent_at = coalesce(q.sent_at, k.occurred_at), message_id = coalesce(q.message_id, %(message_id)s::text),
    next_attempt_at = NULL, error = NULL,
    delivered_at = CASE WHEN k.kind = 'delivered' THEN coalesce(q.delivered_at, k.occurred_at) ELSE q.delivered_at END,
    opened_at = CASE WHEN k.kind = 'opened' THEN least(q.opened_at, k.occurred_at) ELSE q.opened_at END,
    clicked_at = CASE WHEN k.kind = 'clicked' THEN least(q.clicked_at, k.occurred_at) ELSE q.clicked_at END,
    bounced_at = CASE WHEN k.kind = 'bounced' THEN coalesce(q.bounced_at, k.occurred_at) ELSE q.bounced_at END,
    complained_at = CASE WHEN k.kind = 'complained' THEN coalesce(q.complained_at, k.occurred_at) ELSE q.complained_at END,
    opens = q.opens + (k.kind = 'opened')::integer, clicks = q.clicks + (k.kind = 'clicked')::integer,
    updated_at = now()
FROM kept k, before b
WHERE q.shopify_order_id = %(order_id)s AND q.sequence = %(sequence)s
RETURNING b.state;

-- suppress_recipient --
-- Whoever an e-mail went to gets no more of them.
INSERT INTO email_suppressions (email, reason)
SELECT lower(q.email), %(reason)s FROM review_email_queue q
WHERE q.shopify_order_id = %(order_id)s AND q.sequence = %(sequence)s AND q.email IS NOT NULL
ON CONFLICT (tenant_id, email) DO NOTHING;

-- pause_sending --
-- The account sends nothing until then.
INSERT INTO email_sending_pauses (paused_until, reason, changed_at) VALUES (%(until_at)s, %(reason)s, %(now_at)s)
ON CONFLICT (tenant_id) DO UPDATE SET paused_until = excluded.paused_until, reason = excluded.reason,
    changed_at = excluded.changed_at;

-- count_emails --
-- A period's e-mails by what became of them; converted are those whose order was reviewed afterwards.
SELECT count(*)::integer AS sent, count(q.delivered_at)::integer AS delivered, count(q.opened_at)::integer AS opened,
       count(q.clicked_at)::integer AS clicked, count(q.bounced_at)::integer AS bounced,
       count(q.complained_at)::integer AS complained,
       count(*) FILTER (WHERE EXISTS (
           SELECT FROM reviews r WHERE r.shopify_order_id = q.shopify_order_id AND r.created_at >= q.sent_at
             AND NOT EXISTS (SELECT FROM review_email_queue n WHERE n.shopify_order_id = q.shopify_order_id
                             AND n.sequence > q.sequence AND n.sent_at <= r.created_at)))::integer AS converted
FROM review_email_queue q
WHERE q.sent_at >= %(opened_at)s AND q.sent_at < %(closes_at)s;
