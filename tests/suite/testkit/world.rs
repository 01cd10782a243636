//! A Landing and a Traffic server for one test.

use std::sync::Arc;

use leadbridge::migrate::{MigrateOptions, Report, migrate};
use leadbridge::model::names::Names;
use leadbridge::throwaway::{Cluster, Template, connect, fixture, leads, writers};
use tokio::sync::OnceCell;
use tokio_postgres::Client;

/// Both servers, with leadbridge's names for their objects. Dropping the value removes the servers.
pub struct World {
    pub landing: Cluster,
    pub traffic: Cluster,
    pub names: Names,
}

/// One `initdb` for all tests of the process.
pub async fn template() -> Arc<Template> {
    static TEMPLATE: OnceCell<Arc<Template>> = OnceCell::const_new();
    TEMPLATE.get_or_init(async || Arc::new(Template::create().await.unwrap())).await.clone()
}

/// The templates of a world's two servers.
#[derive(Clone)]
struct Templates {
    landing: Arc<Template>,
    traffic: Arc<Template>,
}

impl Templates {
    /// The school's databases: made once, because making them would take most of a small test's time.
    async fn unmigrated() -> Templates {
        static TEMPLATES: OnceCell<Templates> = OnceCell::const_new();
        let make = async || World::filled_from(&template().await).await.into_templates().await;
        TEMPLATES.get_or_init(make).await.clone()
    }

    /// The same after `leadbridge migrate`.
    async fn migrated() -> Templates {
        static TEMPLATES: OnceCell<Templates> = OnceCell::const_new();
        let make = async || {
            let world = World::unmigrated().await;
            let _ = world.migrate(&MigrateOptions::default()).await;
            world.into_templates().await
        };
        TEMPLATES.get_or_init(make).await.clone()
    }
}

/// Turns production's Landing into an older one.
const OLDER_LANDING: &str = "
    CREATE OR REPLACE FUNCTION find_or_create_unified_lead(
        p_email text, p_name text, p_phone text, p_source text, p_metadata jsonb DEFAULT '{}'
    ) RETURNS uuid LANGUAGE plpgsql AS $$
    DECLARE
        v_lead uuid;
    BEGIN
        SELECT id INTO v_lead FROM landing_leads
            WHERE regexp_replace(phone, '[^0-9+]', '', 'g') = nullif(regexp_replace(p_phone, '[^0-9+]', '', 'g'), '')
               OR email = nullif(p_email, '')
            ORDER BY created_at LIMIT 1;
        IF v_lead IS NULL THEN
            INSERT INTO landing_leads (email, name, phone, source, metadata)
            VALUES (p_email, p_name, p_phone, p_source, p_metadata) RETURNING id INTO v_lead;
        ELSE
            UPDATE landing_leads
            SET name = coalesce(nullif(p_name, ''), name), email = coalesce(nullif(p_email, ''), email) WHERE id = v_lead;
        END IF;
        RETURN v_lead;
    END
    $$;
    ALTER TABLE journey_stages RENAME TO lead_journey;
    ALTER TABLE lead_journey DROP event_type;
    ALTER TABLE landing_leads ALTER email SET NOT NULL, DROP phone_normalized, DROP amocrm_contact_id,
        DROP email_clicked, DROP sms_clicked, DROP email_clicked_at, DROP sms_clicked_at, DROP click_count,
        DROP utm_source, DROP utm_medium, DROP utm_campaign, DROP utm_content, DROP utm_term,
        DROP email_sent_at, DROP email_error, DROP email_opened_at, DROP sms_sent_at, DROP sms_error,
        DROP sms_message_id, DROP amocrm_sync_status, DROP amocrm_sync_attempts, DROP amocrm_sync_last_error,
        DROP CONSTRAINT landing_leads_amocrm_lead_id_key;
    ALTER TABLE scheduled_notifications DROP recipient_name, DROP recipient_email, DROP recipient_phone,
        DROP source_campaign, ALTER created_at SET NOT NULL, ALTER updated_at SET NOT NULL";

/// `settings` after those of every server of a test. `jit = off`, because a test's own sessions ask long questions of the
/// catalog, as `migrate` does there: compiling them took most of the suite's processor time. leadbridge's own sessions pin
/// the setting themselves.
fn with_defaults<'s>(settings: &[(&'s str, &'s str)]) -> Vec<(&'s str, &'s str)> {
    [&[("jit", "off")], settings].concat()
}

