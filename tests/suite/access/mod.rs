//! Who may see what: rights of the API's roles on both sides, with roles as the platform has them.

mod compared;
mod migrated;
mod own;
pub mod platform;
