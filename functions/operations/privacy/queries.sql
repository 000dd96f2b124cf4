-- find_webhook --
-- Under which topic the request came, and when it was sent.
SELECT topic, app, triggered_at, received_at FROM webhook_inbox WHERE inbox_id = %(inbox_id)s;

-- open_request --
-- Write the request down, once.
INSERT INTO privacy_requests AS p (request_id, cause, kind, shopify_request_id, shopify_customer_id, order_ids, requested_at, due_at)
VALUES (%(request_id)s, %(cause)s, %(kind)s, %(number)s, %(customer)s, %(order_ids)s, %(requested_at)s, %(due_at)s)
ON CONFLICT (tenant_id, cause) DO UPDATE SET cause = excluded.cause
RETURNING p.request_id;

-- close_request --
-- The request is done (or was not ours to do); whose it was is told by its export alone.
UPDATE privacy_requests
SET state = %(state)s, done_at = now(), counts = %(counts)s, claim = %(claim)s,
    shopify_customer_id = CASE WHEN kind = 'customers/data_request' THEN shopify_customer_id END,
    order_ids = CASE WHEN kind = 'customers/data_request' THEN order_ids ELSE '{}' END
WHERE request_id = %(request_id)s;

-- find_subject --
-- What else a customer is known by: addresses, orders, visits. An address alone finds the orders without a customer.
WITH mine AS (
    SELECT o.shopify_order_id, o.email, o.visitor_id FROM orders o
    WHERE o.shopify_customer_id = %(customer)s OR o.shopify_order_id = ANY (%(order_ids)s)
       OR (lower(o.email) = %(address)s AND (o.shopify_customer_id IS NULL OR o.shopify_customer_id = %(customer)s))
), known AS (
    SELECT c.shopify_customer_id, c.email, c.phone FROM customers c
    WHERE c.shopify_customer_id = %(customer)s OR (%(customer)s::bigint IS NULL AND lower(c.email) = %(address)s)
)
SELECT coalesce((SELECT array_agg(DISTINCT shopify_customer_id::text) FROM known), '{}') AS customer,
       coalesce((SELECT array_agg(DISTINCT shopify_order_id::text) FROM mine), '{}') AS "order",
       coalesce((SELECT array_agg(DISTINCT lower(email)) FROM (SELECT email FROM known UNION SELECT email FROM mine) e
                 WHERE email IS NOT NULL), '{}') AS email,
       coalesce((SELECT array_agg(DISTINCT phone) FROM known WHERE phone IS NOT NULL), '{}') AS phone,
       coalesce((SELECT array_agg(DISTINCT visitor_id) FROM (
           SELECT visitor_id FROM mine
           UNION SELECT t.visitor_id FROM attribution_touchpoints t WHERE t.shopify_customer_id = %(customer)s) v
           WHERE visitor_id IS NOT NULL), '{}') AS visitor;

-- remember_redacted --
-- From now on nothing personal of these is stored again.
INSERT INTO redacted_subjects (digest)
SELECT subject_digest(k.kind, v.value)
FROM (VALUES ('customer'), ('order')) k (kind), jsonb_array_elements_text(%(subject)s -> k.kind) v
ON CONFLICT DO NOTHING;

-- export_subject --
-- Every row of the subject, by table.
SELECT export_subject(%(subject)s) AS tables;

-- redact_subject --
-- Clear or delete every row of the subject, by what the columns are declared to hold.
SELECT redact_subject(%(subject)s) AS counts;

-- document_tables --
-- Tables that hold documents or texts, with their binary columns.
SELECT p.table_name, coalesce(array_agg(p.column_name) FILTER (WHERE c.udt_name = 'bytea'), '{}') AS binary_columns
FROM personal_data p
JOIN information_schema.columns c ON c.table_schema = 'public' AND c.table_name = p.table_name
                                 AND c.column_name = p.column_name
