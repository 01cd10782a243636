//! A lead is found by id, phone and e-mail, on either side and in quarantine.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;

use super::{LEAD, explained, lead, streaming};
use crate::testkit::{said_of, traffic};

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_is_found_by_its_phone_in_any_form_its_email_its_id_and_a_journey_entrys_id() {
    let (world, bridge, _daemon) = streaming("").await;
    for asked in [
        &["+77011234567"][..],
        &["+7 (701) 123-45-67"],
        &["+7", "701", "1234567"],
        &["Lead@example.kz"],
        &[LEAD],
        &["c0ffee00-0000-4000-8000-0000000000a2"],
    ] {
        assert_eq!(lead(&bridge, asked, 0, "equal").await["id"], LEAD, "{asked:?}");
    }
    // A lead of Traffic's own without phone_normalized is found by its phone, too.
    let own = "INSERT INTO traffic_leads (name, phone) VALUES ('own', '8 (702) 1'); UPDATE traffic_leads SET phone_normalized = NULL WHERE name = 'own'";
    traffic(&world, own).await;
    lead(&bridge, &["87021"], 0, "traffic_only").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_guessed_and_nothing_found_says_how_it_was_compared() {
    let (_world, bridge, _daemon) = streaming("").await;
    for (asked, hint) in [
        ("87011234567", "compared by their digits"),
        ("lead@example.kz", "exact spelling"),
        ("c0ffee00-0000-4000-8000-00000000ffff", "no lead with this id"),
    ] {
        let (code, document) = explained(&bridge, &[asked]).await;
        assert_eq!((code, document["leads"].as_array().unwrap().len()), (1, 0), "{document:#}");
        let said = bridge.run(&["explain", asked]).await;
        assert!(said.out.contains(hint) && said.code == 1, "{}", said.out);
    }
    let said = bridge.run(&["explain", "c0ffee00-oops"]).await;
    assert_eq!((said.code, said.out.is_empty()), (64, true), "{}", said.err);
    assert!(!said.err.contains("oops"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_leads_with_one_phone_are_listed_with_their_verdicts_the_oldest_first() {
    let newer = "c0ffee00-0000-4000-8000-000000000009";
    let more = format!(
        "INSERT INTO landing_leads (id, name, phone, created_at)
         VALUES ('{newer}', 'n', '+7701-1234567', now() + interval '1 day')"
    );
    let (world, bridge, _daemon) = streaming(&more).await;
    let damage = format!(
        "SET session_replication_role = replica; UPDATE traffic_leads SET name = 'd' WHERE id = '{newer}'"
    );
    traffic(&world, &damage).await;
    let (code, document) = explained(&bridge, &["+77011234567"]).await;
    let leads = document["leads"].as_array().unwrap();
    let found: Vec<_> = leads.iter().map(|lead| (&lead["id"], &lead["verdict"])).collect();
    assert_eq!(found, [(&LEAD.into(), &"equal".into()), (&newer.into(), &"different".into())]);
    assert_eq!(code, 1, "one of them differs");
    let said = bridge.run(&["explain", "--wait", "30s", "+77011234567"]).await;
    assert!(said.out.contains("2 leads match") && said.out.contains(newer), "{}", said.out);
    assert!(said.out.contains("leadbridge explain ID"), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_may_come_from_stdin_and_stands_in_no_list_of_processes() {
    let (_world, bridge, _daemon) = streaming("").await;
    let mut command = bridge.command(&["explain", "--json", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"+7 (701) 123-45-67\n").await.unwrap();
    let said = said_of(child.wait_with_output().await.unwrap());
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains(LEAD), "{}", said.out);
}
