//! What a dashboard asks, as SQL over the five views. `make bench` measures each question, and the tests compare its
//! answer with the answer of the views' rules as they are spelt (`literal_views.sql`).

/// A question, with the longest time that its answer may take.
pub struct Question {
    pub name: &'static str,
    /// Milliseconds; `None` where no goal was set.
    pub goal: Option<u32>,
    pub sql: &'static str,
    /// The same question as somebody who knows `postgres_fdw` well writes it, without a view: filters that can be sent
    /// to Landing, and joins of sets. `None` where the question over the views is that already.
    pub by_hand: Option<&'static str>,
}

/// A month, a day and a quarter of `landing.sql`'s year. Team 1 has half of all leads, Team 6 a lead in a thousand.
pub const QUESTIONS: [Question; 9] = [
    Question {
        name: "newest 100 leads of a month and a common team, with journey",
        goal: Some(50),
        sql: "SELECT id, name, phone, created_at, journey_stages, targetologist_name, targetologist_team, attributed_utm_source
              FROM v_traffic_leads_with_journey
              WHERE created_at >= '2026-10-01' AND created_at < '2026-11-01' AND targetologist_team = 'Team 1'
              ORDER BY created_at DESC LIMIT 100",
        by_hand: Some(
            "SELECT l.id, l.name, l.phone, l.created_at, coalesce(j.stages, '[]') AS journey_stages, l.full_name, l.team_name,
                    l.attributed
             FROM (SELECT * FROM (
                       SELECT DISTINCT ON (l.id) l.*, u.full_name, u.team_name, b.utm_source AS attributed
                       FROM leads_of_landing AS l
                       LEFT JOIN (traffic_user_utm_sources AS b JOIN traffic_users AS u
                                  ON u.id = b.user_id AND b.is_active AND u.is_active)
                           ON lower(b.utm_source) = lower(l.utm_source) AND b.funnel_type = l.funnel_type
                       WHERE l.created_at >= '2026-10-01' AND l.created_at < '2026-11-01'
                       ORDER BY l.id, b.utm_source = l.utm_source DESC, b.utm_source COLLATE \"C\") AS l
                   WHERE team_name = 'Team 1' ORDER BY created_at DESC LIMIT 100) AS l
             LEFT JOIN LATERAL (
                 SELECT jsonb_agg(jsonb_build_object('id', j.id, 'stage', j.stage, 'source', j.source, 'metadata',
                            j.metadata, 'created_at', j.created_at) ORDER BY j.created_at, j.id) AS stages
                 FROM journey_stages AS j WHERE j.lead_id = l.id) AS j ON true
             ORDER BY l.created_at DESC",
        ),
    },
    Question {
        name: "newest 100 leads of a quarter and a rare team, with journey",
        goal: Some(50),
        sql: "SELECT id, name, phone, created_at, journey_stages, targetologist_name, targetologist_team, attributed_utm_source
              FROM v_traffic_leads_with_journey
              WHERE created_at >= '2026-09-01' AND created_at < '2026-12-01' AND targetologist_team = 'Team 6'
              ORDER BY created_at DESC LIMIT 100",
        by_hand: None,
    },
    Question {
        name: "attribution of a day's leads",
        goal: Some(10),
        sql: "SELECT id, targetologist_id, targetologist_name, targetologist_team, attributed_utm_source
              FROM v_traffic_leads_with_journey
              WHERE created_at >= '2026-10-15' AND created_at < '2026-10-16' ORDER BY id",
        by_hand: Some(
            "SELECT DISTINCT ON (l.id) l.id, u.id AS user_id, u.full_name, u.team_name, b.utm_source
             FROM leads_of_landing AS l
             LEFT JOIN (traffic_user_utm_sources AS b JOIN traffic_users AS u
                        ON u.id = b.user_id AND b.is_active AND u.is_active)
                 ON lower(b.utm_source) = lower(l.utm_source) AND b.funnel_type = l.funnel_type
             WHERE l.created_at >= '2026-10-15' AND l.created_at < '2026-10-16'
             ORDER BY l.id, b.utm_source = l.utm_source DESC, b.utm_source COLLATE \"C\"",
        ),
    },
    Question {
        name: "targetologists of a day",
        goal: Some(10),
        sql: "SELECT targetologist, team_name, utm_source, funnel_type, leads_count FROM v_leads_by_targetologist_daily
              WHERE date = '2026-10-15' ORDER BY targetologist, utm_source COLLATE \"C\", funnel_type",
        by_hand: None,
    },
    Question {
        name: "team totals of a month",
        goal: Some(50),
        sql: "SELECT team_name, sum(leads_count) AS leads FROM v_leads_by_team_daily
              WHERE date BETWEEN '2026-10-01' AND '2026-10-31' GROUP BY team_name ORDER BY team_name",
        by_hand: Some(
            "SELECT coalesce(team_name, 'Unassigned') AS team_name, count(*) AS leads
             FROM (SELECT DISTINCT ON (l.id) u.team_name
                   FROM leads_of_landing AS l
                   LEFT JOIN (traffic_user_utm_sources AS b JOIN traffic_users AS u
                              ON u.id = b.user_id AND b.is_active AND u.is_active)
                       ON lower(b.utm_source) = lower(l.utm_source) AND b.funnel_type = l.funnel_type
                   WHERE l.created_at >= '2026-10-01' AND l.created_at < '2026-11-01'
                   ORDER BY l.id, b.utm_source = l.utm_source DESC, b.utm_source COLLATE \"C\") AS l
             GROUP BY 1 ORDER BY 1",
        ),
    },
    Question {
        name: "top sources of a month",
        goal: Some(50),
        sql: "SELECT utm_source, funnel_type, sum(leads_count) AS leads FROM v_leads_by_targetologist_daily
              WHERE date BETWEEN '2026-10-01' AND '2026-10-31'
              GROUP BY utm_source, funnel_type ORDER BY leads DESC, utm_source COLLATE \"C\", funnel_type LIMIT 20",
        by_hand: None,
    },
    Question {
        name: "last stages of a month's leads",
        goal: Some(50),
        sql: "SELECT s.last_stage, count(*) AS leads
              FROM v_traffic_leads_last_stage AS s JOIN {{leads}} AS l ON l.id = s.lead_id
              WHERE l.created_at >= '2026-10-01' AND l.created_at < '2026-11-01' GROUP BY 1 ORDER BY 1",
        by_hand: Some(
            "SELECT stage, count(*) AS leads
             FROM (SELECT DISTINCT ON (j.lead_id) j.stage
                   FROM journey_stages AS j JOIN landing_leads AS l ON l.id = j.lead_id
                   WHERE l.created_at >= '2026-10-01' AND l.created_at < '2026-11-01'
                   ORDER BY j.lead_id, j.created_at DESC, j.id DESC) AS latest
             GROUP BY 1 ORDER BY 1",
        ),
    },
    Question {
        name: "top sources of all time",
        goal: None,
        sql: "SELECT * FROM v_top_utm_sources_by_leads ORDER BY total_leads DESC, utm_source COLLATE \"C\", funnel_type LIMIT 20",
        by_hand: None,
    },
    Question {
        name: "last stages of all leads",
        goal: None,
        sql: "SELECT last_stage, count(*) AS leads FROM v_traffic_leads_last_stage GROUP BY 1 ORDER BY 1",
        by_hand: None,
    },
];
