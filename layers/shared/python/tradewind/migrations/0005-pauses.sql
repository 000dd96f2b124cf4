-- What an operator has stopped for a while, and who did what to the platform.

SET lock_timeout = '3s';

-- A paused tenant is its status; here are tasks and schedules. The platform's tenant stands for all tenants.
CREATE TABLE pauses (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    kind text NOT NULL CHECK (kind IN ('task', 'schedule')),
    name text NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    paused_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, kind, name)
);
CALL protect('pauses');
CALL open_to_platform('pauses');
CREATE POLICY directory ON pauses TO tradewind_owner USING (true) WITH CHECK (true);

-- Whether a tenant's messages of a task are to wait. Runs as the schema's owner, who sees what is paused for all; whoever
-- works for one tenant is told nothing of another.
CREATE FUNCTION is_paused(p_tenant uuid, p_task text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF current_tenant() <> p_tenant AND NOT pg_has_role(session_user, 'tradewind_platform', 'MEMBER') THEN
        RETURN NULL;
    END IF;
    RETURN EXISTS (SELECT FROM tenants t WHERE t.tenant_id = p_tenant AND t.status = 'paused')
        OR EXISTS (SELECT FROM pauses p
                   WHERE p.tenant_id IN (p_tenant, '00000000-0000-0000-0000-000000000000')
                     AND p.kind = 'task' AND p.name = p_task);
END
$$;
REVOKE EXECUTE ON FUNCTION is_paused(uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION is_paused(uuid, text) TO tradewind_app, tradewind_platform;

-- Every action of an operator that changes something, not replays alone.
ALTER TABLE dead_letter_audit RENAME TO operator_audit;
ALTER TABLE operator_audit RENAME COLUMN filters TO details;
UPDATE operator_audit SET details = details || jsonb_build_object('matched', matched, 'replayed', replayed);
ALTER TABLE operator_audit DROP COLUMN matched, DROP COLUMN replayed;
ALTER TABLE operator_audit ADD COLUMN reason text;
