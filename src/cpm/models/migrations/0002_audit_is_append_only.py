"""The audit trail can be added to, and nothing else.

Rows are neither changed nor deleted, whoever asks. Two things are let through: a reference to a
user who is deleted becomes null, and rows go that are older than `keep_audit_days`. Age is counted
from the newest row, where that is ahead of the database's clock: the server's own may be moved for
a rehearsal.
"""

from django.db import migrations

FORWARDS = """
CREATE FUNCTION cpm_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION cpm_audit_keep() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    days integer := coalesce(
        (SELECT (value ->> 'keep_audit_days')::integer FROM cpm_setting WHERE section = 'cleanup'),
        365
    );
    newest timestamptz := greatest(
        now(), (SELECT max(at) FROM cpm_auditentry), (SELECT max(at) FROM gone)
    );
BEGIN
    IF EXISTS (SELECT FROM gone WHERE at >= newest - make_interval(days => days)) THEN
        RAISE EXCEPTION 'the audit trail is kept for % days', days
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER cpm_audit_no_update BEFORE UPDATE ON cpm_auditentry FOR EACH ROW
    WHEN (NEW.user_id IS NOT NULL OR to_jsonb(NEW) - 'user_id' <> to_jsonb(OLD) - 'user_id')
    EXECUTE FUNCTION cpm_audit_refuse();
CREATE TRIGGER cpm_audit_no_truncate BEFORE TRUNCATE ON cpm_auditentry
    EXECUTE FUNCTION cpm_audit_refuse();
CREATE TRIGGER cpm_audit_no_early_delete AFTER DELETE ON cpm_auditentry
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION cpm_audit_keep();
"""

BACKWARDS = """
DROP TRIGGER cpm_audit_no_update ON cpm_auditentry;
DROP TRIGGER cpm_audit_no_truncate ON cpm_auditentry;
DROP TRIGGER cpm_audit_no_early_delete ON cpm_auditentry;
DROP FUNCTION cpm_audit_refuse();
DROP FUNCTION cpm_audit_keep();
"""


class Migration(migrations.Migration):
    """See the module."""

    replaces = [("cpm", "0008_audit_is_append_only")]

    dependencies = [("cpm", "0001_tables")]

    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
