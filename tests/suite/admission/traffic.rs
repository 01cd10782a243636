//! Traffic's tables, varied.

use super::stage::Wanted::{Exact, Refused};
use super::stage::{Variation, Varied, first, migrated, play_all, streaming};

/// No row of `refers` names an absent lead.
const NOTHING_DANGLES: &str =
    "NOT EXISTS (SELECT FROM refers WHERE lead NOT IN (SELECT id FROM traffic_leads))
    AND NOT EXISTS (SELECT FROM notes_of WHERE lead NOT IN (SELECT lead FROM refers WHERE lead IS NOT NULL))";

/// Shapes handled exactly.
const ADMITTED: &[Variation] = &[
    first(
        "ALTER TABLE traffic_leads ADD COLUMN score int DEFAULT 7 NOT NULL, ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY,
             ADD COLUMN length int GENERATED ALWAYS AS (length(phone)) STORED, ADD COLUMN raw xml, ADD COLUMN click_count bigint",
        Exact,
    ),
    first("ALTER TABLE traffic_leads FORCE ROW LEVEL SECURITY; CREATE POLICY p ON traffic_leads USING (false)", Exact),
    first("ALTER TABLE traffic_leads ADD CONSTRAINT reachable CHECK (phone <> '') NOT VALID", Exact),
    first(
        "ALTER TABLE traffic_leads ADD UNIQUE (email); CREATE UNIQUE INDEX ON traffic_leads (lower(phone));
         CREATE UNIQUE INDEX ON traffic_leads (name) WHERE status = 'lost';
         ALTER TABLE traffic_leads ADD EXCLUDE USING btree (amocrm_lead_id WITH =)",
        Exact,
    ),
    first("ALTER TABLE traffic_leads ALTER utm_source TYPE text, ALTER name TYPE varchar, ALTER status TYPE text", Exact),
    first("ALTER TABLE traffic_leads REPLICA IDENTITY FULL", Exact),
    migrated(
        "DROP INDEX traffic_lead_journey_lead_time_idx; ALTER TABLE traffic_lead_journey ADD COLUMN own int, ADD UNIQUE (id, stage)",
        Exact,
    ),
    first(
        "CREATE TABLE seen (n bigserial);
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS
             $$ BEGIN INSERT INTO seen DEFAULT VALUES; RETURN coalesce(NEW, OLD); END $$;
         CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON traffic_leads FOR EACH ROW EXECUTE FUNCTION f();
         CREATE TRIGGER b AFTER INSERT OR UPDATE OR DELETE ON traffic_leads EXECUTE FUNCTION f();
         CREATE TRIGGER c AFTER INSERT ON traffic_leads FOR EACH ROW EXECUTE FUNCTION f();
         CREATE TRIGGER d AFTER INSERT ON traffic_leads FOR EACH ROW EXECUTE FUNCTION f();
         ALTER TABLE traffic_leads ENABLE ALWAYS TRIGGER a, ENABLE REPLICA TRIGGER c, DISABLE TRIGGER d",
        Exact,
    ),
    first("ALTER TABLE traffic_leads ADD COLUMN team text CONSTRAINT of_team REFERENCES traffic_teams (name)", Exact),
    first(
        "CREATE PUBLICATION others FOR ALL TABLES; CREATE SCHEMA other; CREATE TABLE other.traffic_leads (id int)",
        Exact,
    ),
    migrated(
        "CREATE TABLE refers (lead uuid UNIQUE REFERENCES traffic_leads (id) ON DELETE CASCADE ON UPDATE RESTRICT);
         CREATE TABLE notes_of (lead uuid REFERENCES refers (lead) ON DELETE CASCADE ON UPDATE CASCADE);
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS
             $$ BEGIN INSERT INTO refers VALUES (NEW.id); INSERT INTO notes_of VALUES (NEW.id); RETURN NULL; END $$;
         CREATE TRIGGER own AFTER INSERT ON traffic_leads FOR EACH ROW EXECUTE FUNCTION f();
         ALTER TABLE traffic_leads ENABLE ALWAYS TRIGGER own",
        Exact,
    )
    .ends_with(NOTHING_DANGLES),
    streaming(
        "CREATE TABLE refers (lead uuid UNIQUE REFERENCES traffic_leads (id) ON DELETE SET NULL ON UPDATE SET NULL);
         CREATE TABLE notes_of (lead uuid REFERENCES refers (lead) ON DELETE SET NULL ON UPDATE CASCADE);
         INSERT INTO refers SELECT id FROM traffic_leads; INSERT INTO notes_of SELECT lead FROM refers",
        Exact,
    )
    .ends_with(NOTHING_DANGLES),
    first(
        "ALTER TABLE traffic_leads ADD COLUMN team_id uuid CONSTRAINT by_team REFERENCES traffic_teams (id) ON DELETE CASCADE",
        Exact,
    ),
];

