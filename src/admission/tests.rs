use super::*;

/// Facts of a side as `leadbridge migrate` and the school's own SQL leave the tables, as far as the judgement
/// looks.
fn good(side: Side) -> Facts {
    let tables = Table::replicated(false);
    let column = |name: &str, type_oid: u32| ColumnFacts {
        name: name.to_owned(),
        type_oid,
        type_name: "its own".to_owned(),
        type_kind: "b".to_owned(),
        precision: None,
        is_not_null: name == "id",
        is_generated: false,
        is_always_identity: false,
    };
    let columns = |table: Table| match side {
        Side::Landing => {
            table.columns().iter().map(|known| column(&known.name, known.kind.accepted()[0].0)).collect()
        }
        Side::Traffic => columns::written(table)
            .into_iter()
            .map(|(name, kind)| match name {
                "amocrm_lead_id" | "amocrm_contact_id" => column(name, 20),
                _ => column(name, kind.accepted()[0].0),
            })
            .collect(),
    };
    let shape = |(position, table): (usize, &Table)| TableFacts {
        position,
        kind: "r".to_owned(),
        persistence: "p".to_owned(),
        is_partition: false,
        access_method: Some("heap".to_owned()),
        identity: "d".to_owned(),
        parents: Vec::new(),
        children: Vec::new(),
        rules: Vec::new(),
        subscriptions: Vec::new(),
        triggers: Vec::new(),
        columns: columns(*table),
        indexes: vec![index("pkey", &["id"], true)],
    };
    let lead = key("lead_fkey", Some(1), &["lead_id"], Some(0), &["id"]);
    Facts { version: 150_000, tables: tables.iter().enumerate().map(shape).collect(), references: vec![lead] }
}

fn index(name: &str, key: &[&str], is_primary: bool) -> IndexFacts {
    IndexFacts {
        name: name.to_owned(),
        is_unique: true,
        is_exclusion: false,
        is_primary,
        is_identity: false,
        is_immediate: true,
        is_valid: true,
        is_partial: false,
        key: key.iter().map(|column| Some((*column).to_owned())).collect(),
    }
}

fn key(
    name: &str,
    from: Option<usize>,
    columns: &[&str],
    to: Option<usize>,
    referred: &[&str],
) -> ForeignKey {
    let owned = |columns: &[&str]| columns.iter().map(|column| (*column).to_owned()).collect();
    ForeignKey {
        name: name.to_owned(),
        from: "public.referring".to_owned(),
        from_table: from,
        from_columns: owned(columns),
        to: "public.referred".to_owned(),
        to_table: to,
        to_columns: owned(referred),
        on_delete: "c".to_owned(),
        on_update: "a".to_owned(),
        is_enforced: true,
        is_disabled: false,
    }
}

fn judged(side: Side, facts: &Facts) -> Vec<Unfit> {
    judged_to(side, facts, Extent::Whole)
}

fn judged_to(side: Side, facts: &Facts, extent: Extent) -> Vec<Unfit> {
    AdmissionScope { side, names: &Names::default(), tables: &Table::replicated(false), extent }.judge(facts)
}

fn changed(side: Side, change: impl Fn(&mut Facts)) -> Vec<(&'static str, Bars)> {
    let mut facts = good(side);
    change(&mut facts);
    let found = judged(side, &facts);
    assert!(found.iter().all(|unfit| !unfit.remedy.to_string().is_empty()), "{found:?}");
    found.iter().map(|unfit| (unfit.check, unfit.bars)).collect()
}

#[test]
fn the_tables_of_the_contract_are_admitted() {
    for side in [Side::Landing, Side::Traffic] {
        assert_eq!(judged(side, &good(side)), []);
    }
}

type Change<'c> = &'c dyn Fn(&mut Facts);

