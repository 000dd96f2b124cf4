-- The platform's own API: who may use it, and what it tells of a run.

SET lock_timeout = '3s';

-- A key's secret has 256 random bits, so its plain SHA-256 is as good as any slow hash and costs nothing a call.
CREATE TABLE api_keys (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    key_id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    secret_sha256 bytea NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    replaced_by uuid,
    PRIMARY KEY (tenant_id, key_id),
    FOREIGN KEY (tenant_id, replaced_by) REFERENCES api_keys
);
CREATE INDEX api_keys_by_id ON api_keys (key_id);
CALL protect('api_keys');
-- The platform role makes and checks them as one tenant at a time, like everybody else.
GRANT SELECT, INSERT, UPDATE ON api_keys TO tradewind_platform;
CREATE POLICY directory ON api_keys TO tradewind_owner USING (true) WITH CHECK (true);

-- Key id -> tenant and what the key may do: the API's look-up, before it knows for whom the caller speaks.
CREATE FUNCTION find_api_key(p_key uuid)
RETURNS TABLE (tenant_id uuid, slug text, tenant_status text, secret_sha256 bytea, scopes text[], ended boolean,
               used_lately boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public
BEGIN ATOMIC
    SELECT t.tenant_id, t.slug, t.status, k.secret_sha256, k.scopes,
           k.revoked_at IS NOT NULL OR coalesce(k.expires_at <= now(), false),
           coalesce(k.last_used_at > now() - interval '1 minute', false)
    FROM api_keys k JOIN tenants t ON t.tenant_id = k.tenant_id
    WHERE k.key_id = p_key;
END;

-- A run of the tenant as its caller may see it, also before it has begun; null where the tenant has none with this id.
-- It runs as the schema's owner, who sees the ledger of the bound tenant alone; the platform role would see them all.
CREATE FUNCTION find_run(p_tenant uuid, p_run uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public AS $$
DECLARE
    v_begins text := replace(p_run::text, '-', '');
    v_run task_run;
    v_message outbox;
BEGIN
    SELECT * INTO v_run FROM task_run r WHERE r.tenant_id = p_tenant AND r.run_id = p_run;
    IF v_run.run_id IS NULL THEN
        SELECT * INTO v_message FROM outbox o
        WHERE o.tenant_id = p_tenant AND o.key >= v_begins AND o.key < v_begins || 'g' LIMIT 1;
        SELECT * INTO v_run FROM task_run r
        WHERE r.tenant_id = p_tenant AND r.task = v_message.task AND r.cause = v_message.cause;
    END IF;
    IF v_run.run_id IS NULL AND (v_message.key IS NULL OR v_message.state = 'done') THEN
        RETURN NULL;
    ELSIF v_run.run_id IS NULL THEN
        RETURN jsonb_build_object(
            'run_id', p_run, 'task', v_message.task, 'source', v_message.source,
            'state', CASE v_message.state WHEN 'held' THEN 'held' ELSE 'queued' END,
            'attempt', 0, 'attempts', jsonb_build_array(), 'result', NULL, 'correlation_id', v_message.correlation_id,
            'replay_of', v_message.replay_of, 'accepted_at', v_message.accepted_at, 'started_at', NULL,
            'finished_at', NULL, 'next_attempt_at', v_message.due_at);
    END IF;
    RETURN jsonb_build_object(
        'run_id', v_run.run_id, 'task', v_run.task, 'source', v_run.source, 'state', v_run.state,
        'attempt', v_run.attempt,
        'attempts', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                         'number', a.number, 'started_at', a.started_at, 'ended_at', a.ended_at,
                         'error_class', a.error_class, 'message', a.message) ORDER BY a.fence), '[]')
                     FROM task_attempt a WHERE a.tenant_id = p_tenant AND a.run_id = v_run.run_id),
        'result', v_run.result, 'correlation_id', v_run.correlation_id, 'replay_of', v_run.replay_of,
        'accepted_at', v_run.accepted_at, 'started_at', v_run.first_started_at, 'finished_at', v_run.finished_at,
        'next_attempt_at', v_run.next_attempt_at);
END
$$;

REVOKE EXECUTE ON FUNCTION find_api_key(uuid) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION find_run(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_api_key(uuid), find_run(uuid, uuid) TO tradewind_platform;
