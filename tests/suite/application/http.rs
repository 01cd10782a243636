//! The platform's HTTP layer: a request is one transaction, which takes the request's role and runs one prepared
//! statement, a CTE whose parameters are JSON and texts of unknown type.

use std::collections::HashMap;

use serde_json::{Value, json};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Error, Statement};

use super::relation;
use super::request::{Action, Condition, Embedded, Request};

/// A role of the API.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    Service,
    Authenticated,
    Anon,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Service => "service_role",
            Role::Authenticated => "authenticated",
            Role::Anon => "anon",
        }
    }
}

/// A value in PostgreSQL's text form; the server infers the parameter's type from its place.
#[derive(Debug)]
pub struct Text(pub String);

impl ToSql for Text {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut bytes::BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// One connection of the HTTP layer's pool, under the role that may become any role of the API.
pub struct Http {
    client: Client,
    /// Statements of earlier requests, whatever role they had.
    prepared: HashMap<String, Statement>,
}

/// Makes the HTTP layer's login role on a server.
pub const AUTHENTICATOR: &str = "CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD 'authenticator';
    GRANT anon, authenticated, service_role TO authenticator";

impl Http {
    /// `url` names a database in which [`AUTHENTICATOR`] has been run.
    pub async fn connect(url: &str) -> Http {
        let client = leadbridge::throwaway::connect(url).await.unwrap();
        Http { client, prepared: HashMap::new() }
    }

