-- lock_exports --
-- A tenant's exports, so that two do not become the last one that it may have.
SELECT e.name FROM attribution_exports e ORDER BY e.name FOR UPDATE;

-- save_export --
-- An export as it is described now.
INSERT INTO attribution_exports AS e (name, dataset, format, destination, address, columns, models, windows, every, at_hour,
    look_back_days, active, next_run_at)
VALUES (%(export_name)s, %(dataset)s, %(format)s, %(place_kind)s, %(address_told)s, %(columns)s, %(models)s, %(windows)s,
    %(every)s, %(at_hour)s, %(look_back_days)s, %(active_is_on)s, %(next_run_at)s)
ON CONFLICT (tenant_id, name) DO UPDATE SET
    dataset = excluded.dataset, format = excluded.format, destination = excluded.destination, address = excluded.address,
    columns = excluded.columns, models = excluded.models, windows = excluded.windows, every = excluded.every,
    at_hour = excluded.at_hour, look_back_days = excluded.look_back_days, active = excluded.active,
    next_run_at = excluded.next_run_at, updated_at = now();

-- mark_exports_due --
-- When the tenant next has an export to make.
SELECT mark_due('analytics-attribution-export-scheduled', min(e.next_run_at)) FROM attribution_exports e WHERE e.active;

-- pick_due --
-- Exports that are due, locked until their next time is written.
SELECT e.* FROM attribution_exports e WHERE e.active AND e.next_run_at <= %(now)s
ORDER BY e.next_run_at, e.name LIMIT %(page)s FOR UPDATE;

-- put_off --
-- When an export is due next.
UPDATE attribution_exports SET next_run_at = %(next_run_at)s WHERE name = %(export_name)s AND active;

-- find_export --
-- An export by its name.
SELECT e.* FROM attribution_exports e WHERE e.name = %(export_name)s;

-- open_run --
-- A file to be made, or one that was begun. One that lies in the archive is brought as it is, unless the export has changed.
WITH kept AS (
    SELECT r.name FROM attribution_export_runs r JOIN attribution_exports e ON e.name = r.name
    WHERE r.name = %(export_name)s AND r.due_at = %(due_at)s AND r.object_key IS NOT NULL AND r.made_at >= e.updated_at
)
INSERT INTO attribution_export_runs AS r (name, due_at, since_at, until_at, state, file_name, attempts)
VALUES (%(export_name)s, %(due_at)s, %(since_at)s, %(until_at)s, 'pending', %(file_name)s, 1)
ON CONFLICT (tenant_id, name, due_at) DO UPDATE SET
    attempts = r.attempts + 1, error = NULL,
    state = CASE WHEN EXISTS (SELECT FROM kept) THEN 'made' ELSE 'pending' END,
    object_key = CASE WHEN EXISTS (SELECT FROM kept) THEN r.object_key END,
    file_name = CASE WHEN EXISTS (SELECT FROM kept) THEN r.file_name ELSE excluded.file_name END,
    since_at = CASE WHEN EXISTS (SELECT FROM kept) THEN r.since_at ELSE excluded.since_at END,
    until_at = CASE WHEN EXISTS (SELECT FROM kept) THEN r.until_at ELSE excluded.until_at END
RETURNING r.since_at, r.until_at, r.file_name, r.object_key, r.row_count, r.byte_count, r.sha256;

-- mark_made --
-- A file lies in the archive.
UPDATE attribution_export_runs SET state = 'made', object_key = %(object_key)s, row_count = %(row_count)s,
    byte_count = %(byte_count)s, sha256 = %(file_sha256)s, made_at = now()
WHERE name = %(export_name)s AND due_at = %(due_at)s;

-- mark_delivered --
-- A file is where it belongs.
UPDATE attribution_export_runs SET state = 'delivered', delivered_at = %(now)s, error = NULL
WHERE name = %(export_name)s AND due_at = %(due_at)s;

-- note_failure --
-- Why a file is not where it belongs; for good, or until the next attempt.
UPDATE attribution_export_runs SET error = %(reason)s,
    state = CASE WHEN %(for_good_is_on)s THEN 'failed' WHEN object_key IS NULL THEN 'pending' ELSE 'made' END
WHERE name = %(export_name)s AND due_at = %(due_at)s;

