//! Landing's tables, varied.

use super::stage::Wanted::{Exact, ExactAndNamed, ExactUntilCutover, Refused};
use super::stage::{Variation, Varied, first, play_all, streaming};

/// Shapes handled exactly, at least in the stream.
const ADMITTED: &[Variation] = &[
    first("ALTER TABLE landing_leads ADD COLUMN score int DEFAULT 7, ADD COLUMN rank text NOT NULL DEFAULT 'x'", Exact),
    first("ALTER TABLE landing_leads FORCE ROW LEVEL SECURITY; CREATE POLICY p ON landing_leads FOR INSERT WITH CHECK (true)", Exact),
    first("ALTER TABLE landing_leads ADD CONSTRAINT reachable CHECK (phone <> '' OR email IS NOT NULL) NOT VALID", Exact),
    first("ALTER TABLE landing_leads ADD UNIQUE (amocrm_lead_id), ALTER amocrm_contact_id TYPE varchar(50)", Exact),
    first(
        "CREATE UNIQUE INDEX ON landing_leads (lower(email)); CREATE UNIQUE INDEX ON landing_leads (phone) WHERE source = 'x';
         ALTER TABLE landing_leads ADD EXCLUDE USING btree (email WITH =)",
        Exact,
    ),
    first("ALTER TABLE landing_leads ADD CONSTRAINT mail UNIQUE (email) DEFERRABLE INITIALLY DEFERRED", ExactUntilCutover("mail")),
    first("ALTER TABLE landing_leads REPLICA IDENTITY FULL; ALTER TABLE journey_stages REPLICA IDENTITY FULL", Exact),
    first(
        "CREATE UNIQUE INDEX wide ON journey_stages (stage, id); ALTER TABLE journey_stages REPLICA IDENTITY USING INDEX wide",
        Exact,
    ),
    first(
        "ALTER TABLE journey_stages DROP CONSTRAINT journey_stages_pkey; CREATE UNIQUE INDEX named ON journey_stages (id);
         ALTER TABLE journey_stages ALTER id SET NOT NULL, REPLICA IDENTITY USING INDEX named",
        Exact,
    ),
    first("CREATE RULE told AS ON INSERT TO landing_leads DO ALSO NOTIFY leads", ExactUntilCutover("told")),
    first("CREATE RULE kept AS ON DELETE TO landing_leads DO INSTEAD NOTHING", ExactUntilCutover("kept")),
    first(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF TG_OP = 'DELETE' THEN RETURN CASE OLD.name WHEN 'lead 4' THEN NULL ELSE OLD END; END IF;
             NEW.source := 'by trigger'; RETURN NEW; END $$;
         CREATE TRIGGER own BEFORE INSERT OR UPDATE OR DELETE ON landing_leads FOR EACH ROW EXECUTE FUNCTION f();
         ALTER TABLE landing_leads ENABLE ALWAYS TRIGGER own",
        Exact,
    ),
    first(
        "CREATE TABLE seen (n bigserial);
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen DEFAULT VALUES; RETURN NULL; END $$;
         CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON landing_leads EXECUTE FUNCTION f();
         CREATE TRIGGER b AFTER INSERT ON journey_stages FOR EACH ROW EXECUTE FUNCTION f();
         CREATE CONSTRAINT TRIGGER c AFTER INSERT ON journey_stages DEFERRABLE FOR EACH ROW EXECUTE FUNCTION f();
         ALTER TABLE landing_leads DISABLE TRIGGER a; ALTER TABLE journey_stages ENABLE REPLICA TRIGGER b",
        Exact,
    ),
    first("ALTER TABLE landing_leads ADD COLUMN length int GENERATED ALWAYS AS (length(phone)) STORED", Exact),
    first(
        "ALTER TABLE landing_leads DROP COLUMN phone_normalized,
             ADD COLUMN phone_normalized text GENERATED ALWAYS AS (upper(phone)) STORED",
        Exact,
    ),
    first(
        "ALTER TABLE landing_leads ALTER click_count DROP DEFAULT, ALTER click_count SET NOT NULL,
             ALTER click_count ADD GENERATED ALWAYS AS IDENTITY",
        ExactUntilCutover("click_count"),
    ),
    first("ALTER TABLE landing_leads ALTER updated_at TYPE timestamptz(0)", ExactUntilCutover("updated_at")),
    first(
        "ALTER TABLE landing_leads ADD UNIQUE (amocrm_lead_id);
         CREATE TABLE deals (number text REFERENCES landing_leads (amocrm_lead_id) ON UPDATE CASCADE)",
        ExactUntilCutover("deals"),
    ),
    first(
        "CREATE TABLE links (a uuid REFERENCES landing_leads (id) ON DELETE CASCADE ON UPDATE CASCADE,
             b uuid REFERENCES landing_leads (id) ON DELETE SET NULL, c uuid REFERENCES journey_stages (id) DEFERRABLE)",
        Exact,
    ),
    first(
        "ALTER TABLE landing_leads ADD COLUMN course bigint CONSTRAINT of_course REFERENCES courses (id) ON DELETE CASCADE",
        ExactAndNamed("of_course"),
    ),
    first(
        "ALTER TABLE journey_stages DROP CONSTRAINT journey_stages_lead_id_fkey,
             ADD FOREIGN KEY (lead_id) REFERENCES landing_leads (id) DEFERRABLE INITIALLY DEFERRED",
        Exact,
    ),
    first(
        "CREATE PUBLICATION others FOR ALL TABLES; CREATE SCHEMA other; CREATE TABLE other.landing_leads (id int PRIMARY KEY);
         CREATE PUBLICATION elsewhere FOR TABLES IN SCHEMA other",
        Exact,
    ),
    first(
        "CREATE VIEW leads AS SELECT * FROM landing_leads; CREATE MATERIALIZED VIEW sources AS SELECT source FROM landing_leads",
        Exact,
    ),
];

