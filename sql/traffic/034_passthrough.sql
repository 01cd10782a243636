-- The columns of Landing that no rule of the mapping reads, and the columns that `migrate` has made for them here.
CREATE TABLE IF NOT EXISTS {{schema}}.passthrough (
    source_table text NOT NULL,
    landing_column text NOT NULL,
    traffic_column text NOT NULL,
    sql_type text NOT NULL,
    position integer NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_table, landing_column),
    UNIQUE (source_table, traffic_column)
);
COMMENT ON COLUMN {{schema}}.passthrough.sql_type IS 'the type of the column on Traffic, without a modifier';
COMMENT ON COLUMN {{schema}}.passthrough.position IS 'the order of the columns of a table, as Landing has them';
REVOKE ALL ON {{schema}}.passthrough FROM PUBLIC;
