//! The comparison of both sides: what Traffic lets a role do beyond Landing; pure.

use super::Comparison;
use super::facts::{Command, FunctionFacts, Grant, ObjectFacts, RoleFacts, SERVICE, TableFacts, ViewFacts};
use super::rights::{Right, right};
use crate::language::{Message, message};
use crate::model::change::Table;
use crate::model::side::Side;

/// What Traffic lets a role do that Landing does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excess {
    /// Traffic; Landing for a view there that shows what Landing's own tables hide.
    pub side: Side,
    pub standing: Standing,
    /// The entry of `[privacy] accept` for this role and object.
    pub entry: String,
    pub what: String,
    /// Statements that close the excess.
    pub closing: Vec<String>,
    /// Whether `leadbridge migrate --api-access` closes the excess.
    pub is_closed_by_migrate: bool,
}

/// What follows from an excess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No copy begins.
    Refused,
    /// The operator has accepted the excess in the configuration.
    Accepted,
    /// The role is the school's own servers', from which leadbridge takes nothing.
    Servers,
    /// The excess is on Landing already.
    OnLanding,
}

impl Excess {
    /// Advice to the operator; the statements stand at its end, ready to run.
    pub fn remedy(&self) -> Message {
        let closing = self.closing.join("; ");
        let close = match self.is_closed_by_migrate {
            true => message!("access-remedy-migrate-or-run", side = self.side, closing = &closing),
            false => message!("error-remedy-run-on", side = self.side, sql = &closing),
        };
        match self.standing {
            Standing::Refused => message!("access-remedy-refused", entry = &self.entry, close = close),
            Standing::Accepted => message!("access-remedy-accepted", entry = &self.entry, close = close),
            Standing::Servers => message!("access-remedy-servers", role = SERVICE, closing = closing),
            Standing::OnLanding => message!("access-remedy-on-landing", close = close),
        }
    }
}

/// An excess before its remedy is known.
pub(super) struct Found {
    pub side: Side,
    pub role: String,
    /// The object's part of an entry of `[privacy] accept`.
    pub object: String,
    pub what: String,
    pub place: Place,
}

/// The object of an excess.
pub(super) enum Place {
    Table(usize, Vec<Command>),
    /// A view by its quoted name, with its grants to the role.
    View(String, Vec<Grant>),
    OwnSchema,
    /// leadbridge's functions.
    Functions(Vec<String>),
}

