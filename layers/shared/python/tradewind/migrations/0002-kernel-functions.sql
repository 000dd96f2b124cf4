-- What the kernel does to its tables, one call each, so that a message costs few round trips.

-- Bind the transaction to a tenant; one that is bound to another stays with it.
CREATE FUNCTION bind_tenant(p_tenant uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF current_tenant() <> p_tenant THEN
        RAISE EXCEPTION 'the transaction is bound to tenant %, not %', current_tenant(), p_tenant;
    END IF;
    PERFORM set_config('app.tenant_id', p_tenant::text, true);
END
$$;

-- How many messages of a task a tenant may have in its queue now: its share of the queue's room among the tenants that
-- are there, as far as the others have left room; at most p_bound. So whoever comes finds a place at once, and a queue
-- that is short for its workers, however many flood it. Who has held messages has one place at least; who has none
-- three, since one at a time would hold back a tenant that sends as often as a message takes.
CREATE FUNCTION fair_bound(p_tenant uuid, p_task text, p_lane text, p_bound integer, p_least integer) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public
BEGIN ATOMIC
    WITH others AS (
        SELECT count(*)::integer AS messages, count(DISTINCT o.tenant_id)::integer AS tenants
        FROM outbox o
        WHERE o.task = p_task AND o.lane = p_lane AND o.tenant_id <> p_tenant AND o.state IN ('ready', 'sent')
    ), queue AS (
        SELECT q.room, q.tenant_room FROM queue_room q WHERE q.task = p_task AND q.lane = p_lane
    )
    SELECT coalesce(
        (SELECT least(p_bound, tenant_room, greatest(p_least, least(room / (1 + tenants), room - messages)))
         FROM others, queue),
        p_bound);
END;

-- Write messages. A tenant has at most its fair share of a task's queue, never above p_bound; the rest is held, and so
-- is whatever is not due, would overtake held ones, or is paused. Returns the rows that may be sent now.
CREATE FUNCTION enqueue(p_rows jsonb, p_bound integer) RETURNS SETOF outbox
LANGUAGE plpgsql AS $$
DECLARE
    v_lane record;
    v_free integer;
BEGIN
    FOR v_lane IN
        SELECT r.tenant_id, r.task, r.lane
        FROM jsonb_to_recordset(p_rows) AS r (tenant_id uuid, task text, lane text)
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended(v_lane.tenant_id::text || v_lane.task || v_lane.lane, 0));
        SELECT fair_bound(v_lane.tenant_id, v_lane.task, v_lane.lane, p_bound, 3) - count(*) INTO v_free
        FROM outbox o
        WHERE o.tenant_id = v_lane.tenant_id AND o.task = v_lane.task AND o.lane = v_lane.lane
          AND o.state IN ('ready', 'sent');
        IF EXISTS (
            SELECT FROM outbox o
            WHERE o.tenant_id = v_lane.tenant_id AND o.task = v_lane.task AND o.lane = v_lane.lane
              AND o.state = 'held' AND (o.due_at IS NULL OR o.due_at <= clock_timestamp())
        ) OR is_paused(v_lane.tenant_id, v_lane.task) THEN
            v_free := 0;
        END IF;
        RETURN QUERY
        WITH written AS (
            INSERT INTO outbox AS o (tenant_id, key, task, lane, shard, cause, source, entity, payload, inbox_id,
                                     correlation_id, parent_run, parent_step, replay_of, hops, state, due_at, accepted_at)
            SELECT r.tenant_id, r.key, r.task, r.lane, r.shard, r.cause, r.source, r.entity, r.payload, r.inbox_id,
                   r.correlation_id, r.parent_run, r.parent_step, r.replay_of, coalesce(r.hops, 0),
                   CASE WHEN r.due_at > clock_timestamp() OR r.place > v_free THEN 'held' ELSE 'ready' END,
                   r.due_at, r.accepted_at
            FROM (
                SELECT x.*, row_number() OVER () AS place
                FROM jsonb_to_recordset(p_rows) AS x (
                    tenant_id uuid, key text, task text, lane text, shard integer, cause text, source text, entity text,
                    payload jsonb, inbox_id uuid, correlation_id text, parent_run uuid, parent_step text,
                    replay_of uuid, hops integer, due_at timestamptz, accepted_at timestamptz)
                WHERE x.tenant_id = v_lane.tenant_id AND x.task = v_lane.task AND x.lane = v_lane.lane
            ) r
            ON CONFLICT (tenant_id, key) DO NOTHING
            RETURNING o.*
        )
        SELECT * FROM written w WHERE w.state = 'ready';
    END LOOP;
