//! Which rows were written since a transaction, by the rows' `xmin`.

/// Transaction ids that a statement's own transaction may be ahead of the statement's snapshot.
const AHEAD: u64 = 1 << 20;

/// SQL condition: `xmin`, a column or value of type `xid`, is the id of the transaction `since` or of a later
/// transaction. `since` is a full transaction id (`xid8`) as the server's text.
///
/// A frozen row keeps its `xmin`, which is no more than the low 32 bits of an id. So the ages of both ids do
/// not compare: the age of an old id wraps to a negative number, and so does, within a transaction, the age
/// of an id that is newer than the transaction. Instead the condition counts how far `xmin` is behind `since`,
/// in the 32 bits, and compares the count with the number of ids that the server has given since. A row that
/// is older than 2^32 transactions may count as written since, because nothing tells its `xmin` from a new
/// one; a row that was written since always counts.
pub fn written_since(xmin: &str, since: &str) -> String {
    // The difference of two ages does not depend on the moment that the server counts ages from. The subquery
    // is evaluated once for all rows. `since` needs no quoting, because the text comes from the server.
    format!(
        "((age('{since}'::xid8::xid)::bigint - age({xmin})) & 4294967295) <= (SELECT \
         pg_snapshot_xmax(pg_current_snapshot())::text::bigint - '{since}'::bigint + {AHEAD})"
    )
}
