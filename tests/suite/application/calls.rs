//! The old code of the school: its calls, one after the other, whatever database it is connected to.

use serde_json::{Value, json};

use super::http::{Http, Role};
use super::request::{Condition, Request, compared, equals};
use super::transcript::Transcript;

/// The journey's name in the old code, and whether the code knows the columns that newer Landings added.
#[derive(Clone, Copy)]
pub struct Code {
    pub journey: &'static str,
    pub is_newer: bool,
}

const LEADS: &str = "landing_leads";
const WITH_JOURNEY: &str = "leads_with_journey";
const NOTIFICATIONS: &str = "scheduled_notifications";
const FUNCTION: &str = "find_or_create_unified_lead";

const LEAD: &[&str] = &["id", "name", "email", "phone", "source", "metadata"];
const PROGRESS: &[&str] = &["id", "amocrm_lead_id", "amocrm_synced", "email_sent", "sms_sent"];

struct Run<'h> {
    http: &'h mut Http,
    code: Code,
    /// Four digits in every value of this run.
    tag: &'h str,
    transcript: Transcript,
}

/// Runs every call, and returns what the database answered. `tag`, four digits, tells the rows of this run from others.
pub async fn run(http: &mut Http, code: Code, tag: &str) -> Transcript {
    let transcript = Transcript::begin(http, tag).await;
    let mut run = Run { http, code, tag, transcript };
    let before = run.total().await;
    let lead = run.submits_through_the_function().await;
    let other = run.submits_by_insert().await;
    run.adds_journey_entries(&lead).await;
    run.schedules_notifications(&lead).await;
    run.marks_mails_and_clicks(&lead, &other).await;
    run.upserts_from_the_crm(&other).await;
    run.lists_and_counts(&lead, &other).await;
    run.visits_as_the_public(&lead).await;
    run.deletes(&other).await;
    let grown = run.total().await - before;
    run.transcript.note("the number of leads has grown by", json!(grown));
    run.transcript
}