END
$$;

-- Admit held messages of one tenant, task and lane as far as the bound allows, oldest first, at most p_most.
CREATE FUNCTION admit(p_tenant uuid, p_task text, p_lane text, p_bound integer, p_most integer) RETURNS SETOF outbox
LANGUAGE plpgsql AS $$
DECLARE
    v_free integer;
BEGIN
    IF NOT EXISTS (
        SELECT FROM outbox o
        WHERE o.tenant_id = p_tenant AND o.task = p_task AND o.lane = p_lane AND o.state = 'held'
          AND (o.due_at IS NULL OR o.due_at <= clock_timestamp())
    ) OR is_paused(p_tenant, p_task) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(p_tenant::text || p_task || p_lane, 0));
    SELECT fair_bound(p_tenant, p_task, p_lane, p_bound, 1) - count(*) INTO v_free
    FROM outbox o
    WHERE o.tenant_id = p_tenant AND o.task = p_task AND o.lane = p_lane AND o.state IN ('ready', 'sent');
    -- Materialized: as a plain subquery a nested loop would choose (and lock) anew for each row it meets.
    RETURN QUERY
    WITH chosen AS MATERIALIZED (
        SELECT h.key FROM outbox h
        WHERE h.tenant_id = p_tenant AND h.task = p_task AND h.lane = p_lane AND h.state = 'held'
          AND (h.due_at IS NULL OR h.due_at <= clock_timestamp())
        ORDER BY h.created_at, h.key
        LIMIT greatest(0, least(v_free, p_most))
        FOR UPDATE SKIP LOCKED
    ), admitted AS (
        UPDATE outbox o SET state = 'ready'
        FROM chosen c
        WHERE o.tenant_id = p_tenant AND o.key = c.key
        RETURNING o.*
    )
    SELECT * FROM admitted a ORDER BY a.created_at, a.key;
END
$$;

CREATE FUNCTION mark_sent(p_tenant uuid, p_keys text[]) RETURNS void
LANGUAGE sql AS $$
    SELECT bind_tenant(p_tenant);
    UPDATE outbox SET state = 'sent', sent_at = clock_timestamp(), delivery = delivery + 1
    WHERE tenant_id = p_tenant AND key = ANY (p_keys) AND state IN ('ready', 'sent');
$$;

-- Take a run: begin it, take it over after its lease, or learn why not. One autocommit statement. The run's id is the
-- beginning of its first message's key, so that it is known before the run begins. Where the tenant or the task is
-- paused the message goes back among the held ones ('put_back'), or waits in its queue where no row stands for it
-- ('paused'); the steps of a workflow that has begun are worked to their end. For a tenant that has uninstalled only
-- what the law asks for is still worked ('uninstalled').
CREATE FUNCTION claim_run(p_tenant uuid, p_task text, p_cause text, p_key text, p_about jsonb, p_lease_s double precision,
                          p_force boolean)