impl World {
    /// The school's databases before `leadbridge migrate`.
    pub async fn unmigrated() -> World {
        Self::unmigrated_with(&[], &[]).await
    }

    /// The same, with settings for the two servers.
    pub async fn unmigrated_with(landing: &[(&str, &str)], traffic: &[(&str, &str)]) -> World {
        Self::from_templates(&Templates::unmigrated().await, landing, traffic).await
    }

    async fn from_templates(
        templates: &Templates,
        landing: &[(&str, &str)],
        traffic: &[(&str, &str)],
    ) -> World {
        let (landing, traffic) = (with_defaults(landing), with_defaults(traffic));
        let (landing, traffic) = tokio::join!(
            Cluster::start(&templates.landing, &landing),
            Cluster::start(&templates.traffic, &traffic),
        );
        World { landing: landing.unwrap(), traffic: traffic.unwrap(), names: fixture::names() }
    }

    /// The other shape before `leadbridge migrate`: an older Landing, which calls the journey `lead_journey` and has no
    /// column that newer Landings added, and a Traffic with a Migration 016 of the school's own.
    pub async fn older() -> World {
        let mut world = Self::unmigrated().await;
        world.landing().await.batch_execute(OLDER_LANDING).await.unwrap();
        world.traffic().await.batch_execute(fixture::TRAFFIC_016).await.unwrap();
        world.names = Names::default();
        world
    }

    /// Both databases made in copies of `template`.
    async fn filled_from(template: &Arc<Template>) -> World {
        let server = async |name, schema| {
            let cluster = Cluster::start(template, &with_defaults(&[])).await.unwrap();
            cluster.create_database(name, schema).await.unwrap();
            cluster
        };
        let (landing, traffic) =
            tokio::join!(server("landing", fixture::LANDING), server("traffic", fixture::TRAFFIC));
        World { landing, traffic, names: fixture::names() }
    }

    async fn into_templates(self) -> Templates {
        let (landing, traffic) = tokio::join!(self.landing.into_template(), self.traffic.into_template());
        Templates { landing: Arc::new(landing.unwrap()), traffic: Arc::new(traffic.unwrap()) }
    }

    /// Migrated, and still empty of leads.
    pub async fn new() -> World {
        Self::with_settings(&[], &[]).await
    }

    /// The same, with settings for the two servers.
    pub async fn with_settings(landing: &[(&str, &str)], traffic: &[(&str, &str)]) -> World {
        Self::from_templates(&Templates::migrated().await, landing, traffic).await
    }

    /// Migrated, with system identifiers that differ from all other worlds', because the servers do not come from the
    /// shared template.
    pub async fn of_another_cluster() -> World {
        let template = Arc::new(Template::create().await.unwrap());
        let world = Self::filled_from(&template).await;
        world.migrate(&MigrateOptions::default()).await;
        world
    }

    pub async fn migrate(&self, options: &MigrateOptions) -> Report {
        let (mut landing, mut traffic) = (self.landing().await, self.traffic().await);
        migrate(&mut landing, &mut traffic, &self.names, options).await.unwrap()
    }

    pub fn landing_url(&self) -> String {
        self.landing.url("landing")
    }

    pub fn traffic_url(&self) -> String {
        self.traffic.url("traffic")
    }

    /// A superuser's session on Landing, with times in UTC.
    pub async fn landing(&self) -> Client {
        connect(&self.landing_url()).await.unwrap()
    }

    /// A superuser's session on Traffic, with times in UTC.
    pub async fn traffic(&self) -> Client {
        connect(&self.traffic_url()).await.unwrap()
    }

    /// Writes the given number of leads, and three times as many journey entries, to Landing.
    pub async fn fill(&self, seed: u64, count: usize) -> leads::Filled {
        leads::fill(&self.landing().await, &self.names, seed, count).await.unwrap()
    }

    /// Starts live writers on Landing, which run until stopped.
    pub fn write(&self, pace: &writers::WriteRate) -> writers::LiveWriters {
        writers::LiveWriters::start(&self.landing_url(), &self.names, pace)
    }
}