-- give_time --
-- A large file takes longer than a statement may by itself.
SET LOCAL statement_timeout = '600s';

-- extract_touches --
-- A row for each conversion, touch, model and window, in an order that is always the same. Test orders and voided ones are none.
SELECT c.shopify_order_id AS order_id, c.converted_at, c.currency, c.revenue_cents AS order_revenue_cents, c.first_purchase,
       a.model, a.window_days, a.position, a.touchpoint_id, t.occurred_at AS touched_at, a.channel,
       touch_platform(t.click_id, t.source) AS platform, spreadsheet_text(t.source, %(guarded_is_on)s) AS source,
       spreadsheet_text(t.medium, %(guarded_is_on)s) AS medium, spreadsheet_text(t.campaign, %(guarded_is_on)s) AS campaign,
       t.type, a.credit, a.revenue_cents, c.shopify_customer_id AS customer_id,
       spreadsheet_text(c.visitor_id, %(guarded_is_on)s) AS visitor_id
FROM attribution_conversions c
JOIN orders o ON o.shopify_order_id = c.shopify_order_id AND o.financial_status <> 'voided' AND NOT o.test
JOIN attribution_results a ON a.shopify_order_id = c.shopify_order_id
    AND (cardinality(%(models)s::text[]) = 0 OR a.model = ANY (%(models)s::text[]))
    AND (cardinality(%(windows)s::integer[]) = 0 OR a.window_days = ANY (%(windows)s::integer[]))
LEFT JOIN attribution_touchpoints t ON t.touchpoint_id = a.touchpoint_id
    AND t.occurred_at BETWEEN c.converted_at - interval '90 days' AND c.converted_at
WHERE c.converted_at >= %(since_at)s AND c.converted_at < %(until_at)s
ORDER BY c.converted_at, c.shopify_order_id, a.model, a.window_days, a.position;

-- extract_conversions --
-- A row for each conversion, with what each model gives to each channel in the tenant's default window.
SELECT c.shopify_order_id AS order_id, c.converted_at, c.calculated_at, c.currency, c.gross_revenue_cents, c.revenue_cents,
       c.first_purchase, c.status, c.touchpoints, m.by_model -> 'first_touch' AS first_touch,
       m.by_model -> 'last_touch' AS last_touch, m.by_model -> 'linear' AS linear, m.by_model -> 'time_decay' AS time_decay,
       m.by_model -> 'position_based' AS position_based, m.by_model -> 'last_non_direct' AS last_non_direct,
       m.by_model -> 'data_driven' AS data_driven, c.shopify_customer_id AS customer_id,
       spreadsheet_text(c.visitor_id, %(guarded_is_on)s) AS visitor_id
FROM attribution_conversions c
JOIN orders o ON o.shopify_order_id = c.shopify_order_id AND o.financial_status <> 'voided' AND NOT o.test
LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(s.model, s.channels) AS by_model FROM (
        SELECT h.model, jsonb_object_agg(h.channel, h.cents) AS channels FROM (
            SELECT a.model, a.channel, sum(a.revenue_cents)::bigint AS cents FROM attribution_results a
            WHERE a.shopify_order_id = c.shopify_order_id AND a.window_days = %(window_days)s GROUP BY 1, 2
        ) h GROUP BY 1
    ) s
) m ON true
WHERE c.converted_at >= %(since_at)s AND c.converted_at < %(until_at)s
ORDER BY c.converted_at, c.shopify_order_id;

-- extract_channels --
-- A row for each of the days' models, windows, channels and platforms.
SELECT s.summary_on AS day, s.model, s.window_days, s.channel, s.platform, s.touchpoints, s.conversions, s.revenue_cents
FROM attribution_channel_summary s JOIN tenants n ON n.tenant_id = s.tenant_id
WHERE s.summary_on >= (%(since_at)s AT TIME ZONE n.zone)::date AND s.summary_on < (%(until_at)s AT TIME ZONE n.zone)::date
  AND (cardinality(%(models)s::text[]) = 0 OR s.model = ANY (%(models)s::text[]))
  AND (cardinality(%(windows)s::integer[]) = 0 OR s.window_days = ANY (%(windows)s::integer[]))
ORDER BY s.summary_on, s.model, s.window_days, s.channel, s.platform;