#[test]
fn each_shape_that_is_not_on_the_list_is_found_by_its_own_check_on_either_side() {
    let cases: [(&str, Change<'_>); 12] = [
        ("tables", &|facts| facts.tables[1].kind = "v".into()),
        ("tables", &|facts| facts.tables[0].persistence = "u".into()),
        ("tables", &|facts| facts.tables[0].access_method = Some("columnar".into())),
        ("tables", &|facts| facts.tables[0].parents.push("public.p".into())),
        ("tables", &|facts| facts.tables[0].children.push("public.c".into())),
        ("tables", &|facts| drop(facts.tables.remove(1))),
        ("columns", &|facts| facts.tables[1].columns.retain(|column| column.name != "stage")),
        ("columns", &|facts| facts.tables[0].columns[2].type_oid = 99_999),
        ("columns", &|facts| facts.tables[0].columns[2].is_generated = true),
        ("replica_identity", &|facts| facts.tables[0].identity = "n".into()),
        ("replica_identity", &|facts| facts.tables[0].identity = "i".into()),
        ("keys", &|facts| {
            facts.tables[0].indexes = vec![index("pair", &["id", "created_at"], true)];
            facts.tables[0].columns.iter_mut().for_each(|column| column.is_not_null = true);
        }),
    ];
    for side in [Side::Landing, Side::Traffic] {
        for (check, change) in cases {
            assert_eq!(changed(side, change), [(check, Bars::Replication)], "{side}");
        }
    }
}

#[test]
fn what_only_reverse_replication_writes_to_bars_on_landing_from_a_cutover_on() {
    let cases: [(&str, Change<'_>); 5] = [
        ("tables", &|facts| facts.tables[0].rules.push("rule".into())),
        ("keys", &|facts| {
            let deferrable = IndexFacts { is_immediate: false, ..index("mail", &["email"], false) };
            facts.tables[0].indexes.push(deferrable);
        }),
        ("columns", &|facts| facts.tables[0].columns[1].is_always_identity = true),
        ("references", &|facts| {
            facts.references.push(key("pair", None, &["a", "b"], Some(0), &["id", "email"]))
        }),
        ("references", &|facts| facts.references.push(key("of", Some(0), &["source"], None, &["name"]))),
    ];
    for (check, change) in cases {
        assert_eq!(changed(Side::Landing, change), [(check, Bars::Cutover)]);
        assert_eq!(changed(Side::Traffic, change), [(check, Bars::Replication)]);
    }
    let subscribed: Change<'_> = &|facts| facts.tables[0].subscriptions.push("feed".into());
    assert_eq!(changed(Side::Traffic, subscribed), [("tables", Bars::Cutover)]);
}

#[test]
fn an_identity_with_a_generated_column_is_refused_from_the_version_on_that_refuses_the_updates() {
    for (version, found) in [(170_000, &[][..]), (180_000, &[("replica_identity", Bars::Replication)])] {
        let change = |facts: &mut Facts| {
            facts.version = version;
            facts.tables[0].identity = "f".into();
            let generated =
                facts.tables[0].columns.iter_mut().find(|column| column.name == "phone_normalized");
            generated.unwrap().is_generated = true;
        };
        assert_eq!(changed(Side::Landing, change), found, "{version}");
    }
}

#[test]
fn journeys_need_a_foreign_key_to_their_lead_that_acts_on_landing_only() {
    let missing: Change<'_> = &|facts| facts.references.clear();
    assert_eq!(changed(Side::Landing, missing), [("references", Bars::Replication)]);
    assert_eq!(changed(Side::Traffic, missing), []);
    let not_enforced: Change<'_> = &|facts| facts.references[0].is_enforced = false;
    assert_eq!(changed(Side::Landing, not_enforced), [("references", Bars::Replication)]);
}

#[test]
fn before_a_migration_what_it_makes_may_be_missing_and_the_leads_may_not() {
    let mut facts = good(Side::Traffic);
    facts.tables.remove(1);
    facts.tables[0].columns.retain(|column| column.name != "landing_source");
    let judged = |facts: &Facts| judged_to(Side::Traffic, facts, Extent::BeforeMigrate);
    assert_eq!(judged(&facts), []);
    facts.tables.clear();
    assert_eq!(judged(&facts).len(), 1);
}

#[test]
fn a_refusal_names_the_first_object_and_counts_the_others() {
    let mut facts = good(Side::Landing);
    facts.tables[0].children = vec!["public.a".into(), "public.b".into()];
    facts.tables[0].rules = vec!["rule".into()];
    let unfit = judged(Side::Landing, &facts);
    let error = refusal(Side::Landing, &unfit, Bars::Replication).unwrap();
    assert!(error.message().contains("public.a") && error.message().contains("1 more"), "{error}");
    let error = refusal(Side::Landing, &unfit, Bars::Cutover).unwrap();
    assert!(error.message().contains("2 more"), "{error}");
}

#[test]
fn foreign_keys_by_whose_actions_others_reach_the_tables_are_named() {
    let mut facts = good(Side::Landing);
    facts.references.push(key("of_course", Some(0), &["course"], None, &["id"]));
    facts
        .references
        .push(ForeignKey { on_delete: "a".into(), ..key("quiet", Some(0), &["x"], None, &["id"]) });
    facts.references.push(key("links", None, &["lead"], Some(0), &["id"]));
    let reached = reached_by_others(&facts);
    let reached: Vec<String> = reached.iter().map(ToString::to_string).collect();
    assert_eq!(reached, ["deletes in public.referred reach public.referring by of_course"]);
}