/// Shapes that would lose a replicated row, store a wrong row, or break an application.
const REFUSED: &[Variation] = &[
    first(
        "ALTER TABLE traffic_leads DROP CONSTRAINT traffic_leads_pkey CASCADE, ADD UNIQUE (id)",
        Refused("traffic_leads"),
    ),
    first("ALTER TABLE traffic_leads DROP CONSTRAINT traffic_leads_pkey CASCADE", Refused("traffic_leads: id is not unique")),
    first(
        "ALTER TABLE traffic_leads DROP CONSTRAINT traffic_leads_pkey CASCADE, ADD CONSTRAINT later PRIMARY KEY (id) DEFERRABLE",
        Refused("later"),
    ),
    first("ALTER TABLE traffic_leads ADD CONSTRAINT mail UNIQUE (email) DEFERRABLE", Refused("mail")),
    first(
        "ALTER TABLE traffic_leads ADD CONSTRAINT alone EXCLUDE USING btree (email WITH =) DEFERRABLE INITIALLY DEFERRED",
        Refused("alone"),
    ),
    first("ALTER TABLE traffic_leads REPLICA IDENTITY NOTHING", Refused("traffic_leads")),
    first(
        "CREATE UNIQUE INDEX once ON traffic_leads (id); ALTER TABLE traffic_leads REPLICA IDENTITY USING INDEX once; DROP INDEX once",
        Refused("traffic_leads has no replica identity"),
    ),
    first(
        "ALTER TABLE traffic_sales SET UNLOGGED; ALTER TABLE challenge3d_sales SET UNLOGGED; ALTER TABLE traffic_leads SET UNLOGGED",
        Refused("traffic_leads is UNLOGGED"),
    ),
    first("CREATE TABLE more_leads () INHERITS (traffic_leads)", Refused("more_leads")),
    first("CREATE TABLE people (id uuid NOT NULL); ALTER TABLE traffic_leads INHERIT people", Refused("people")),
    first(
        "CREATE TABLE parted (LIKE traffic_leads) PARTITION BY HASH (id);
         ALTER TABLE parted ATTACH PARTITION traffic_leads FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        Refused("parted"),
    ),
    first(
        "ALTER TABLE traffic_leads RENAME TO parts; CREATE TABLE traffic_leads (LIKE parts) PARTITION BY HASH (id);
         ALTER TABLE traffic_leads ATTACH PARTITION parts FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        Refused("traffic_leads is a partitioned table"),
    ),
    first(
        "ALTER TABLE traffic_leads RENAME TO people; CREATE VIEW traffic_leads AS SELECT * FROM people",
        Refused("traffic_leads is a view"),
    ),
    first(
        "CREATE TABLE journeys (id uuid PRIMARY KEY); CREATE VIEW traffic_lead_journey AS SELECT * FROM journeys",
        Refused("traffic_lead_journey is a view"),
    ),
    first(
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
         DROP TABLE traffic_leads CASCADE; CREATE FOREIGN TABLE traffic_leads (id uuid NOT NULL) SERVER nowhere",
        Refused("traffic_leads is a foreign table"),
    ),
    first("CREATE RULE told AS ON INSERT TO traffic_leads DO ALSO NOTIFY leads", Refused("told")),
    first("CREATE RULE kept AS ON UPDATE TO traffic_leads DO INSTEAD NOTHING", Refused("kept")),
    first("CREATE RULE kept AS ON DELETE TO traffic_leads WHERE old.status = 'qualified' DO INSTEAD NOTHING", Refused("kept")),
    first(
        "ALTER TABLE traffic_leads DROP COLUMN utm_term, ADD COLUMN utm_term varchar(255) GENERATED ALWAYS AS (utm_content) STORED",
        Refused("traffic_leads.utm_term"),
    ),
    first(
        "ALTER TABLE traffic_leads DROP COLUMN amocrm_contact_id, ADD COLUMN amocrm_contact_id bigint GENERATED ALWAYS AS IDENTITY",
        Refused("traffic_leads.amocrm_contact_id"),
    ),
    first("CREATE DOMAIN mail AS varchar(255); ALTER TABLE traffic_leads ALTER email TYPE mail", Refused("traffic_leads.email")),
    first(
        "CREATE TYPE funnels AS ENUM ('express', 'challenge3d', 'intensive1d');
         ALTER TABLE traffic_leads DROP CONSTRAINT traffic_leads_funnel_type_check, ALTER funnel_type TYPE funnels USING funnel_type::funnels",
        Refused("traffic_leads.funnel_type"),
    ),
    first("ALTER TABLE traffic_leads ALTER phone TYPE char(50)", Refused("traffic_leads.phone")),
    first(
        "ALTER TABLE traffic_leads ALTER metadata DROP DEFAULT, ALTER metadata TYPE json",
        Refused("traffic_leads.metadata"),
    ),
    first("ALTER TABLE traffic_leads ALTER amocrm_lead_id TYPE text", Refused("traffic_leads.amocrm_lead_id")),
    first("ALTER TABLE traffic_leads ALTER created_at TYPE timestamptz(0)", Refused("traffic_leads.created_at")),
    first("ALTER TABLE traffic_leads ALTER updated_at TYPE timestamp", Refused("traffic_leads.updated_at")),
    first("CREATE TABLE traffic_lead_journey (id uuid PRIMARY KEY, lead_id uuid, stage text, created_at timestamptz)", Refused("traffic_lead_journey has no foreign key from lead_id")),
    first(
        "ALTER TABLE traffic_leads ADD UNIQUE (id, email);
         CREATE TABLE deals (lead uuid, mail varchar(255), CONSTRAINT pair FOREIGN KEY (lead, mail) REFERENCES traffic_leads (id, email) ON UPDATE CASCADE)",
        Refused("pair"),
    ),
    first(
        "ALTER TABLE traffic_leads ADD UNIQUE (fb_lead_id);
         CREATE TABLE forms (fb varchar(100) CONSTRAINT by_fb REFERENCES traffic_leads (fb_lead_id) ON UPDATE CASCADE)",
        Refused("by_fb"),
    ),
    first(
        "ALTER TABLE traffic_leads ADD CONSTRAINT known FOREIGN KEY (utm_source) REFERENCES traffic_teams (name)",
        Refused("known"),
    ),
    first("ALTER TABLE traffic_leads DISABLE TRIGGER ALL", Refused("challenge3d_sales")),
    migrated("ALTER TABLE traffic_leads DROP COLUMN landing_source CASCADE", Refused("traffic_leads.landing_source")),
    migrated("ALTER TABLE traffic_lead_journey DROP CONSTRAINT traffic_lead_journey_pkey", Refused("traffic_lead_journey")),
    migrated("CREATE TABLE more () INHERITS (traffic_lead_journey)", Refused("more")),
];