/// Shapes that would lose rows, or break applications.
const REFUSED: &[Variation] = &[
    first("ALTER TABLE journey_stages DROP CONSTRAINT journey_stages_pkey", Refused("journey_stages")),
    first(
        "ALTER TABLE journey_stages DROP CONSTRAINT journey_stages_pkey, ADD CONSTRAINT later PRIMARY KEY (id) DEFERRABLE",
        Refused("later"),
    ),
    first(
        "CREATE UNIQUE INDEX once ON landing_leads (id); ALTER TABLE landing_leads REPLICA IDENTITY USING INDEX once;
         DROP INDEX once",
        Refused("landing_leads has no replica identity"),
    ),
    first(
        "ALTER TABLE journey_stages DROP CONSTRAINT journey_stages_pkey, REPLICA IDENTITY FULL",
        Refused("journey_stages: id is not unique"),
    ),
    first("ALTER TABLE landing_leads REPLICA IDENTITY NOTHING", Refused("landing_leads")),
    first(
        "ALTER TABLE journey_stages ADD COLUMN n int GENERATED ALWAYS AS IDENTITY; CREATE UNIQUE INDEX numbered ON journey_stages (n);
         ALTER TABLE journey_stages REPLICA IDENTITY USING INDEX numbered",
        Refused("numbered"),
    ),
    first(
        "ALTER TABLE journey_stages DROP CONSTRAINT journey_stages_pkey,
             ADD CONSTRAINT pair PRIMARY KEY (lead_id, stage) INCLUDE (id)",
        Refused("journey_stages: id is not unique"),
    ),
    first(
        "ALTER TABLE journey_stages DROP CONSTRAINT journey_stages_pkey, ADD PRIMARY KEY (id, stage)",
        Refused("journey_stages: id is not unique"),
    ),
    first(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'journey_stages_pkey'::regclass",
        Refused("journey_stages"),
    ),
    first("ALTER TABLE journey_stages SET UNLOGGED", Refused("journey_stages is UNLOGGED")),
    first("CREATE TABLE more_leads () INHERITS (landing_leads)", Refused("more_leads")),
    first(
        "CREATE TABLE people (id uuid NOT NULL, name text NOT NULL); ALTER TABLE landing_leads INHERIT people",
        Refused("people"),
    ),
    first(
        "CREATE TABLE journeys (LIKE journey_stages) PARTITION BY LIST (stage);
         ALTER TABLE journeys ATTACH PARTITION journey_stages DEFAULT",
        Refused("journeys"),
    ),
    first(
        "ALTER TABLE journey_stages RENAME TO parts; CREATE TABLE journey_stages (LIKE parts) PARTITION BY LIST (stage);
         ALTER TABLE journey_stages ATTACH PARTITION parts DEFAULT",
        Refused("journey_stages is a partitioned table"),
    ),
    first(
        "ALTER TABLE journey_stages RENAME TO journeys; CREATE VIEW journey_stages AS SELECT * FROM journeys",
        Refused("journey_stages is a view"),
    ),
    first(
        "ALTER TABLE journey_stages RENAME TO journeys; CREATE MATERIALIZED VIEW journey_stages AS SELECT * FROM journeys",
        Refused("journey_stages is a materialized view"),
    ),
    first(
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing; DROP TABLE journey_stages;
         CREATE FOREIGN TABLE journey_stages (id uuid NOT NULL, lead_id uuid) SERVER nowhere",
        Refused("journey_stages is a foreign table"),
    ),
    first(
        "ALTER TABLE landing_leads DROP COLUMN email, ADD COLUMN email text GENERATED ALWAYS AS (name || '@x') STORED",
        Refused("landing_leads.email"),
    ),
    first("CREATE DOMAIN number AS text; ALTER TABLE landing_leads ALTER phone TYPE number", Refused("landing_leads.phone")),
    first(
        "CREATE TYPE stages AS ENUM ('one', 'two'); ALTER TABLE journey_stages ALTER stage TYPE stages USING stage::stages",
        Refused("journey_stages.stage"),
    ),
    first("ALTER TABLE landing_leads ALTER source TYPE char(20)", Refused("landing_leads.source")),
    first("ALTER TABLE journey_stages ALTER id DROP DEFAULT, ALTER id TYPE text", Refused("journey_stages.id")),
    first("ALTER TABLE landing_leads RENAME phone TO telephone", Refused("landing_leads.phone")),
    first("ALTER TABLE journey_stages DROP CONSTRAINT journey_stages_lead_id_fkey", Refused("journey_stages")),
    first("ALTER TABLE landing_leads DISABLE TRIGGER ALL", Refused("journey_stages")),
    first("CREATE PUBLICATION leadbridge FOR TABLES IN SCHEMA public", Refused("publication leadbridge")),
];

