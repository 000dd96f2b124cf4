-- Personal data: what every column holds, what becomes of it, and the functions that work by that table alone.
--
-- All of them run as whoever calls them, under row-level security: a tenant's task reaches its own tenant's rows only.

SET lock_timeout = '3s';

-- holds: nothing: no person can be told from it; customer, email, phone, order, visitor: finds the rows of a shop's
-- customer; personal: tells something of that customer; document: JSON that may tell anything; text: may mention
-- somebody; partner: of a person who is no customer (a creator); secret: opens something.
-- on_redact: what a customer's redaction does: keep, clear the column, or delete the row.
CREATE TABLE personal_data (
    table_name text NOT NULL,
    column_name text NOT NULL,
    holds text NOT NULL CHECK (holds IN ('nothing', 'customer', 'email', 'phone', 'order', 'visitor', 'personal',
                                         'document', 'text', 'partner', 'secret')),
    on_redact text NOT NULL DEFAULT 'keep' CHECK (on_redact IN ('keep', 'clear', 'delete')),
    PRIMARY KEY (table_name, column_name)
);
GRANT SELECT ON personal_data TO tradewind_app, tradewind_platform;

-- Customers and orders that were redacted, as digests: what is told of them later is not stored again.
CREATE TABLE redacted_subjects (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    digest bytea NOT NULL,
    redacted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, digest)
);
CALL protect('redacted_subjects');

CREATE TABLE privacy_requests (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    request_id uuid NOT NULL DEFAULT gen_random_uuid(),
    cause text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('customers/data_request', 'customers/redact', 'customers/delete', 'shop/redact')),
    shopify_request_id bigint,
    shopify_customer_id bigint,
    order_ids bigint[] NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'ignored')),
    requested_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    done_at timestamptz,
    counts jsonb NOT NULL DEFAULT '{}',
    claim text,
    PRIMARY KEY (tenant_id, request_id),
    UNIQUE (tenant_id, cause)
);
CREATE INDEX privacy_requests_open ON privacy_requests (due_at) WHERE state = 'open';
CALL protect('privacy_requests');
CALL open_to_platform('privacy_requests');

ALTER TABLE webhook_registrations ADD COLUMN deleted_at timestamptz;

CREATE FUNCTION subject_digest(p_kind text, p_value text) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sha256(convert_to(p_kind || chr(31) || p_value, 'UTF8'));

-- Before a row is written: whose customer or order was redacted is stored without what was redacted, or not at all.
-- The trigger names the table, since a partition has another name than what is declared.
CREATE FUNCTION forget_redacted() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    v_row jsonb;
BEGIN
    IF NOT EXISTS (SELECT FROM redacted_subjects) THEN
        RETURN NEW;
    END IF;
    v_row := to_jsonb(NEW);
    IF NOT EXISTS (
        SELECT FROM personal_data p
        JOIN redacted_subjects s ON s.digest = subject_digest(p.holds, v_row ->> p.column_name)
        WHERE p.table_name = TG_ARGV[0] AND p.holds IN ('customer', 'order')
    ) THEN
        RETURN NEW;
    END IF;
    IF EXISTS (SELECT FROM personal_data p WHERE p.table_name = TG_ARGV[0] AND p.on_redact = 'delete') THEN
        RETURN NULL;
    END IF;
    RETURN jsonb_populate_record(NEW, (
        SELECT coalesce(jsonb_object_agg(p.column_name, cleared_value(p.table_name, p.column_name)), '{}')
        FROM personal_data p WHERE p.table_name = TG_ARGV[0] AND p.on_redact = 'clear'));
END
$$;

-- What stands in a cleared column: null, or its type's empty value where null is not allowed.
CREATE FUNCTION cleared_value(p_table text, p_column text) RETURNS jsonb
LANGUAGE sql STABLE
RETURN (
    SELECT CASE WHEN NOT a.attnotnull THEN 'null'::jsonb
                WHEN a.attndims > 0 OR t.typcategory = 'A' THEN '[]'::jsonb
                WHEN t.typname = 'jsonb' THEN '{}'::jsonb
                WHEN t.typcategory = 'B' THEN 'false'::jsonb
                ELSE '""'::jsonb END
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = p_table::regclass AND a.attname = p_column);

