-- What the daemon's background verification has compared, so that a restart goes on in the middle of a round. The
-- tables hold keys of rows and no other value.

-- One row for each slot: the round in hand, or the last one.
CREATE TABLE IF NOT EXISTS {{schema}}.verification (
    slot text PRIMARY KEY,
    basis text NOT NULL,
    round bigint NOT NULL CHECK (round > 0),
    begun_at timestamptz NOT NULL,
    ended_at timestamptz,
    last_round text,
    repaired bigint NOT NULL DEFAULT 0
);
COMMENT ON COLUMN {{schema}}.verification.basis IS
    'tells what decides the values that Traffic must hold: after a change every row is read again';
COMMENT ON COLUMN {{schema}}.verification.begun_at IS 'by the clock of the daemon''s machine, as are all times of this table';
COMMENT ON COLUMN {{schema}}.verification.ended_at IS 'null while the round is in hand';
COMMENT ON COLUMN {{schema}}.verification.last_round IS 'the result of the last round that has ended, as JSON';
COMMENT ON COLUMN {{schema}}.verification.repaired IS 'rows that the round in hand has repaired';

-- The ranges of keys of each table. Together the ranges of a table hold every possible key once.
CREATE TABLE IF NOT EXISTS {{schema}}.verified_range (
    slot text NOT NULL,
    source_table text NOT NULL,
    first_id uuid NOT NULL,
    last_id uuid NOT NULL,
    round bigint NOT NULL DEFAULT 0,
    rows bigint,
    written bigint NOT NULL DEFAULT 0,
    read_at timestamptz,
    landing_server text,
    landing_xid text,
    traffic_server text,
    traffic_xid text,
    differing uuid[] NOT NULL DEFAULT '{}',
    counts text,
    PRIMARY KEY (slot, source_table, first_id)
);
COMMENT ON COLUMN {{schema}}.verified_range.round IS 'the last round that has compared the range; 0 for none';
COMMENT ON COLUMN {{schema}}.verified_range.rows IS 'rows on Landing; null before the first comparison';
COMMENT ON COLUMN {{schema}}.verified_range.written IS 'rows that either side had written between the last two comparisons';
COMMENT ON COLUMN {{schema}}.verified_range.read_at IS 'when every value of the range was read last';
COMMENT ON COLUMN {{schema}}.verified_range.landing_xid IS
    'a transaction of landing_server: a later comparison passes over the rows that were not written since';
COMMENT ON COLUMN {{schema}}.verified_range.traffic_xid IS 'the same for traffic_server';
COMMENT ON COLUMN {{schema}}.verified_range.differing IS 'keys of rows that differ, the first thousand of them';
COMMENT ON COLUMN {{schema}}.verified_range.counts IS 'how many rows differ, and how, as JSON';

-- A `leadbridge verify` that was interrupted, for `leadbridge verify --resume`: what was compared, and what is left.
CREATE TABLE IF NOT EXISTS {{schema}}.interrupted_verify (
    slot text PRIMARY KEY,
    basis text NOT NULL,
    place text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN {{schema}}.interrupted_verify.place IS 'the result so far, and the ranges that are left, as JSON';

REVOKE ALL ON {{schema}}.verification, {{schema}}.verified_range, {{schema}}.interrupted_verify FROM PUBLIC;
