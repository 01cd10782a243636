//! Requests to the HTTP layer, in the words of its clients.

use serde_json::Value;

#[derive(Debug)]
pub enum Action {
    Select {
        order: Option<&'static str>,
        limit: Option<u32>,
        offset: u32,
        counted: bool,
        embedded: Option<Embedded>,
    },
    Insert {
        body: Value,
        /// The column by which an existing row is found and updated.
        conflict: Option<&'static str>,
    },
    Update {
        body: Value,
    },
    Delete,
    Call {
        arguments: Value,
    },
}

/// The row that a foreign key of the selected row refers to.
#[derive(Debug)]
pub struct Embedded {
    pub parent: &'static str,
    pub columns: &'static [&'static str],
}

#[derive(Debug)]
pub enum Condition {
    Compared(&'static str, &'static str, String),
    In(&'static str, Vec<String>),
    /// `IS`, with `NULL`, `NOT NULL`, `TRUE` or `FALSE`.
    Is(&'static str, &'static str),
    Any(Vec<Condition>),
    All(Vec<Condition>),
}

pub fn equals(column: &'static str, value: &str) -> Condition {
    compared(column, "=", value)
}

pub fn compared(column: &'static str, operator: &'static str, value: &str) -> Condition {
    Condition::Compared(column, operator, value.to_owned())
}

#[derive(Debug)]
pub struct Request {
    pub target: &'static str,
    pub action: Action,
    pub filter: Option<Condition>,
    /// The columns of the answer. A write without columns asks for no representation.
    pub columns: &'static [&'static str],
}

impl Request {
    fn of(target: &'static str, action: Action) -> Request {
        Request { target, action, filter: None, columns: &[] }
    }

    pub fn select(target: &'static str, columns: &'static [&'static str]) -> Request {
        let action = Action::Select { order: None, limit: None, offset: 0, counted: false, embedded: None };
        Request { columns, ..Request::of(target, action) }
    }

    pub fn insert(target: &'static str, body: Value) -> Request {
        Request::of(target, Action::Insert { body, conflict: None })
    }

    pub fn upsert(target: &'static str, by: &'static str, body: Value) -> Request {
        Request::of(target, Action::Insert { body, conflict: Some(by) })
    }

    pub fn update(target: &'static str, body: Value) -> Request {
        Request::of(target, Action::Update { body })
    }

    pub fn delete(target: &'static str) -> Request {
        Request::of(target, Action::Delete)
    }

    pub fn call(function: &'static str, arguments: Value) -> Request {
        Request::of(function, Action::Call { arguments })
    }

    pub fn where_(mut self, condition: Condition) -> Request {
        self.filter = Some(condition);
        self
    }

    pub fn returning(mut self, columns: &'static [&'static str]) -> Request {
        self.columns = columns;
        self
    }

    pub fn ordered(mut self, by: &'static str) -> Request {
        if let Action::Select { order, .. } = &mut self.action {
            *order = Some(by);
        }
        self
    }

    pub fn page(mut self, rows: u32, from: u32) -> Request {
        if let Action::Select { limit, offset, .. } = &mut self.action {
            (*limit, *offset) = (Some(rows), from);
        }
        self
    }

    pub fn counted(mut self) -> Request {
        if let Action::Select { counted, .. } = &mut self.action {
            *counted = true;
        }
        self
    }

    pub fn embedding(mut self, parent: &'static str, columns: &'static [&'static str]) -> Request {
        if let Action::Select { embedded, .. } = &mut self.action {
            *embedded = Some(Embedded { parent, columns });
        }
        self
    }

    /// Whether the request runs in a transaction that may not write.
    pub fn reads(&self) -> bool {
        matches!(self.action, Action::Select { .. })
    }
}