-- Say of every column that could hold something personal what it holds: {"email": "email clear", "title": "nothing"}.
CREATE PROCEDURE declare_data(p_table regclass, p_columns jsonb)
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO personal_data (table_name, column_name, holds, on_redact)
    SELECT p_table::text, c.key, split_part(c.value, ' ', 1), coalesce(nullif(split_part(c.value, ' ', 2), ''), 'keep')
    FROM jsonb_each_text(p_columns) c;
    IF EXISTS (SELECT FROM personal_data p WHERE p.table_name = p_table::text AND p.on_redact <> 'keep')
       AND EXISTS (SELECT FROM personal_data p WHERE p.table_name = p_table::text AND p.holds IN ('customer', 'order')) THEN
        EXECUTE format('CREATE TRIGGER forget_redacted BEFORE INSERT OR UPDATE ON %s'
                       ' FOR EACH ROW EXECUTE FUNCTION forget_redacted(%L)', p_table, p_table::text);
    END IF;
END
$$;

-- A condition that finds a subject's rows in a table; $1 is the subject: {"customer": ["501"], "email": [...], ...}.
CREATE FUNCTION subject_condition(p_table text) RETURNS text
LANGUAGE sql STABLE
RETURN (
    SELECT string_agg(
        CASE p.holds
            WHEN 'email' THEN format('lower(%I) = ANY (ARRAY(SELECT jsonb_array_elements_text($1 -> %L)))', p.column_name, p.holds)
            ELSE format('%I = ANY (ARRAY(SELECT jsonb_array_elements_text($1 -> %L))::%s[])', p.column_name, p.holds,
                        format_type(a.atttypid, NULL))
        END, ' OR ' ORDER BY p.column_name)
    FROM personal_data p
    JOIN pg_attribute a ON a.attrelid = p.table_name::regclass AND a.attname = p.column_name
    WHERE p.table_name = p_table AND p.holds IN ('customer', 'email', 'phone', 'order', 'visitor'));