impl Run<'_> {
    async fn calls(&mut self, what: &str, role: Role, request: Request) -> Value {
        let answer = self.http.answer(role, &request).await;
        self.transcript.note(what, answer.clone());
        answer
    }

    async fn service(&mut self, what: &str, request: Request) -> Value {
        self.calls(what, Role::Service, request).await
    }

    /// The exact count of all leads, which is not part of the transcript.
    async fn total(&mut self) -> i64 {
        let all = Request::select(LEADS, &["id"]).page(1, 0).counted();
        self.http.answer(Role::Service, &all).await["total"].as_i64().unwrap()
    }

    fn phone(&self, number: u32) -> String {
        format!("8 ({}) {number:03}-45-67", self.tag)
    }

    fn email(&self, word: &str) -> String {
        format!("{word}.{}@example.kz", self.tag)
    }

    /// An id that the code makes itself.
    fn id(&self, number: u32) -> String {
        format!("00000000-0000-4000-8000-{}{number:08}", self.tag)
    }

    fn of_this_run(&self) -> Condition {
        compared("source", "LIKE", &format!("%{}%", self.tag))
    }

    async fn submits_through_the_function(&mut self) -> String {
        let source = format!("proftest_{}", self.tag);
        let arguments = json!({ "p_email": self.email("first"), "p_name": "Айгерім", "p_phone": self.phone(1),
            "p_source": source, "p_metadata": { "utmParams": { "utm_source": "kenjifb" }, "answers": [1, 2] } });
        let made = self.service("a lead through the function", Request::call(FUNCTION, arguments)).await;
        let lead = made["rows"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        let again = json!({ "p_email": self.email("second"), "p_name": "Айгерім Ахметова",
            "p_phone": self.phone(1).replace(['(', ')'], " "), "p_source": "twland" });
        self.service("the same phone, four arguments", Request::call(FUNCTION, again)).await;
        let by_mail =
            json!({ "p_email": self.email("second"), "p_name": "", "p_phone": "", "p_source": "twland" });
        self.service("the same e-mail", Request::call(FUNCTION, by_mail)).await;
        let row = Request::select(LEADS, LEAD).where_(equals("id", &lead));
        self.service("the lead of the function", row).await;
        lead
    }

    async fn submits_by_insert(&mut self) -> String {
        let mut body = json!({ "name": "O'Brien", "email": self.email("insert"), "phone": self.phone(2),
            "source": format!("challenge3d_{}", self.tag), "metadata": { "utm_source": "alex_FB", "ua": "x".repeat(3000) } });
        if self.code.is_newer {
            body["phone_normalized"] = json!(self.phone(2).replace(['(', ')', ' ', '-'], ""));
        }
        let made = self.service("a lead by insert", Request::insert(LEADS, body).returning(&["id"])).await;
        let lead = made["rows"][0]["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        let whole = json!({ "id": self.id(1), "name": "with an id", "email": self.email("id"), "phone": self.phone(3),
            "source": format!("facebook_{}", self.tag) });
        self.service("a lead with an id", Request::insert(LEADS, whole).returning(LEAD)).await;
        let defaults = json!({ "id": self.id(2), "name": "defaults", "email": self.email("defaults"), "phone": self.phone(4) });
        let columns: &[&str] =
            &["source", "metadata", "amocrm_synced", "email_sent", "created_at", "updated_at"];
        self.service("a lead with defaults", Request::insert(LEADS, defaults).returning(columns)).await;
        let two = json!([
            { "name": "n1", "email": self.email("n1"), "phone": self.phone(5), "source": format!("intensive_{}", self.tag) },
            { "name": "n2", "email": self.email("n2"), "phone": self.phone(6), "source": format!("Google_{}", self.tag) }
        ]);
        self.service("two leads at once", Request::insert(LEADS, two).returning(&["name", "source"])).await;
        let taken = json!({ "id": self.id(1), "name": "taken", "email": "t@example.kz", "phone": "1" });
        self.service("an id that is taken", Request::insert(LEADS, taken)).await;
        lead
    }

    async fn adds_journey_entries(&mut self, lead: &str) {
        let journey = self.code.journey;
        let mut entry = json!({ "lead_id": lead, "stage": "proftest_submitted", "source": format!("proftest_{}", self.tag),
            "metadata": { "score": 7 } });
        if self.code.is_newer {
            entry["event_type"] = json!("form_submit");
        }
        self.service("a journey entry", Request::insert(journey, entry).returning(&["*"])).await;
        let next = json!({ "id": self.id(10), "lead_id": lead, "stage": "payment_kaspi", "created_at": "2024-05-01T10:00:00Z" });
        self.service(
            "a journey entry with an id",
            Request::insert(journey, next).returning(&["id", "created_at"]),
        )
        .await;
        let changed =
            Request::update(journey, json!({ "stage": "payment_card" })).where_(equals("id", &self.id(10)));
        self.service("a journey entry is changed", changed.returning(&["stage", "metadata"])).await;
        let nowhere = json!({ "lead_id": self.id(99), "stage": "payment_kaspi" });
        self.service("a journey entry of no lead", Request::insert(journey, nowhere)).await;
        let embedded = Request::select(journey, &["id", "stage", "source"])
            .where_(equals("lead_id", lead))
            .ordered("created_at DESC")
            .embedding(LEADS, LEAD)
            .counted();
        self.service("journey entries with their lead", embedded).await;
        let lost = Request::delete(journey).where_(equals("id", &self.id(10))).returning(&["stage"]);
        self.service("a journey entry is deleted", lost).await;
    }

    async fn schedules_notifications(&mut self, lead: &str) {
        for (number, kind, at) in
            [(20, "email", "2024-06-01T00:00:00Z"), (21, "both", "2099-01-01T00:00:00Z")]
        {
            let mut body = json!({ "id": self.id(number), "lead_id": lead, "notification_type": kind, "scheduled_for": at,
                "metadata": { "template": format!("reminder_{}", self.tag) } });
            if self.code.is_newer {
                body["recipient_name"] = json!("Айгерім");
                body["recipient_email"] = json!(self.email("first"));
                body["recipient_phone"] = json!(self.phone(1));
                body["source_campaign"] = json!("bulk");
            }
            let made = Request::insert(NOTIFICATIONS, body).returning(&["*"]);
            self.service("a notification is scheduled", made).await;
        }
        let odd = json!({ "lead_id": lead, "notification_type": "pigeon", "scheduled_for": "2024-06-01T00:00:00Z" });
        self.service("a notification of no known type", Request::insert(NOTIFICATIONS, odd)).await;
        let due = || {
            Condition::All(vec![
                equals("status", "pending"),
                compared("scheduled_for", "<=", "2024-06-01T00:00:00Z"),
                equals("lead_id", lead),
            ])
        };
        let columns: &[&str] = &["id", "notification_type", "scheduled_for"];
        let pending =
            Request::select(NOTIFICATIONS, columns).where_(due()).ordered("scheduled_for").page(50, 0);
        self.service("due notifications", pending).await;
        let sent = json!({ "status": "sent", "sent_at": "2024-06-01T00:00:05Z" });
        let claimed =
            Request::update(NOTIFICATIONS, sent).where_(due()).returning(&["id", "status", "sent_at"]);
        self.service("due notifications are sent", claimed).await;
        let retried = json!({ "status": "failed", "error_message": "timeout", "retry_count": 1, "last_retry_at": "2024-06-01T00:00:09Z" });
        let failed = Request::update(NOTIFICATIONS, retried).where_(equals("id", &self.id(21)));
        self.service(
            "a notification fails",
            failed.returning(&["status", "error_message", "retry_count", "last_retry_at"]),
        )
        .await;
        let embedded = Request::select(NOTIFICATIONS, &["id", "status"])
            .where_(equals("lead_id", lead))
            .ordered("scheduled_for")
            .embedding(LEADS, &["id", "name"]);
        self.service("notifications with their lead", embedded).await;
    }

    async fn marks_mails_and_clicks(&mut self, lead: &str, other: &str) {
        let newer = self.code.is_newer;
        let mut sent = json!({ "email_sent": true });
        if newer {
            sent["email_sent_at"] = json!("2024-06-02T00:00:00Z");
        }
        let columns: &[&str] =
            if newer { &["id", "email_sent", "email_sent_at"] } else { &["id", "email_sent"] };
        let mailed = Request::update(LEADS, sent).where_(equals("id", lead)).returning(columns);
        self.service("an e-mail is sent", mailed).await;
        if newer {
            let failed = json!({ "email_sent": false, "email_error": "mailbox full", "sms_sent": true,
                "sms_sent_at": "2024-06-02T00:01:00Z", "sms_message_id": "m-1" });
            let failed = Request::update(LEADS, failed).where_(equals("id", other));
            self.service("an e-mail fails", failed.returning(&["email_error", "sms_sent", "sms_message_id"]))
                .await;
            let clicked = json!({ "email_clicked": true, "email_clicked_at": "2024-06-03T00:00:00Z", "click_count": 1 });
            let clicked = Request::update(LEADS, clicked).where_(equals("id", lead));
            let columns: &[&str] =
                &["email_clicked", "sms_clicked", "email_clicked_at", "click_count", "updated_at"];
            self.service("a click", clicked.returning(columns)).await;
        }
        let nobody = Request::update(LEADS, json!({ "email_sent": true })).where_(equals("id", &self.id(98)));
        self.service("an e-mail of no lead", nobody.returning(&["id"])).await;
        let renamed = json!({ "name": "O’Brien", "phone": self.phone(7), "metadata": { "utm_source": "", "utmSource": "kenjifb" } });
        self.service(
            "a lead is corrected",
            Request::update(LEADS, renamed).where_(equals("id", other)).returning(LEAD),
        )
        .await;
    }

    async fn upserts_from_the_crm(&mut self, other: &str) {
        if self.code.is_newer {
            let number = format!("00{}", self.tag);
            for (name, utm) in [("from the CRM", "kenjifb"), ("again from the CRM", "alex_fb")] {
                let body = json!({ "amocrm_lead_id": number, "amocrm_contact_id": "12", "name": name, "phone": self.phone(8),
                    "phone_normalized": self.phone(8).replace(['(', ')', ' ', '-'], ""), "source": format!("express_{}", self.tag),
                    "utm_source": utm, "utm_campaign": "spring" });
                let columns: &[&str] =
                    &["id", "amocrm_lead_id", "amocrm_contact_id", "name", "utm_source", "utm_campaign"];
                let upsert = Request::upsert(LEADS, "amocrm_lead_id", body).returning(columns);
                self.service("an upsert by the CRM's number", upsert).await;
            }
            let taken = json!({ "amocrm_lead_id": number, "name": "taken", "phone": "1" });
            self.service("the CRM's number is taken", Request::insert(LEADS, taken)).await;
            let failed = json!({ "amocrm_sync_status": "failed", "amocrm_sync_attempts": 3, "amocrm_sync_last_error": "502" });
            let failed = Request::update(LEADS, failed).where_(equals("id", other));
            let waiting = Condition::All(vec![equals("amocrm_sync_status", "pending"), self.of_this_run()]);
            let waiting =
                Request::select(LEADS, &["name", "amocrm_sync_attempts", "amocrm_synced"]).where_(waiting);
            self.service("leads that wait for the CRM", waiting.ordered("created_at, name")).await;
            self.service(
                "the CRM fails",
                failed.returning(&["amocrm_sync_status", "amocrm_sync_attempts", "amocrm_sync_last_error"]),
            )
            .await;
        }
        for name in ["by id", "by id again"] {
            let body = json!({ "id": self.id(30), "name": name, "email": self.email("by_id"), "phone": self.phone(9),
                "source": format!("twland_{}", self.tag) });
            self.service("an upsert by id", Request::upsert(LEADS, "id", body).returning(&["id", "name"]))
                .await;
        }
        let synced = json!({ "amocrm_synced": true, "amocrm_lead_id": format!("x{}", self.tag) });
        self.service(
            "a lead is synced",
            Request::update(LEADS, synced).where_(equals("id", other)).returning(PROGRESS),
        )
        .await;
        let open = Condition::Any(vec![
            Condition::Is("amocrm_synced", "NULL"),
            Condition::Is("amocrm_synced", "FALSE"),
        ]);
        let open = Request::select(LEADS, &["id", "name"])
            .where_(Condition::All(vec![open, self.of_this_run()]))
            .ordered("created_at, name")
            .counted();
        self.service("leads that the CRM lacks", open).await;
    }

    async fn lists_and_counts(&mut self, lead: &str, other: &str) {
        let list = Request::select(LEADS, LEAD)
            .where_(self.of_this_run())
            .ordered("created_at DESC, name")
            .page(3, 1)
            .counted();
        self.service("the second page of the list", list).await;
        let found = Condition::Any(vec![
            compared("name", "ILIKE", "%brien%"),
            compared("phone", "LIKE", &format!("%{}%003%", self.tag)),
            compared("email", "ILIKE", &format!("FIRST.{}%", self.tag)),
        ]);
        let found = Condition::All(vec![found, self.of_this_run()]);
        let search = Request::select(LEADS, &["id", "name", "phone"])
            .where_(found)
            .ordered("created_at, name")
            .counted();
        self.service("a search", search).await;
        let sources =
            ["facebook", "challenge3d", "Google"].map(|word| format!("{word}_{}", self.tag)).to_vec();
        let listed = Request::select(LEADS, &["id", "source"])
            .where_(Condition::In("source", sources))
            .ordered("created_at, name");
        self.service("leads of three sources", listed).await;
        let both = Condition::In("id", vec![lead.to_owned(), other.to_owned()]);
        self.service("two leads by id", Request::select(LEADS, PROGRESS).where_(both).ordered("created_at"))
            .await;
        for (what, condition) in [
            ("with an e-mail", Condition::Is("email", "NOT NULL")),
            ("without the CRM's number", Condition::Is("amocrm_lead_id", "NULL")),
            ("mailed", Condition::Is("email_sent", "TRUE")),
            ("not mailed", equals("email_sent", "false")),
            ("younger than 2024", compared("created_at", ">", "2024-01-01T00:00:00Z")),
            ("older than 2024", compared("created_at", "<", "2024-01-01T00:00:00Z")),
        ] {
            let condition = Condition::All(vec![condition, self.of_this_run()]);
            self.service(
                what,
                Request::select(LEADS, &["name"]).where_(condition).ordered("created_at, name").counted(),
            )
            .await;
        }
        let with_journey = Request::select(WITH_JOURNEY, &["id", "name", "phone", "journey_stages"]);
        self.service("a lead with its journey", with_journey.where_(equals("id", lead))).await;
        // The newest 1,000 of everybody: only this run's are the same everywhere.
        let newest = Request::select(WITH_JOURNEY, &["name", "source", "journey_stages"]);
        let newest = newest.ordered("created_at DESC, name").page(1000, 0);
        let newest = self.http.answer(Role::Service, &newest).await;
        let rows = newest["rows"].as_array().unwrap();
        let ours: Vec<&Value> =
            rows.iter().filter(|row| row["source"].to_string().contains(self.tag)).collect();
        self.transcript.note("of this run among the newest", json!(ours));
    }

    /// What the public key and signed-in users may do, and what is refused.
    async fn visits_as_the_public(&mut self, lead: &str) {
        for role in [Role::Anon, Role::Authenticated] {
            let name = role.name();
            let body = json!({ "name": name, "email": self.email(name), "phone": self.phone(40), "source": format!("twland_{}", self.tag) });
            self.calls(&format!("{name}: a lead"), role, Request::insert(LEADS, body.clone())).await;
            self.calls(
                &format!("{name}: a lead, read back"),
                role,
                Request::insert(LEADS, body).returning(&["id"]),
            )
            .await;
            self.calls(
                &format!("{name}: reads leads"),
                role,
                Request::select(LEADS, LEAD).page(10, 0).counted(),
            )
            .await;
            self.calls(
                &format!("{name}: reads the journey"),
                role,
                Request::select(self.code.journey, &["id"]).counted(),
            )
            .await;
            let entry = json!({ "lead_id": lead, "stage": "payment_card" });
            self.calls(&format!("{name}: a journey entry"), role, Request::insert(self.code.journey, entry))
                .await;
            let renamed = Request::update(LEADS, json!({ "name": "stolen" }))
                .where_(equals("id", lead))
                .returning(&["id"]);
            self.calls(&format!("{name}: renames a lead"), role, renamed).await;
            let lost = Request::delete(LEADS).where_(equals("id", lead)).returning(&["id"]);
            self.calls(&format!("{name}: deletes a lead"), role, lost).await;
            let id = self.id(50 + role as u32);
            let body = json!({ "id": id, "lead_id": lead, "notification_type": "sms", "scheduled_for": "2099-01-01T00:00:00Z" });
            let made = Request::insert(NOTIFICATIONS, body).returning(&["id", "status"]);
            self.calls(&format!("{name}: a notification"), role, made).await;
            let own = Request::select(NOTIFICATIONS, &["id", "notification_type"])
                .where_(equals("lead_id", lead))
                .ordered("id");
            self.calls(&format!("{name}: reads notifications"), role, own).await;
        }
        let known = Request::select(LEADS, &["name", "source"])
            .where_(compared("email", "LIKE", &format!("an%.{}@%", self.tag)))
            .ordered("created_at");
        self.service("what the public has left", known).await;
    }

    async fn deletes(&mut self, other: &str) {
        let entry = json!({ "lead_id": other, "stage": "expresscourse_clicked" });
        self.service(
            "a journey entry of the other lead",
            Request::insert(self.code.journey, entry).returning(&["stage"]),
        )
        .await;
        let lost = Request::delete(LEADS).where_(equals("id", other)).returning(&["id", "name"]);
        self.service("a lead is deleted", lost).await;
        let gone = Request::select(self.code.journey, &["id"]).where_(equals("lead_id", other)).counted();
        self.service("the journey of the deleted lead", gone).await;
        let again = Request::delete(LEADS).where_(equals("id", other)).returning(&["id"]);
        self.service("a lead is deleted again", again).await;
    }
}
