//! Drills: short windows in which a retiring secret is refused, to find its callers before the deadline.
//! One file for each operation. A drill that has ended is reported by `jobs::finish_drills`. The rules are in
//! `core::drill`.

pub(crate) mod list;
pub(crate) mod schedule;
pub(crate) mod stop;
