-- Why the last run of `leadbridge run` ended, where it ended with an error: `leadbridge status` shows it until a later
-- run streams. It holds no row's values and no password.
CREATE TABLE IF NOT EXISTS {{schema}}.last_error (
    slot text PRIMARY KEY,
    message text NOT NULL,
    remedy text,
    at timestamptz NOT NULL,
    leadbridge_version text NOT NULL
);
COMMENT ON COLUMN {{schema}}.last_error.at IS 'by the clock of the machine that the run was on';

REVOKE ALL ON ALL TABLES IN SCHEMA {{schema}} FROM PUBLIC;
