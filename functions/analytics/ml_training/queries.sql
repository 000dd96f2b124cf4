-- request_training --
-- A training that a run has asked for; asked for again it stays as it is.
INSERT INTO ml_trainings (training_id, kind, may_use, until)
VALUES (%(training_id)s, 'attribution', %(use_is_wanted)s, %(until)s) ON CONFLICT DO NOTHING;

-- count_first --
-- Touches of a span, and conversions with a touch, each counted up to a number.
SELECT (SELECT count(*) FROM (
            SELECT FROM attribution_touchpoints t WHERE t.occurred_at >= %(since)s AND t.occurred_at < %(until)s
            LIMIT %(most)s) few)::integer AS touches,
       (SELECT count(*) FROM (
            SELECT FROM attribution_conversions c
            WHERE c.converted_at >= %(since)s AND c.converted_at < %(until)s AND c.status = 'attributed'
            LIMIT %(most)s) few)::integer AS conversions;

-- lock_trainings --
-- One at a time claims and ends a tenant's trainings.
SELECT pg_advisory_xact_lock(hashtextextended(current_tenant()::text || 'ml_trainings', 20));

-- give_up_trainings --
-- Trainings whose containers have been silent for too long.
UPDATE ml_trainings t SET state = 'failed', reason = 'lost', ended_at = %(now)s
WHERE t.state = 'running' AND t.held_until < %(now)s AND t.training_id <> %(training_id)s AND t.kind = 'attribution';

-- claim_training --
-- Take a training up, unless it has ended or another one of the tenant is at work.
UPDATE ml_trainings t SET state = 'running', attempt = t.attempt + 1, fence = t.fence + 1, held_until = %(held_until)s,
       started_at = coalesce(t.started_at, %(now)s)
WHERE t.training_id = %(training_id)s AND t.state IN ('requested', 'running', 'failed') AND NOT EXISTS (
    SELECT FROM ml_trainings o WHERE o.kind = t.kind AND o.state = 'running' AND o.training_id <> t.training_id)
RETURNING t.training_id, t.fence, t.attempt, t.until, t.may_use;

-- find_training --
-- How a training stands, with the model that it has left.
SELECT t.state, t.reason, t.attempt, m.version, m.algorithm, coalesce(m.used, false) AS used, m.samples, m.conversions
FROM ml_trainings t LEFT JOIN ml_models m ON m.training_id = t.training_id WHERE t.training_id = %(training_id)s;

-- hold_training --
-- Say that the container is still at work; no row where somebody else has taken the training over.
UPDATE ml_trainings t SET held_until = %(held_until)s
WHERE t.training_id = %(training_id)s AND t.fence = %(fence)s AND t.state = 'running' RETURNING t.fence;

-- end_training --
-- A training's end; no row where somebody else has taken it over.
UPDATE ml_trainings t SET state = %(state)s, reason = %(reason)s, ended_at = %(now)s, held_until = NULL
WHERE t.training_id = %(training_id)s AND t.fence = %(fence)s AND t.state = 'running' RETURNING t.fence;

-- find_used_model --
-- The model in use.
SELECT m.version, m.algorithm, m.code, m.document FROM ml_models m WHERE m.kind = 'attribution' AND m.used;

-- leave_model --
-- The model that was in use until now.
UPDATE ml_models m SET used = false WHERE m.kind = 'attribution' AND m.used;

-- save_model --
-- A model under the next version; a training leaves one.
INSERT INTO ml_models (kind, version, training_id, algorithm, code, samples, conversions, since, until, weights, metrics,
                       document, used, reason)
SELECT 'attribution', 1 + coalesce(max(m.version), 0), %(training_id)s, %(algorithm)s, %(code_version)s, %(samples)s,
       %(converted)s, %(since)s, %(until)s, %(channel_weights)s, %(metrics)s, %(fitted)s, %(use_is_due)s, %(reason)s
FROM ml_models m WHERE m.kind = 'attribution'
ON CONFLICT (tenant_id, training_id) DO UPDATE SET training_id = excluded.training_id
RETURNING version;

-- forget_models --
-- Models that were not used, or are no longer, and are followed by so many others.
DELETE FROM ml_models m WHERE m.kind = 'attribution' AND NOT m.used AND m.version <= %(last_version)s;

-- clear_weights --
-- What an earlier model has learnt.
DELETE FROM attribution_weights;

-- save_weights --
-- What the data-driven credits take from the model in use.
INSERT INTO attribution_weights (channel, weight, conversions, trained_at)
SELECT w.key, w.value::float, %(converted)s, %(now)s FROM jsonb_each_text(%(channel_weights)s) w;