WHERE p.holds IN ('document', 'text') GROUP BY p.table_name ORDER BY p.table_name;

-- scan_documents --
-- The next window of a table's documents: those that match, and the window's last key.
SELECT key, content FROM scan_documents(%(table)s, %(after)s, %(window)s, %(pattern)s);

-- write_documents --
-- Write a row's documents back.
SELECT write_documents(%(table)s, %(key)s, %(content)s);

-- forget_request --
-- The request's own messages name the customer too: they are emptied when it is done.
WITH body AS (
    UPDATE webhook_inbox SET body = NULL WHERE inbox_id = %(inbox_id)s
), messages AS (
    UPDATE outbox SET payload = '{}' WHERE task = %(task)s AND cause = %(cause)s AND payload IS NOT NULL
)
UPDATE task_run SET checkpoint = NULL, continuation = NULL WHERE run_id = %(run_id)s;

-- find_installations --
-- The tenant's shops.
SELECT app, shop_domain, status, installed_at FROM shopify_app_installations ORDER BY app, shop_domain;

-- tenant_tables --
-- Every table with a tenant's rows, children first.
SELECT table_name FROM tenant_tables() WITH ORDINALITY t (table_name, place) ORDER BY place;

-- purge_rows --
-- Delete a page of the tenant's rows.
SELECT purge_tenant_rows(%(table)s, %(run_id)s, %(inbox_id)s, %(most)s) AS deleted;

-- forget_tenant --
-- What is left of a tenant: that it was here, under no name.
UPDATE tenants SET slug = 'removed-' || tenant_id, name = 'removed', settings = '{}', status = 'uninstalled',
                   updated_at = now()
WHERE tenant_id = current_tenant() AND status <> 'platform';

-- forget_own_webhook --
-- The request itself, which the purge stood on.
DELETE FROM webhook_inbox WHERE inbox_id = %(inbox_id)s;

-- forget_own_messages --
-- The same of the request's messages; the run that ends in this transaction misses none of them.
DELETE FROM outbox;

-- uninstall_shop --
-- The app is gone from a shop, unless it has been installed again since.
UPDATE shopify_app_installations SET status = 'uninstalled', uninstalled_at = %(uninstalled_at)s
WHERE app = %(app)s AND shop_domain = %(shop)s AND status <> 'uninstalled' AND installed_at <= %(uninstalled_at)s
RETURNING shop_domain;

-- mark_registrations_deleted --
-- Shopify has ended the shop's subscriptions itself.
UPDATE webhook_registrations SET deleted_at = now() WHERE shop_domain = %(shop)s AND deleted_at IS NULL;

-- delete_tokens --
-- The shop's tokens are dead. The app's secret stays: compliance webhooks still come, signed with it.
DELETE FROM credentials WHERE provider = 'shopify' AND app = %(app)s AND name <> 'app_secret';

-- leave --
-- Where no shop is left the tenant is not active any more: no schedule reaches it.
UPDATE tenants SET status = 'uninstalled', updated_at = now()
WHERE tenant_id = current_tenant() AND status IN ('active', 'paused')
  AND NOT EXISTS (SELECT FROM shopify_app_installations i WHERE i.status <> 'uninstalled')
RETURNING tenant_id;

-- delete_other_credentials --
-- Of a tenant that has left: all but the apps' secrets.
DELETE FROM credentials WHERE name <> 'app_secret';

-- stop_schedules --
-- Of a tenant that has left.
WITH due AS (DELETE FROM schedule_due) DELETE FROM schedule_next_run;

-- revoke_api_keys --
-- Of a tenant that has left.
UPDATE api_keys SET revoked_at = now() WHERE revoked_at IS NULL;

-- cancel_messages --
-- What waits and has not been sent; a privacy request is worked all the same.
DELETE FROM outbox WHERE state IN ('held', 'ready') AND task NOT IN ('gdpr-request-process', 'tenant-uninstall-cleanup');