RETURNS TABLE (outcome text, run_id uuid, fence bigint, attempt integer, checkpoint jsonb, result jsonb, hops integer,
               error_kind text, error_message text, lease_left_s double precision, tenant jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    v_run task_run;
    v_tenant jsonb;
    v_waits text;
BEGIN
    PERFORM bind_tenant(p_tenant);
    SELECT jsonb_build_object('tenant_id', t.tenant_id, 'slug', t.slug, 'name', t.name, 'status', t.status,
                              'zone', t.zone, 'currency', t.currency, 'settings', t.settings,
                              'shop_domain', i.shop_domain, 'app', i.app)
    INTO v_tenant
    FROM tenants t
    LEFT JOIN LATERAL (
        SELECT s.shop_domain, s.app FROM shopify_app_installations s
        WHERE s.tenant_id = t.tenant_id AND s.status <> 'uninstalled'
        ORDER BY s.app <> 'default', s.installed_at DESC LIMIT 1
    ) i ON true
    WHERE t.tenant_id = p_tenant;
    IF v_tenant IS NULL THEN
        RETURN QUERY SELECT 'unknown_tenant', NULL::uuid, NULL::bigint, NULL::integer, NULL::jsonb, NULL::jsonb,
                            NULL::integer, NULL::text, NULL::text, NULL::double precision, NULL::jsonb;
        RETURN;
    END IF;
    IF v_tenant ->> 'status' = 'uninstalled' AND NOT p_force AND p_about ->> 'source' <> 'workflow'
       AND p_task NOT IN ('gdpr-request-process', 'tenant-uninstall-cleanup') THEN
        UPDATE outbox o SET state = 'done' WHERE o.tenant_id = p_tenant AND o.key = p_key AND o.state <> 'done';
        RETURN QUERY SELECT 'uninstalled', NULL::uuid, NULL::bigint, NULL::integer, NULL::jsonb, NULL::jsonb,
                            NULL::integer, NULL::text, NULL::text, NULL::double precision, v_tenant;
        RETURN;
    END IF;
    IF NOT p_force AND p_about ->> 'source' <> 'workflow' AND is_paused(p_tenant, p_task) THEN
        UPDATE outbox o SET state = 'held' WHERE o.tenant_id = p_tenant AND o.key = p_key AND o.state <> 'done';
        v_waits := CASE WHEN FOUND THEN 'put_back' ELSE 'paused' END;
        IF FOUND OR NOT EXISTS (SELECT FROM outbox o WHERE o.tenant_id = p_tenant AND o.key = p_key) THEN
            RETURN QUERY SELECT v_waits, NULL::uuid, NULL::bigint, NULL::integer, NULL::jsonb, NULL::jsonb,
                                NULL::integer, NULL::text, NULL::text, NULL::double precision, v_tenant;
            RETURN;
        END IF;
    END IF;
    INSERT INTO task_run AS r (tenant_id, run_id, task, cause, entity, source, correlation_id, state, lease_until, hops,
                               parent_run, parent_step, replay_of, accepted_at)
    VALUES (p_tenant, left(p_key, 32)::uuid, p_task, p_cause, p_about ->> 'entity', p_about ->> 'source', p_about ->> 'correlation_id',
            'running', clock_timestamp() + make_interval(secs => p_lease_s), coalesce((p_about ->> 'hops')::integer, 0),
            (p_about ->> 'parent_run')::uuid, p_about ->> 'parent_step', (p_about ->> 'replay_of')::uuid,
            (p_about ->> 'accepted_at')::timestamptz)
    ON CONFLICT (tenant_id, task, cause) DO UPDATE
    SET state = 'running', attempt = r.attempt + 1, fence = r.fence + 1, started_at = clock_timestamp(),
        hops = greatest(r.hops, excluded.hops), next_attempt_at = NULL,
        lease_until = clock_timestamp() + make_interval(secs => p_lease_s)
    WHERE r.state = 'retrying'
       OR (r.state = 'running' AND r.lease_until < clock_timestamp())
       OR (p_force AND r.state IN ('succeeded', 'failed'))
    RETURNING r.* INTO v_run;
    IF v_run.run_id IS NOT NULL THEN
        RETURN QUERY SELECT 'claimed', v_run.run_id, v_run.fence, v_run.attempt, v_run.checkpoint, v_run.result,
                            v_run.hops, v_run.error_kind, v_run.error_message, NULL::double precision, v_tenant;
        RETURN;
    END IF;
    SELECT * INTO v_run FROM task_run r WHERE r.tenant_id = p_tenant AND r.task = p_task AND r.cause = p_cause;
    IF v_run.state <> 'running' THEN
        UPDATE outbox o SET state = 'done' WHERE o.tenant_id = p_tenant AND o.key = p_key AND o.state <> 'done';
    END IF;
    RETURN QUERY SELECT CASE v_run.state WHEN 'running' THEN 'leased' ELSE v_run.state END, v_run.run_id, v_run.fence,
                        v_run.attempt, v_run.checkpoint, v_run.result, v_run.hops, v_run.error_kind, v_run.error_message,
                        extract(epoch FROM v_run.lease_until - clock_timestamp())::double precision, v_tenant;
END
$$;

-- The fence decides whether this worker still owns the run; a stale one must not commit anything.
CREATE FUNCTION own_run(p_tenant uuid, p_run uuid, p_fence bigint) RETURNS task_run
LANGUAGE plpgsql AS $$
DECLARE
    v_run task_run;
BEGIN
    PERFORM bind_tenant(p_tenant);
    SELECT * INTO v_run FROM task_run r
    WHERE r.tenant_id = p_tenant AND r.run_id = p_run AND r.fence = p_fence AND r.state = 'running'
    FOR UPDATE;
    IF v_run.run_id IS NULL THEN
        RAISE EXCEPTION 'run % is no longer held under fence %', p_run, p_fence USING ERRCODE = 'TW001';
    END IF;
    RETURN v_run;
END
$$;

-- A child has ended: when it was the last, its parent is continued as a new message.
CREATE FUNCTION child_ended(p_child task_run, p_bound integer) RETURNS SETOF outbox
LANGUAGE plpgsql AS $$
DECLARE
    v_parent task_run;
BEGIN
    UPDATE task_run r SET children_open = r.children_open - 1
    WHERE r.tenant_id = p_child.tenant_id AND r.run_id = p_child.parent_run AND r.children_open > 0
    RETURNING r.* INTO v_parent;
    IF v_parent.run_id IS NULL OR v_parent.children_open > 0 OR v_parent.state <> 'waiting' THEN
        RETURN;
    END IF;
    UPDATE task_run r SET state = 'retrying', attempt = 0
    WHERE r.tenant_id = v_parent.tenant_id AND r.run_id = v_parent.run_id;
    RETURN QUERY SELECT * FROM enqueue(jsonb_build_array(v_parent.continuation), p_bound);
END
$$;

-- End a run well: result, follow-ups and the next held messages, in the caller's transaction.
-- p_next is 'succeeded', or 'retrying' / 'waiting' where the run goes on in a new message.
CREATE FUNCTION finish_run(p_tenant uuid, p_run uuid, p_fence bigint, p_key text, p_lane text, p_next text, p_result jsonb,
                           p_steps jsonb, p_checkpoint jsonb, p_continuation jsonb, p_children integer,
                           p_outbox jsonb, p_bound integer)
RETURNS SETOF outbox
LANGUAGE plpgsql AS $$
DECLARE
    v_run task_run;
BEGIN
    v_run := own_run(p_tenant, p_run, p_fence);
    UPDATE task_run r
    SET state = p_next, result = p_result, steps = p_steps, lease_until = NULL,
        checkpoint = coalesce(p_checkpoint, r.checkpoint), continuation = p_continuation, children_open = p_children,
        attempt = CASE p_next WHEN 'succeeded' THEN r.attempt ELSE 0 END,
        error_kind = NULL, error_class = NULL, error_message = NULL,
        finished_at = CASE p_next WHEN 'succeeded' THEN clock_timestamp() END
    WHERE r.tenant_id = p_tenant AND r.run_id = p_run;
    UPDATE outbox o SET state = 'done' WHERE o.tenant_id = p_tenant AND o.key = p_key;
    IF p_next = 'succeeded' AND v_run.parent_run IS NOT NULL THEN
        RETURN QUERY SELECT * FROM child_ended(v_run, p_bound);
    END IF;
    IF jsonb_array_length(p_outbox) > 0 THEN
        RETURN QUERY SELECT * FROM enqueue(p_outbox, p_bound);
    END IF;
    RETURN QUERY SELECT * FROM admit(p_tenant, v_run.task, p_lane, p_bound, 10);
END
$$;

-- Give a run back: another try at p_wait_s from now. A rate limit or a hand-back is not counted as an attempt.
CREATE FUNCTION retry_run(p_tenant uuid, p_run uuid, p_fence bigint, p_counted boolean, p_wait_s double precision,
                          p_steps jsonb, p_error jsonb)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_run task_run;
BEGIN
    v_run := own_run(p_tenant, p_run, p_fence);
    UPDATE task_run r
    SET state = 'retrying', lease_until = NULL, steps = p_steps,
        attempt = r.attempt - CASE WHEN p_counted THEN 0 ELSE 1 END,
        next_attempt_at = clock_timestamp() + make_interval(secs => p_wait_s),
        error_kind = p_error ->> 'kind', error_class = p_error ->> 'class', error_message = p_error ->> 'message'
    WHERE r.tenant_id = p_tenant AND r.run_id = p_run;
    PERFORM record_attempt(v_run, p_error);
END
$$;

CREATE FUNCTION record_attempt(p_run task_run, p_error jsonb) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO task_attempt (tenant_id, run_id, number, started_at, error_kind, error_class, message, stack, log_stream, fence)
    VALUES (p_run.tenant_id, p_run.run_id, p_run.attempt, p_run.started_at, p_error ->> 'kind', p_error ->> 'class',
            p_error ->> 'message', p_error ->> 'stack', p_error ->> 'log_stream', p_run.fence)
    ON CONFLICT DO NOTHING;
$$;

-- End a run for good: the dead letter is written with it, and the group moves on.
CREATE FUNCTION fail_run(p_tenant uuid, p_run uuid, p_fence bigint, p_key text, p_lane text, p_steps jsonb, p_error jsonb,
                         p_message jsonb, p_bound integer)
RETURNS SETOF outbox
LANGUAGE plpgsql AS $$
DECLARE
    v_run task_run;
BEGIN
    v_run := own_run(p_tenant, p_run, p_fence);
    UPDATE task_run r
    SET state = 'failed', lease_until = NULL, steps = p_steps, finished_at = clock_timestamp(),
        error_kind = p_error ->> 'kind', error_class = p_error ->> 'class', error_message = p_error ->> 'message'
    WHERE r.tenant_id = p_tenant AND r.run_id = p_run;
    PERFORM record_attempt(v_run, p_error);
    IF p_message IS NOT NULL THEN
        INSERT INTO dead_letter (tenant_id, run_id, task, cause, entity, source, correlation_id, message, error_kind,
                                 error_class, error_message, attempts)
        VALUES (p_tenant, p_run, v_run.task, v_run.cause, v_run.entity, v_run.source, v_run.correlation_id, p_message,
                p_error ->> 'kind', p_error ->> 'class', p_error ->> 'message', v_run.attempt)
        ON CONFLICT (tenant_id, task, cause) DO UPDATE
        SET state = 'open', error_kind = excluded.error_kind, error_class = excluded.error_class,
            error_message = excluded.error_message, attempts = excluded.attempts, created_at = clock_timestamp();
    END IF;
    UPDATE outbox o SET state = 'done' WHERE o.tenant_id = p_tenant AND o.key = p_key;
    IF v_run.parent_run IS NOT NULL THEN
        RETURN QUERY SELECT * FROM child_ended(v_run, p_bound);
    END IF;
    RETURN QUERY SELECT * FROM admit(p_tenant, v_run.task, p_lane, p_bound, 10);
END
$$;

-- Save a long run's progress under its fence.
CREATE FUNCTION save_checkpoint(p_tenant uuid, p_run uuid, p_fence bigint, p_checkpoint jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM own_run(p_tenant, p_run, p_fence);
    UPDATE task_run SET checkpoint = p_checkpoint WHERE tenant_id = p_tenant AND run_id = p_run;
END
$$;

-- Say that the bound tenant has work for a schedule from p_at on; the earliest time counts. Null says nothing.
CREATE FUNCTION mark_due(p_schedule text, p_at timestamptz) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO schedule_due AS d (schedule, due_at) SELECT p_schedule, p_at WHERE p_at IS NOT NULL
    ON CONFLICT (tenant_id, schedule) DO UPDATE SET due_at = least(d.due_at, excluded.due_at);
$$;

-- Tell events of the platform's own: [{"type": "inventory.low", "key": "...", "correlation_id": "...", "payload": {...}}].
-- They are kept beside what comes in, once per key, in the transaction that made them true; the relay hands them to the
-- tasks that wait for their type, and those that no task waits for yet it keeps until one does.
CREATE FUNCTION publish_events(p_events jsonb) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    v_count integer;
BEGIN
    INSERT INTO webhook_inbox (provider, app, event_id, topic, shop, state, correlation_id, body)
    SELECT 'tradewind', 'default', e.type || ':' || e.key, e.type, '', 'unrouted', e.correlation_id,
           convert_to(e.payload::text, 'UTF8')
    FROM jsonb_to_recordset(p_events) e (type text, key text, correlation_id text, payload jsonb)
    ON CONFLICT (tenant_id, app, provider, event_id) DO NOTHING;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

-- A tenant's id from its slug, for a run that a person starts. Says nothing else about the tenant.
CREATE FUNCTION tenant_id_of(p_slug text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public
RETURN (SELECT t.tenant_id FROM tenants t WHERE t.slug = p_slug);

-- Shop -> tenant and the secrets that may have signed for it: the receiver's one look-up. Of Resend's accounts the shared
-- one (app "default") has the platform's secret, and its tenant is named by id; a tenant's own is named by its slug.
CREATE FUNCTION find_shop(p_provider text, p_app text, p_shop text)
RETURNS TABLE (tenant_id uuid, slug text, tenant_status text, installation_status text, installed_at timestamptz,
               secret_tenant_id uuid, encrypted_key bytea, nonce bytea, ciphertext bytea, version bigint,
               previous_encrypted_key bytea, previous_nonce bytea, previous_ciphertext bytea, previous_until timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public
BEGIN ATOMIC
    WITH shop AS (
        SELECT t.tenant_id, t.slug, t.status, i.status AS installation_status, i.installed_at
        FROM shopify_app_installations i JOIN tenants t ON t.tenant_id = i.tenant_id
        WHERE p_provider = 'shopify' AND i.app = p_app AND i.shop_domain = p_shop
        UNION ALL
        SELECT t.tenant_id, t.slug, t.status, 'installed', NULL
        FROM tenants t
        WHERE p_provider = 'resend' AND t.status <> 'platform'
          AND CASE p_app WHEN 'default' THEN t.tenant_id::text = p_shop ELSE t.slug = p_app END
    )
    SELECT s.tenant_id, s.slug, s.status, s.installation_status, s.installed_at,
           c.tenant_id, c.encrypted_key, c.nonce, c.ciphertext, c.version,
           c.previous_encrypted_key, c.previous_nonce, c.previous_ciphertext, c.previous_until
    FROM credentials c
    LEFT JOIN shop s ON true
    WHERE c.provider = p_provider
      AND CASE p_provider
          WHEN 'resend' THEN c.app = 'default' AND c.name = 'webhook_secret'
              AND c.tenant_id = CASE p_app WHEN 'default' THEN '00000000-0000-0000-0000-000000000000' ELSE s.tenant_id END
          ELSE c.app = p_app AND c.name = 'app_secret'
              AND (s.tenant_id IS NULL OR c.tenant_id = s.tenant_id
                   OR c.tenant_id = '00000000-0000-0000-0000-000000000000') END;
END;

-- Keep a verified webhook and write its messages, once per delivery id. Returns what may be sent now. Of a request
-- that comes again: whether its body is the first one's, and the messages that were written for that. No row where the
-- tenant has left, whatever its caller still thought, unless the law asks for it.
CREATE FUNCTION accept_webhook(p_inbox jsonb, p_body bytea, p_messages jsonb, p_bound integer)
RETURNS TABLE (duplicate boolean, accepted_inbox_id uuid, ready jsonb, same_body boolean, written jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    v_tenant uuid := (p_inbox ->> 'tenant_id')::uuid;
    v_inbox uuid;
    v_sha256 text;
    v_deliveries integer;
    v_messages jsonb;
BEGIN
    PERFORM bind_tenant(v_tenant);
    IF p_inbox ->> 'provider' <> 'api' AND NOT coalesce((p_inbox ->> 'compliance')::boolean, false)
       AND EXISTS (SELECT FROM tenants t WHERE t.tenant_id = v_tenant AND t.status = 'uninstalled') THEN
        RETURN;
    END IF;
    INSERT INTO webhook_inbox AS i (tenant_id, provider, app, event_id, topic, shop, state, correlation_id, body, body_sha256,
                                    claim, triggered_at, received_at)
    VALUES (v_tenant, p_inbox ->> 'provider', p_inbox ->> 'app', p_inbox ->> 'event_id', p_inbox ->> 'topic',
            p_inbox ->> 'shop', p_inbox ->> 'state', p_inbox ->> 'correlation_id', p_body, p_inbox ->> 'body_sha256',
            p_inbox ->> 'claim', (p_inbox ->> 'triggered_at')::timestamptz,
            coalesce((p_inbox ->> 'received_at')::timestamptz, now()))
    ON CONFLICT (tenant_id, app, provider, event_id) DO UPDATE SET deliveries = i.deliveries + 1
    RETURNING i.inbox_id, i.body_sha256, i.deliveries INTO v_inbox, v_sha256, v_deliveries;
    IF v_deliveries > 1 THEN
        -- A copy. What was never sent is sent at once: the first delivery may have died before it could.
        RETURN QUERY SELECT true, v_inbox,
                            coalesce(jsonb_agg(to_jsonb(o)) FILTER (WHERE o.state = 'ready' AND o.delivery = 0), '[]'),
                            v_sha256 IS NOT DISTINCT FROM p_inbox ->> 'body_sha256',
                            coalesce(jsonb_agg(jsonb_build_object('task', o.task, 'key', o.key) ORDER BY o.task), '[]')
        FROM outbox o WHERE o.tenant_id = v_tenant AND o.inbox_id = v_inbox;
        RETURN;
    END IF;
    SELECT coalesce(jsonb_agg(m || jsonb_build_object('tenant_id', v_tenant, 'inbox_id', v_inbox)), '[]')
    INTO v_messages FROM jsonb_array_elements(p_messages) m;
    RETURN QUERY SELECT false, v_inbox, coalesce(jsonb_agg(to_jsonb(e)), '[]'), true, p_messages
                 FROM enqueue(v_messages, p_bound) e;
END
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
GRANT EXECUTE ON FUNCTION current_tenant() TO PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO tradewind_app, tradewind_platform;
REVOKE EXECUTE ON FUNCTION find_shop(text, text, text) FROM tradewind_app;
REVOKE EXECUTE ON FUNCTION accept_webhook(jsonb, bytea, jsonb, integer) FROM tradewind_app;
REVOKE EXECUTE ON ALL PROCEDURES IN SCHEMA public FROM PUBLIC;