impl Comparison<'_> {
    /// Every excess. An excess on Landing is there whatever Traffic does.
    pub fn judge(&self) -> Vec<Excess> {
        let left = self.after(&self.plan()).found();
        let stays = |found: &Found| {
            left.iter().any(|other| {
                (&other.role, &other.object, other.side) == (&found.role, &found.object, found.side)
            })
        };
        let excess = |found: Found| Excess {
            side: found.side,
            standing: self.standing(&found),
            entry: entry(&found.role, &found.object),
            closing: self.closing(&found),
            is_closed_by_migrate: found.side == Side::Traffic && !stays(&found),
            what: found.what,
        };
        self.found().into_iter().map(excess).collect()
    }

    fn standing(&self, found: &Found) -> Standing {
        match () {
            () if found.side == Side::Landing => Standing::OnLanding,
            () if self.accepts(&found.role, &found.object) => Standing::Accepted,
            () if found.role == SERVICE => Standing::Servers,
            () => Standing::Refused,
        }
    }

    /// Whether the operator has accepted every excess of the role on the object.
    pub(super) fn accepts(&self, role: &str, object: &str) -> bool {
        self.accept.contains(&entry(role, object))
    }

    pub(super) fn found(&self) -> Vec<Found> {
        let mut found = Vec::new();
        for role in &self.traffic.roles {
            for (position, &table) in self.tables.iter().enumerate() {
                found.extend(self.of_table(role, position, table));
            }
            found
                .extend(self.traffic.views.iter().filter_map(|view| self.of_view(Side::Traffic, role, view)));
            found.extend(self.of_own_schema(role));
            found.extend(self.of_functions(role));
        }
        for role in self.landing.roles.iter().filter(|role| role.name != SERVICE) {
            let of_view = |view| self.of_view(Side::Landing, role, view);
            found.extend(self.landing.views.iter().filter_map(of_view));
        }
        found
    }

    /// The right of a role on Landing; a role that does not exist there has none.
    pub(super) fn landing_right(&self, role: &str, position: usize, command: Command) -> Option<Right> {
        right(self.landing.table(position)?, self.landing.role(role)?, command)
    }

    /// Whether the right on Traffic, if there is one, is within the role's right on Landing.
    pub(super) fn is_within(&self, traffic: &TableFacts, role: &RoleFacts, command: Command) -> bool {
        let Some(right) = right(traffic, role, command) else { return true };
        let table = self.tables.get(traffic.position);
        let landing = self.landing_right(&role.name, traffic.position, command);
        table.zip(landing).is_some_and(|(table, landing)| right.is_within(&landing, *table))
    }

    fn of_table(&self, role: &RoleFacts, position: usize, table: Table) -> Option<Found> {
        let traffic = self.traffic.table(position)?;
        let beyond = |command: &Command| !self.is_within(traffic, role, *command);
        let commands: Vec<Command> = Command::ALL.into_iter().filter(beyond).collect();
        if commands.is_empty() {
            return None;
        }
        let rights = commands
            .iter()
            .filter_map(|&command| right(traffic, role, command).map(|right| right.describe(command)));
        Some(Found {
            side: Side::Traffic,
            role: role.name.clone(),
            object: table.traffic_name().to_owned(),
            what: format!(
                "{} has more rights on {} than on Landing's {}: {}",
                role.name,
                plain(&self.names.traffic_table(table)),
                plain(&self.names.landing_table(table)),
                rights.collect::<Vec<_>>().join(", ")
            ),
            place: Place::Table(position, commands),
        })
    }

    fn of_view(&self, side: Side, role: &RoleFacts, view: &ViewFacts) -> Option<Found> {
        let every: Vec<usize> = (0..self.tables.len()).collect();
        let below = if view.reads_own { &every } else { &view.tables };
        let is_whole = |position: &usize, command| {
            self.landing_right(&role.name, *position, command).is_some_and(|right| right.is_whole())
        };
        let beyond = |grant: &&Grant| {
            grant.role == role.name
                && !below.iter().all(|position| is_whole(position, grant.command))
                && !(side == Side::Traffic && self.is_public_on_landing_too(view, grant))
        };
        let grants: Vec<Grant> = view.object.grants.iter().filter(beyond).cloned().collect();
        if grants.is_empty() {
            return None;
        }
        let commands: Vec<&str> = grants.iter().map(|grant| grant.command.sql()).collect();
        let mut read: Vec<String> = view.tables.iter().filter_map(|at| self.name(side, *at)).collect();
        if view.reads_own {
            read.push(format!("the schema {}", self.names.schema));
        }
        let nature = match view.is_stored {
            true => "which holds a copy of rows of",
            false => "which runs with its owner's rights and so shows, past row-level security, rows of",
        };
        Some(Found {
            side,
            role: role.name.clone(),
            object: self.accepted_name(&view.object.schema, &view.object.relation),
            what: format!(
                "{} has {} on the view {}, {nature} {}",
                role.name,
                commands.join(", "),
                view.object.name,
                read.join(", ")
            ),
            place: Place::View(view.object.name.clone(), grants),
        })
    }

    fn name(&self, side: Side, position: usize) -> Option<String> {
        let table = *self.tables.get(position)?;
        Some(plain(&match side {
            Side::Landing => self.names.landing_table(table),
            Side::Traffic => self.names.traffic_table(table),
        }))
    }

    /// Whether Landing lets the role read every row of every replicated table.
    fn reads_everything(&self, role: &RoleFacts) -> bool {
        let whole = |position| {
            self.landing_right(&role.name, position, Command::Select).is_some_and(|right| right.is_whole())
        };
        (0..self.tables.len()).all(whole)
    }

    fn of_own_schema(&self, role: &RoleFacts) -> Option<Found> {
        let granted = |object: &&ObjectFacts| object.grants.iter().any(|grant| grant.role == role.name);
        let tables: Vec<&str> =
            self.traffic.own.iter().filter(granted).map(|object| object.relation.as_str()).collect();
        if tables.is_empty() || self.reads_everything(role) {
            return None;
        }
        let schema = &self.names.schema;
        Some(Found {
            side: Side::Traffic,
            role: role.name.clone(),
            object: schema.clone(),
            what: format!(
                "{} may use tables of the schema {schema}, where quarantined rows and originals of changed values are: {}",
                role.name,
                tables.join(", ")
            ),
            place: Place::OwnSchema,
        })
    }

    fn of_functions(&self, role: &RoleFacts) -> Option<Found> {
        if role.name == SERVICE {
            return None;
        }
        let may = |function: &&FunctionFacts| function.roles.contains(&role.name);
        let functions: Vec<String> =
            self.traffic.functions.iter().filter(may).map(|function| function.name.clone()).collect();
        (!functions.is_empty()).then(|| Found {
            side: Side::Traffic,
            role: role.name.clone(),
            object: self.names.schema.clone(),
            what: format!(
                "{} may execute functions of leadbridge that run with their owner's rights: {}",
                role.name,
                functions.join(", ")
            ),
            place: Place::Functions(functions),
        })
    }

    /// An object's name in `[privacy] accept`: without the schema in the schema of Traffic's tables.
    pub(super) fn accepted_name(&self, schema: &str, relation: &str) -> String {
        match schema == self.names.traffic_schema {
            true => relation.to_owned(),
            false => format!("{schema}.{relation}"),
        }
    }
}

fn entry(role: &str, object: &str) -> String {
    format!("{role}:{object}")
}

/// A quoted name for people.
pub(super) fn plain(quoted: &str) -> String {
    quoted.replace('"', "")
}