-- Everything that the tables tell of a subject: {"orders": [{...}], ...}.
CREATE FUNCTION export_subject(p_subject jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_table text;
    v_rows jsonb;
    v_found jsonb := '{}';
BEGIN
    FOR v_table IN SELECT DISTINCT p.table_name FROM personal_data p
                   WHERE p.holds IN ('customer', 'email', 'phone', 'order', 'visitor') ORDER BY 1
    LOOP
        EXECUTE format('SELECT coalesce(jsonb_agg(to_jsonb(x) - %L), %L) FROM %I x WHERE %s', 'tenant_id', '[]', v_table,
                       subject_condition(v_table))
        INTO v_rows USING p_subject;
        v_found := v_found || jsonb_build_object(v_table, v_rows);
    END LOOP;
    RETURN v_found;
END
$$;

-- Clear or delete a subject's rows in every table; returns the rows that were touched, by table.
CREATE FUNCTION redact_subject(p_subject jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    v_table record;
    v_count bigint;
    v_counts jsonb := '{}';
BEGIN
    INSERT INTO redacted_subjects (digest)
    SELECT subject_digest(k.kind, v.value)
    FROM (VALUES ('customer'), ('order')) k (kind), jsonb_array_elements_text(p_subject -> k.kind) v
    ON CONFLICT DO NOTHING;
    FOR v_table IN
        SELECT p.table_name, bool_or(p.on_redact = 'delete') AS deletes,
               string_agg(format('%I = (jsonb_populate_record(NULL::%I, %L)).%I', p.column_name, p.table_name,
                                 jsonb_build_object(p.column_name, cleared_value(p.table_name, p.column_name)),
                                 p.column_name), ', ') FILTER (WHERE p.on_redact = 'clear') AS cleared
        FROM personal_data p GROUP BY p.table_name
        HAVING bool_or(p.holds IN ('customer', 'email', 'phone', 'order', 'visitor')) AND bool_or(p.on_redact <> 'keep')
        ORDER BY p.table_name
    LOOP
        IF v_table.deletes THEN
            EXECUTE format('DELETE FROM %I WHERE %s', v_table.table_name, subject_condition(v_table.table_name)) USING p_subject;
        ELSE
            EXECUTE format('UPDATE %I SET %s WHERE %s', v_table.table_name, v_table.cleared,
                           subject_condition(v_table.table_name)) USING p_subject;
        END IF;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        v_counts := v_counts || jsonb_build_object(v_table.table_name, v_count);
    END LOOP;
    RETURN v_counts;
END
$$;

-- A window of a table's rows by key: those whose documents or texts match the pattern, and last the window's last key,
-- without content. No row: the table is at its end. Bytes come in hexadecimal.
CREATE FUNCTION scan_documents(p_table text, p_after jsonb, p_window integer, p_pattern text)
RETURNS TABLE (key jsonb, content jsonb)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_keys text;
    v_after text;
    v_key text;
    v_content text;
    v_match text;
BEGIN
    SELECT string_agg(format('%I', a.attname), ', '), string_agg(format('s.%I', a.attname), ', '),
           string_agg(format('%L, w.%I', a.attname, a.attname), ', ')
    INTO v_keys, v_after, v_key
    FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE i.indrelid = p_table::regclass AND i.indisprimary AND a.attname <> 'tenant_id';
    SELECT string_agg(format(CASE t.typname WHEN 'bytea' THEN '%L, encode(w.%I, ''hex'')' ELSE '%L, w.%I' END,
                             p.column_name, p.column_name), ', '),
           string_agg(format(CASE t.typname WHEN 'bytea' THEN 'encode(w.%I, ''escape'') ~* $1' ELSE 'w.%I::text ~* $1' END,
                             p.column_name), ' OR ')
    INTO v_content, v_match
    FROM personal_data p JOIN pg_attribute a ON a.attrelid = p.table_name::regclass AND a.attname = p.column_name
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE p.table_name = p_table AND p.holds IN ('document', 'text');
    RETURN QUERY EXECUTE format(
        'WITH w AS MATERIALIZED (SELECT t.* FROM %1$I t, jsonb_populate_record(NULL::%1$I, coalesce($2, ''{}'')) s'
        ' WHERE t.tenant_id = current_tenant() AND ($2 IS NULL OR (%2$s) > (%3$s)) ORDER BY %4$s LIMIT $3)'
        ' SELECT jsonb_build_object(%5$s), jsonb_build_object(%6$s) FROM w WHERE %7$s'
        ' UNION ALL (SELECT jsonb_build_object(%5$s), NULL FROM w ORDER BY %8$s LIMIT 1)',
        p_table, replace(v_after, 's.', 't.'), v_after, replace(v_after, 's.', 't.'), v_key, v_content, v_match,
        replace(replace(v_after, 's.', 'w.'), ',', ' DESC,') || ' DESC')
    USING p_pattern, p_after, p_window;
END
$$;

-- Write a row's documents back, as scan_documents gave them.
CREATE FUNCTION write_documents(p_table text, p_key jsonb, p_content jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_set text;
    v_where text;
BEGIN
    SELECT string_agg(format(CASE t.typname WHEN 'bytea' THEN '%I = decode($1 ->> %L, ''hex'')'
                                            WHEN 'jsonb' THEN '%I = nullif($1 -> %L, ''null'')'
                                            ELSE '%I = $1 ->> %L' END, c.name, c.name), ', ')
    INTO v_set
    FROM jsonb_object_keys(p_content) c (name)
    JOIN personal_data p ON p.table_name = p_table AND p.column_name = c.name AND p.holds IN ('document', 'text')
    JOIN pg_attribute a ON a.attrelid = p_table::regclass AND a.attname = c.name JOIN pg_type t ON t.oid = a.atttypid;
    SELECT string_agg(format('x.%I = k.%I', n.name, n.name), ' AND ') INTO v_where FROM jsonb_object_keys(p_key) n (name);
    EXECUTE format('UPDATE %1$I x SET %2$s FROM jsonb_populate_record(NULL::%1$I, $2) k WHERE %3$s', p_table, v_set, v_where)
    USING p_content, p_key;
END
$$;

-- Every table with a tenant's rows, children before their parents.
CREATE FUNCTION tenant_tables() RETURNS TABLE (table_name text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH RECURSIVE own AS (
        SELECT c.oid FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relrowsecurity
          AND NOT c.relispartition AND c.oid <> 'tenants'::regclass
    ), depth (oid, place) AS (
        SELECT oid, 0 FROM own
        UNION ALL
        SELECT f.confrelid, d.place + 1 FROM depth d
        JOIN pg_constraint f ON f.conrelid = d.oid AND f.contype = 'f' AND f.confrelid <> f.conrelid
        JOIN own o ON o.oid = f.confrelid
    )
    SELECT d.oid::regclass::text FROM depth d GROUP BY d.oid ORDER BY max(d.place), 1;
END;

-- Delete up to p_most rows of the bound tenant from a table, but what the running purge itself stands on.
CREATE FUNCTION purge_tenant_rows(p_table text, p_run uuid, p_inbox uuid, p_most integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    v_spared text := CASE p_table
        WHEN 'task_run' THEN 'run_id = $1'
        WHEN 'task_attempt' THEN 'run_id = $1'
        WHEN 'webhook_inbox' THEN 'inbox_id = $2'
        WHEN 'outbox' THEN '(inbox_id = $2 OR state = ''sent'' AND task = ''gdpr-request-process'')'
        WHEN 'privacy_requests' THEN 'true'
        ELSE 'false' END;
    v_count integer;
BEGIN
    EXECUTE format('DELETE FROM %1$I WHERE ctid = ANY (ARRAY(SELECT ctid FROM %1$I WHERE tenant_id = current_tenant()'
                   ' AND NOT coalesce(%2$s, false) LIMIT $3))', p_table, v_spared)
    USING p_run, p_inbox, p_most;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

CALL declare_data('tenants', '{"slug": "nothing", "name": "nothing", "status": "nothing", "zone": "nothing", "currency": "nothing",
    "settings": "nothing"}');
CALL declare_data('shopify_app_installations', '{"app": "nothing", "shop_domain": "nothing", "status": "nothing",
    "scopes": "nothing"}');
CALL declare_data('credentials', '{"provider": "nothing", "app": "nothing", "name": "nothing", "encrypted_key": "secret",
    "nonce": "nothing", "ciphertext": "secret", "previous_encrypted_key": "secret", "previous_nonce": "nothing",
    "previous_ciphertext": "secret"}');
CALL declare_data('api_keys', '{"name": "nothing", "secret_sha256": "secret", "scopes": "nothing"}');
CALL declare_data('pauses', '{"kind": "nothing", "name": "nothing", "actor": "nothing", "reason": "nothing"}');
CALL declare_data('webhook_inbox', '{"provider": "nothing", "app": "nothing", "event_id": "nothing", "topic": "nothing",
    "shop": "nothing", "state": "nothing", "correlation_id": "nothing", "body": "document", "body_sha256": "nothing",
    "claim": "nothing"}');
CALL declare_data('outbox', '{"key": "nothing", "task": "nothing", "lane": "nothing", "cause": "nothing", "source": "nothing",
    "entity": "nothing", "payload": "document", "correlation_id": "nothing", "parent_step": "nothing", "state": "nothing"}');
CALL declare_data('task_run', '{"task": "nothing", "cause": "nothing", "entity": "nothing", "source": "nothing",
    "correlation_id": "nothing", "state": "nothing", "parent_step": "nothing", "continuation": "document",
    "checkpoint": "document", "steps": "document", "result": "document", "error_kind": "nothing", "error_class": "nothing",
    "error_message": "text"}');
CALL declare_data('task_attempt', '{"error_kind": "nothing", "error_class": "nothing", "message": "text", "stack": "text",
    "log_stream": "nothing"}');
CALL declare_data('dead_letter', '{"task": "nothing", "cause": "nothing", "entity": "nothing", "source": "nothing",
    "correlation_id": "nothing", "message": "document", "body": "document", "headers": "document", "error_kind": "nothing",
    "error_class": "nothing", "error_message": "text", "state": "nothing"}');
CALL declare_data('schedule_slot', '{"schedule": "nothing", "slot": "nothing", "task": "nothing"}');
CALL declare_data('schedule_due', '{"schedule": "nothing"}');
CALL declare_data('schedule_next_run', '{"schedule": "nothing", "zone": "nothing"}');
CALL declare_data('redacted_subjects', '{"digest": "nothing"}');
CALL declare_data('privacy_requests', '{"cause": "nothing", "kind": "nothing", "shopify_customer_id": "customer",
    "state": "nothing", "counts": "nothing", "claim": "nothing"}');

CALL declare_data('customers', '{"shopify_customer_id": "customer delete", "email": "email delete",
    "first_name": "personal delete", "last_name": "personal delete", "phone": "phone delete", "tags": "personal delete"}');
-- An order's money, lines and campaign stay: the law asks for the books. Whose it was does not.
CALL declare_data('orders', '{"shopify_order_id": "order", "shopify_customer_id": "customer clear", "email": "email clear",
    "visitor_id": "visitor clear", "tags": "personal clear", "attributes": "personal clear",
    "landing_page": "personal clear", "referrer_url": "personal clear", "order_number": "nothing", "currency": "nothing",
    "financial_status": "nothing", "fulfillment_status": "nothing", "status": "nothing", "discount_codes": "nothing",
    "utm": "nothing", "cancel_reason": "nothing", "content_hash": "nothing"}');
CALL declare_data('order_line_items', '{"shopify_order_id": "order", "sku": "nothing", "title": "nothing"}');
CALL declare_data('fulfillments', '{"shopify_order_id": "order", "status": "nothing", "shipment_status": "nothing",
    "tracking_company": "nothing", "tracking_number": "personal clear", "tracking_url": "personal clear"}');
CALL declare_data('refunds', '{"shopify_order_id": "order", "reason": "personal clear"}');
-- What a touch earned stays; whose visit it was does not. The hash is of what was told and tells nothing by itself.
CALL declare_data('attribution_touchpoints', '{"shopify_order_id": "order", "shopify_customer_id": "customer clear",
    "visitor_id": "visitor clear", "session_id": "personal clear", "click_id": "personal clear",
    "landing_page": "personal clear", "referrer_url": "personal clear", "dedupe_hash": "nothing", "channel": "nothing",
    "source": "nothing", "medium": "nothing", "campaign": "nothing", "device": "nothing", "type": "nothing"}');
CALL declare_data('attribution_conversions', '{"shopify_order_id": "order", "shopify_customer_id": "customer clear",
    "visitor_id": "visitor clear", "currency": "nothing", "status": "nothing"}');
CALL declare_data('attribution_credits', '{"shopify_order_id": "order"}');
CALL declare_data('creators', '{"name": "partner", "email": "partner", "code": "nothing", "status": "nothing"}');
CALL declare_data('commissions', '{"shopify_order_id": "order", "code": "nothing", "currency": "nothing", "tier": "nothing",
    "state": "nothing"}');
CALL declare_data('reviews', '{"shopify_order_id": "order", "email": "email clear", "state": "nothing"}');
-- Whom not to mail is kept: else a person who objected would be mailed again.
CALL declare_data('email_suppressions', '{"email": "email", "reason": "nothing"}');
CALL declare_data('review_email_queue', '{"shopify_order_id": "order", "email": "email delete", "trigger": "nothing",
    "state": "nothing", "skip_reason": "nothing"}');
CALL declare_data('webhook_registrations', '{"shop_domain": "nothing", "topic": "nothing", "subscription_id": "nothing",
    "uri": "nothing"}');
CALL declare_data('order_discrepancies', '{"shopify_order_id": "order", "kind": "nothing"}');

REVOKE EXECUTE ON ALL PROCEDURES IN SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION export_subject(jsonb), redact_subject(jsonb), scan_documents(text, jsonb, integer, text),
    write_documents(text, jsonb, jsonb), purge_tenant_rows(text, uuid, uuid, integer), tenant_tables(), forget_redacted(),
    subject_digest(text, text), cleared_value(text, text), subject_condition(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION export_subject(jsonb), redact_subject(jsonb), scan_documents(text, jsonb, integer, text),
    write_documents(text, jsonb, jsonb), purge_tenant_rows(text, uuid, uuid, integer), tenant_tables(), forget_redacted(),
    subject_digest(text, text), cleared_value(text, text), subject_condition(text)
    TO tradewind_app, tradewind_platform;