    /// The database's clock, as JSON has times.
    pub async fn clock(&self) -> String {
        let sql = "SELECT pg_catalog.to_json(pg_catalog.now()) #>> '{}'";
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// The answer: `rows` (the scalar of a function), and `total` where an exact count is asked for; or `error`, a SQLSTATE.
    pub async fn answer(&mut self, role: Role, request: &Request) -> Value {
        let mut parameters = Vec::new();
        let Some(sql) = self.statement(request, &mut parameters).await else {
            return json!({ "error": "no such relation" });
        };
        match self.transaction(role, &sql, parameters, request.reads()).await {
            Ok(answer) => answer,
            Err(error) => {
                self.client.batch_execute("ROLLBACK").await.unwrap();
                let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
                println!("{}: {}", role.name(), error.message());
                json!({ "error": error.code().code() })
            }
        }
    }

    async fn transaction(
        &mut self,
        role: Role,
        sql: &str,
        parameters: Vec<Text>,
        is_reading: bool,
    ) -> Result<Value, Error> {
        let access = if is_reading { "READ ONLY" } else { "READ WRITE" };
        self.client.batch_execute(&format!("BEGIN ISOLATION LEVEL READ COMMITTED {access}")).await?;
        let claims = json!({ "role": role.name() }).to_string();
        let settings = "SELECT set_config('search_path', '\"public\", \"extensions\"', true), set_config('role', $1, true), \
                        set_config('request.jwt.claims', $2, true), set_config('request.method', $3, true)";
        let settings = self.prepared(settings).await?;
        let method = if is_reading { "GET" } else { "POST" };
        self.client.query_one(&settings, &[&role.name(), &claims, &method]).await?;
        let statement = self.prepared(sql).await?;
        let parameters: Vec<&(dyn ToSql + Sync)> =
            parameters.iter().map(|text| text as &(dyn ToSql + Sync)).collect();
        let row = self.client.query_one(&statement, &parameters).await?;
        self.client.batch_execute("COMMIT").await?;
        let mut answer = json!({ "rows": serde_json::from_str::<Value>(row.get("body")).unwrap() });
        if let Some(total) = row.get::<_, Option<i64>>("total_result_set") {
            answer["total"] = json!(total);
        }
        Ok(answer)
    }

    async fn prepared(&mut self, sql: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// The statement of a request; `None` where the relation of an embedding is not found.
    async fn statement(&self, request: &Request, parameters: &mut Vec<Text>) -> Option<String> {
        let target = format!("\"public\".\"{}\"", request.target);
        let mutation = match &request.action {
            Action::Select { .. } => return self.reading(request, &target, parameters).await,
            Action::Call { arguments } => return Some(self.call(request, arguments, parameters).await),
            Action::Insert { body, conflict } => {
                let columns = keys(body);
                let assignments = |column: &String| format!("\"{column}\" = EXCLUDED.\"{column}\"");
                let resolution = conflict.map_or_else(String::new, |target| {
                    let all: Vec<String> = columns.iter().map(assignments).collect();
                    format!(" ON CONFLICT(\"{target}\") DO UPDATE SET {}", all.join(", "))
                });
                let names = quoted(&columns);
                let given = self.body(request.target, body, parameters).await;
                let values: Vec<String> = columns.iter().map(|name| format!("body.\"{name}\"")).collect();
                format!("INSERT INTO {target}({names}) SELECT {} {given}{resolution}", values.join(", "))
            }
            Action::Update { body } => {
                let set: Vec<String> =
                    keys(body).iter().map(|name| format!("\"{name}\" = body.\"{name}\"")).collect();
                let given = self.body(request.target, body, parameters).await;
                format!(
                    "UPDATE {target} SET {} {given}{}",
                    set.join(", "),
                    filter(request, &target, parameters)
                )
            }
            Action::Delete => format!("DELETE FROM {target}{}", filter(request, &target, parameters)),
        };
        let returning = match request.columns {
            [] => "1".to_owned(),
            columns => columns.iter().map(|name| column(&target, name)).collect::<Vec<_>>().join(", "),
        };
        Some(format!(
            "WITH source AS ({mutation} RETURNING {returning}) \
             SELECT NULL::bigint AS total_result_set, pg_catalog.count(answer) AS page_total, {} AS body \
             FROM (SELECT * FROM source) AS answer",
            if request.columns.is_empty() { "'[]'" } else { "coalesce(json_agg(answer), '[]')::text" }
        ))
    }

    async fn reading(&self, request: &Request, target: &str, parameters: &mut Vec<Text>) -> Option<String> {
        let Action::Select { order, limit, offset, counted, embedded } = &request.action else { return None };
        let mut columns: Vec<String> = request.columns.iter().map(|name| column(target, name)).collect();
        let mut join = String::new();
        if let Some(Embedded { parent, columns: of_parent }) = embedded {
            let (child_column, parent_column) =
                relation::between(&self.client, request.target, parent).await?;
            let inner: Vec<String> = of_parent.iter().map(|name| column("embedded", name)).collect();
            join = format!(
                " LEFT JOIN LATERAL (SELECT {} FROM \"public\".\"{parent}\" AS embedded \
                 WHERE embedded.\"{parent_column}\" = {target}.\"{child_column}\") AS joined ON TRUE",
                inner.join(", ")
            );
            columns.push(format!("row_to_json(joined.*) AS \"{parent}\""));
        }
        let wanted = filter(request, target, parameters);
        let order = order.map_or_else(String::new, |order| format!(" ORDER BY {order}"));
        let limit = limit.map_or_else(String::new, |limit| format!(" LIMIT {limit} OFFSET {offset}"));
        let (counting, total) = match counted {
            // The count has the same filter, so its parameters are the same.
            true => (
                format!(", source_count AS (SELECT 1 FROM {target}{wanted})"),
                "(SELECT pg_catalog.count(*) FROM source_count)",
            ),
            false => (String::new(), "NULL::bigint"),
        };
        Some(format!(
            "WITH source AS (SELECT {} FROM {target}{join}{wanted}{order}{limit}){counting} \
             SELECT {total} AS total_result_set, pg_catalog.count(answer) AS page_total, \
             coalesce(json_agg(answer), '[]')::text AS body FROM (SELECT * FROM source) AS answer",
            columns.join(", ")
        ))
    }

    /// The payload as a row source `body`, each column in the type that the catalog names.
    async fn body(&self, table: &str, body: &Value, parameters: &mut Vec<Text>) -> String {
        let sql =
            "SELECT attname::text, pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute
                   WHERE attrelid = pg_catalog.to_regclass($1) AND attnum > 0 AND NOT attisdropped";
        let known = self.client.query(sql, &[&format!("public.{table}")]).await.unwrap();
        let types: HashMap<String, String> = known.iter().map(|row| (row.get(0), row.get(1))).collect();
        row_source(body, &types, parameters)
    }

    async fn call(&self, request: &Request, arguments: &Value, parameters: &mut Vec<Text>) -> String {
        let names = keys(arguments);
        // The function is found by the names of its parameters, of which those with a default may be absent.
        let sql = "SELECT p.proargnames::text[], ARRAY(SELECT pg_catalog.format_type(t, NULL)
                       FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY AS u (t, n) ORDER BY n)
                   FROM pg_catalog.pg_proc AS p
                   WHERE p.pronamespace = 'public'::regnamespace AND p.proname = $1 AND p.proargnames @> $2
                     AND p.proargnames[1 : p.pronargs - p.pronargdefaults] <@ $2";
        let found = self.client.query(sql, &[&request.target, &names]).await.unwrap();
        let [function] = found.as_slice() else { panic!("{} functions {}", found.len(), request.target) };
        let types: HashMap<String, String> =
            function.get::<_, Vec<String>>(0).into_iter().zip(function.get::<_, Vec<String>>(1)).collect();
        let given = row_source(arguments, &types, parameters);
        let named: Vec<String> = names.iter().map(|name| format!("\"{name}\" := body.\"{name}\"")).collect();
        format!(
            "WITH source AS (SELECT called.scalar {given}, LATERAL (SELECT \"public\".\"{}\"({}) AS scalar) AS called) \
             SELECT NULL::bigint AS total_result_set, pg_catalog.count(answer) AS page_total, \
             coalesce(json_agg(answer.scalar) -> 0, 'null')::text AS body FROM (SELECT * FROM source) AS answer",
            request.target,
            named.join(", ")
        )
    }
}

fn row_source(body: &Value, types: &HashMap<String, String>, parameters: &mut Vec<Text>) -> String {
    let columns = keys(body);
    let typed: Vec<String> = columns
        .iter()
        .map(|name| {
            let kind = types.get(name).unwrap_or_else(|| panic!("no column or parameter {name}"));
            format!("\"{name}\" {kind}")
        })
        .collect();
    parameters.push(Text(body.to_string()));
    let record = if body.is_array() { "json_to_recordset" } else { "json_to_record" };
    format!(
        "FROM (SELECT ${}::json AS json_data) AS payload, \
         LATERAL (SELECT {} FROM {record}(payload.json_data) AS _({})) AS body",
        parameters.len(),
        quoted(&columns),
        typed.join(", ")
    )
}

/// The keys of an object, or of the first object of an array.
fn keys(body: &Value) -> Vec<String> {
    let object = body.as_array().map_or(body, |rows| &rows[0]);
    object.as_object().unwrap().keys().cloned().collect()
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn column(target: &str, name: &str) -> String {
    if name == "*" { format!("{target}.*") } else { format!("{target}.\"{name}\"") }
}

fn filter(request: &Request, target: &str, parameters: &mut Vec<Text>) -> String {
    match &request.filter {
        Some(condition) => format!(" WHERE {}", rendered(condition, target, parameters)),
        None => String::new(),
    }
}

fn rendered(condition: &Condition, target: &str, parameters: &mut Vec<Text>) -> String {
    let mut parameter = |text: &str| {
        parameters.push(Text(text.to_owned()));
        format!("${}", parameters.len())
    };
    match condition {
        Condition::Compared(name, operator, value) => {
            format!("{} {operator} {}", column(target, name), parameter(value))
        }
        Condition::In(name, values) => {
            let list: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
            format!("{} = ANY ({})", column(target, name), parameter(&format!("{{{}}}", list.join(","))))
        }
        Condition::Is(name, what) => format!("{} IS {what}", column(target, name)),
        Condition::Any(conditions) | Condition::All(conditions) => {
            let word = if matches!(condition, Condition::Any(_)) { " OR " } else { " AND " };
            let each: Vec<String> =
                conditions.iter().map(|inner| rendered(inner, target, parameters)).collect();
            format!("({})", each.join(word))
        }
    }
}
