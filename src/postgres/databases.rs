//! One database, or both, with the names of the objects in them: the first parameter of whatever asks a
//! database.

use std::borrow::Cow;

use tokio_postgres::Client;

use super::step::{Step, during};
use crate::model::change::Table;
use crate::model::names::Names;
use crate::model::side::Side;

/// A connection to one side, and the names of the objects there.
#[derive(Clone, Copy)]
pub struct Database<'d> {
    pub client: &'d Client,
    pub side: Side,
    pub names: &'d Names,
}

impl<'d> Database<'d> {
    pub fn landing(client: &'d Client, names: &'d Names) -> Self {
        Database { client, side: Side::Landing, names }
    }

    pub fn traffic(client: &'d Client, names: &'d Names) -> Self {
        Database { client, side: Side::Traffic, names }
    }

    /// Begins a step. `step` names the action, and the side where the action does not tell.
    pub fn during(&self, step: impl Into<Cow<'d, str>>) -> Step<'d> {
        during(self.client, step)
    }

    /// The qualified and quoted name of a replicated table on this side.
    pub fn table(&self, table: Table) -> String {
        match self.side {
            Side::Landing => self.names.landing_table(table),
            Side::Traffic => self.names.traffic_table(table),
        }
    }
}

/// A connection to each side, and the names of the objects there.
#[derive(Clone, Copy)]
pub struct Databases<'d> {
    pub landing: &'d Client,
    pub traffic: &'d Client,
    pub names: &'d Names,
}

impl<'d> Databases<'d> {
    pub fn on(&self, side: Side) -> Database<'d> {
        let client = match side {
            Side::Landing => self.landing,
            Side::Traffic => self.traffic,
        };
        Database { client, side, names: self.names }
    }
}