-- pack_journeys --
-- Journeys that ended in a span, the latest ones, as bytes: (number, converted, channel, time, end) a touch. Of conversions the touches that
-- attribution counts in its default window. What else visitors did, unless a conversion of theirs followed within the
-- window: a visitor's touches that lie no further apart than that are one journey, which ends with the last of them.
WITH converting AS MATERIALIZED (
    SELECT c.shopify_order_id, c.converted_at, c.visitor_id, c.shopify_customer_id FROM attribution_conversions c
    WHERE c.converted_at >= %(since)s AND c.converted_at < %(until)s::timestamptz + %(look_back)s AND c.status = 'attributed'
), told AS MATERIALIZED (
    SELECT k.shopify_order_id, k.converted_at, u.touchpoint_id, u.channel, t.occurred_at
    FROM converting k
    JOIN attribution_credits a ON a.shopify_order_id = k.shopify_order_id AND a.window_days = %(window_days)s
    CROSS JOIN LATERAL unnest(a.touchpoint_ids, a.channels) AS u (touchpoint_id, channel)
    JOIN attribution_touchpoints t ON t.touchpoint_id = u.touchpoint_id
     AND t.occurred_at BETWEEN k.converted_at - %(look_back)s AND k.converted_at
    WHERE t.occurred_at >= %(since)s::timestamptz - %(look_back)s
      AND t.occurred_at < %(until)s::timestamptz + %(look_back)s
), loose AS (
    SELECT t.visitor_id, t.touchpoint_id, t.channel, t.occurred_at,
           t.occurred_at - lag(t.occurred_at) OVER (PARTITION BY t.visitor_id ORDER BY t.occurred_at, t.touchpoint_id)
               > %(look_back)s AS begins
    FROM attribution_touchpoints t
    WHERE t.occurred_at >= %(since)s AND t.occurred_at < %(until)s AND t.visitor_id IS NOT NULL AND t.type = ANY (%(types)s)
      AND NOT EXISTS (SELECT FROM told k WHERE k.touchpoint_id = t.touchpoint_id)
      AND NOT EXISTS (SELECT FROM converting k WHERE k.visitor_id = t.visitor_id
                      AND k.converted_at BETWEEN t.occurred_at AND t.occurred_at + %(look_back)s)
), parted AS (
    SELECT l.*, count(*) FILTER (WHERE l.begins) OVER (PARTITION BY l.visitor_id ORDER BY l.occurred_at, l.touchpoint_id) AS part
    FROM loose l
), ended AS (
    SELECT p.*, max(p.occurred_at) OVER (PARTITION BY p.visitor_id, p.part) AS ended_at FROM parted p
), touches AS (
    SELECT dense_rank() OVER (ORDER BY k.converted_at DESC, k.shopify_order_id) AS number, true AS converted, k.channel,
           k.occurred_at, k.converted_at AS ended_at
    FROM told k WHERE k.converted_at < %(until)s
    UNION ALL
    SELECT -dense_rank() OVER (ORDER BY e.ended_at DESC, e.visitor_id, e.part), false,
           array_position(%(channels)s::text[], e.channel)::smallint, e.occurred_at, e.ended_at
    FROM ended e
)
SELECT string_agg(int4send(t.number::integer) || CASE WHEN t.converted THEN '\x01'::bytea ELSE '\x00' END
                  || int2send(t.channel) || timestamptz_send(t.occurred_at) || timestamptz_send(t.ended_at), '') AS packed
FROM touches t WHERE abs(t.number) <= %(most)s;

-- sum_days --
-- Each local day's revenue, and its spend by platform, in one currency. Cancelled, voided and test orders are none.
SELECT d.day, coalesce(sold.cents, 0)::bigint AS revenue_cents, coalesce(spent.spend, '{}') AS spend
FROM generate_series((%(opened_at)s AT TIME ZONE %(zone)s)::date, (%(closes_at)s AT TIME ZONE %(zone)s)::date - 1,
                     interval '1 day') AS g (at)
CROSS JOIN LATERAL (SELECT g.at::date AS day) d
LEFT JOIN (
    SELECT (o.placed_at AT TIME ZONE %(zone)s)::date AS day, sum(o.net_cents) AS cents FROM orders o
    WHERE o.placed_at >= %(opened_at)s AND o.placed_at < %(closes_at)s AND o.currency = %(currency)s
      AND o.status <> 'cancelled' AND o.financial_status <> 'voided' AND NOT o.test
    GROUP BY 1
) sold ON sold.day = d.day
LEFT JOIN (
    SELECT p.spent_on, jsonb_object_agg(p.platform, p.cents) AS spend FROM (
        SELECT s.spent_on, s.platform, sum(s.spend_cents) AS cents FROM ad_spend s
        WHERE s.spent_on >= (%(opened_at)s AT TIME ZONE %(zone)s)::date
          AND s.spent_on < (%(closes_at)s AT TIME ZONE %(zone)s)::date AND s.currency = %(currency)s
        GROUP BY 1, 2) p
    GROUP BY 1
) spent ON spent.spent_on = d.day
ORDER BY d.day;

-- save_mix --
-- A marketing-mix model with its training, under the next version; the newest is the one that is used.
WITH trained AS (
    INSERT INTO ml_trainings (training_id, kind, state, until, attempt, started_at, ended_at)
    VALUES (%(training_id)s, 'mmm', 'succeeded', %(until)s, 1, %(now)s, %(now)s)
    ON CONFLICT DO NOTHING RETURNING training_id
), left_behind AS (
    UPDATE ml_models m SET used = false FROM trained t WHERE m.kind = 'mmm' AND m.used
    RETURNING m.version
)
INSERT INTO ml_models (kind, version, training_id, algorithm, code, samples, conversions, since, until, weights, metrics,
                       document, used, reason)
SELECT 'mmm', 1 + (SELECT coalesce(max(m.version), 0) FROM ml_models m WHERE m.kind = 'mmm'), t.training_id, 'bayesian-ridge',
       %(code_version)s, %(samples)s, 0, %(since)s, %(until)s, '{}', %(metrics)s, %(fitted)s, false, 'newer'
FROM trained t
RETURNING version;

-- use_mix --
-- The newest marketing-mix model is the one in use.
UPDATE ml_models m SET used = true, reason = NULL
WHERE m.kind = 'mmm' AND m.training_id = %(training_id)s;

-- version_of_mix --
-- The marketing-mix model that a run has left.
SELECT m.version FROM ml_models m WHERE m.kind = 'mmm' AND m.training_id = %(training_id)s;
