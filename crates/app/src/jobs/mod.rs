//! Jobs of the worker. None enforces anything: a secret ends at its deadline whether or not they run.
//! `worker` flushes, notes expired deadlines and tidies. `guard_deadlines` warns before a deadline and extends it if a
//! policy says so. `finish_drills` reports what a drill has found.

pub(crate) mod finish_drills;
pub(crate) mod guard_deadlines;
pub(crate) mod sum_failures;
pub(crate) mod worker;
