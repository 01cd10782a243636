//! Reading a table in the order of its keys, a page at a time; pure.

use uuid::Uuid;

/// Start of a page of keys. The first page includes the smallest key, `00000000-0000-0000-0000-000000000000`,
/// because a row may have this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageStart {
    operator: &'static str,
    key: Uuid,
}

impl PageStart {
    pub const FIRST: PageStart = PageStart { operator: ">=", key: Uuid::nil() };

    /// Start of the page that follows `key`, the last key of a page.
    pub fn after(key: Uuid) -> Self {
        PageStart { operator: ">", key }
    }

    /// A condition on `column`, with [`PageStart::key`] as `$1`.
    pub fn condition(&self, column: &str) -> String {
        format!("{column} {} $1", self.operator)
    }

    pub fn key(&self) -> &Uuid {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_page_holds_the_smallest_key_and_no_later_one_does() {
        assert_eq!(
            (PageStart::FIRST.condition("id"), *PageStart::FIRST.key()),
            ("id >= $1".into(), Uuid::nil())
        );
        let next = PageStart::after(Uuid::nil());
        assert_eq!((next.condition("t.id"), *next.key()), ("t.id > $1".into(), Uuid::nil()));
    }
}
