-- The error that ended the last run of `leadbridge run`. `leadbridge status` shows the error until a later run streams.
-- The table holds no row's values and no password.
CREATE TABLE IF NOT EXISTS {{schema}}.last_error (
    slot text PRIMARY KEY,
    message text NOT NULL,
    remedy text,
    at timestamptz NOT NULL,
    leadbridge_version text NOT NULL
);
COMMENT ON COLUMN {{schema}}.last_error.at IS 'when the run ended, by the clock of its machine';

REVOKE ALL ON ALL TABLES IN SCHEMA {{schema}} FROM PUBLIC;