/// Changes of a streamed table's shape.
const STREAMING: &[Variation] = &[
    streaming("CREATE TABLE more_leads () INHERITS (landing_leads)", Refused("more_leads")),
    streaming(
        "CREATE TABLE people (id uuid NOT NULL, name text NOT NULL); ALTER TABLE landing_leads INHERIT people",
        Refused("people"),
    ),
    streaming(
        "CREATE TABLE journeys (LIKE journey_stages) PARTITION BY LIST (stage);
         ALTER TABLE journeys ATTACH PARTITION journey_stages DEFAULT",
        Refused("journeys"),
    ),
    streaming(
        "ALTER TABLE journey_stages DROP CONSTRAINT journey_stages_lead_id_fkey",
        Refused("journey_stages"),
    ),
    streaming(
        "CREATE RULE told AS ON INSERT TO landing_leads DO ALSO NOTIFY leads",
        ExactUntilCutover("told"),
    ),
    streaming(
        "ALTER TABLE landing_leads ADD UNIQUE (amocrm_lead_id); CREATE INDEX ON journey_stages (stage)",
        Exact,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn landing_tables_that_are_admitted_are_replicated_exactly() {
    play_all(Varied::Landing, ADMITTED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn landing_tables_that_are_not_on_the_list_are_refused_by_name_and_their_applications_go_on() {
    play_all(Varied::Landing, REFUSED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_table_that_stops_being_admissible_ends_the_stream_by_name() {
    play_all(Varied::Landing, STREAMING).await;
}
