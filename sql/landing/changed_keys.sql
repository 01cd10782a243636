-- Landing's own record of the keys that reverse replication has changed, written in the transaction of the rows. A load
-- may be carried twice, and changing the keys a second time would take a key from another row.
CREATE TABLE IF NOT EXISTS {{schema}}.changed_keys (
    cutover_id uuid PRIMARY KEY,
    carried_lsn pg_lsn NOT NULL,
    traffic_timeline integer NOT NULL
);
COMMENT ON COLUMN {{schema}}.changed_keys.carried_lsn IS
    'every transaction whose commit record is not after this position of Traffic''s WAL is on Landing';
COMMENT ON COLUMN {{schema}}.changed_keys.traffic_timeline IS 'the timeline of Traffic on which the position was reached';

-- Rows that Landing holds under the earlier key, because Landing refused the new key.
CREATE TABLE IF NOT EXISTS {{schema}}.held_keys (
    cutover_id uuid NOT NULL,
    traffic_table text NOT NULL,
    row_id uuid NOT NULL,
    held_under uuid NOT NULL,
    PRIMARY KEY (cutover_id, traffic_table, row_id),
    UNIQUE (cutover_id, traffic_table, held_under)
);
COMMENT ON COLUMN {{schema}}.held_keys.row_id IS 'the row''s key on Traffic';
COMMENT ON COLUMN {{schema}}.held_keys.held_under IS 'the row''s key on Landing';
REVOKE ALL ON {{schema}}.changed_keys, {{schema}}.held_keys FROM PUBLIC;

-- Roles that leadbridge served before these tables existed.
DO $roles$
DECLARE
    named name;
BEGIN
    FOR named IN SELECT s.role FROM {{schema}}.served AS s JOIN pg_catalog.pg_roles AS r ON r.rolname = s.role
    LOOP
        EXECUTE format(
            'GRANT SELECT, INSERT, UPDATE, DELETE ON {{schema}}.changed_keys, {{schema}}.held_keys TO %I', named);
    END LOOP;
END
$roles$;