/// Changes of the shape of a table to which changes are applied.
const STREAMING: &[Variation] = &[
    streaming("ALTER TABLE traffic_leads ADD CONSTRAINT mail UNIQUE (email) DEFERRABLE", Refused("mail")),
    streaming("CREATE TABLE more_leads () INHERITS (traffic_leads)", Refused("more_leads")),
    streaming("CREATE RULE kept AS ON UPDATE TO traffic_lead_journey DO INSTEAD NOTHING", Refused("kept")),
    streaming(
        "ALTER TABLE traffic_leads ADD UNIQUE (fb_lead_id);
         CREATE TABLE forms (fb varchar(100) CONSTRAINT by_fb REFERENCES traffic_leads (fb_lead_id) ON UPDATE CASCADE)",
        Refused("by_fb"),
    ),
    streaming(
        "DROP VIEW v_traffic_leads_with_journey, v_traffic_leads_last_stage CASCADE;
         ALTER TABLE traffic_lead_journey ALTER created_at TYPE timestamptz(0)",
        Refused("traffic_lead_journey.created_at"),
    ),
    streaming("ALTER TABLE traffic_leads ADD UNIQUE (email), ADD CHECK (phone <> '')", Exact),
];

#[tokio::test(flavor = "multi_thread")]
async fn traffic_tables_that_are_admitted_are_replicated_exactly() {
    play_all(Varied::Traffic, ADMITTED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_tables_that_are_not_on_the_list_are_refused_by_name_and_their_applications_go_on() {
    play_all(Varied::Traffic, REFUSED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traffic_table_that_stops_being_admissible_ends_the_stream_by_name() {
    play_all(Varied::Traffic, STREAMING).await;
}
