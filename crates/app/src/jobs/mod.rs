//! Jobs of the worker. None enforces anything: a secret ends at its deadline whether or not they run.
//! `worker` runs them. `note_expiries` and `sum_failures` record what has happened, `guard_deadlines` warns before a
//! deadline and extends it if a policy says so, `finish_drills` reports what a drill has found, `rotate_signing_keys`
//! follows the schedules of environments, `tell_wakes` tells of what needs someone now, `queue_digests` writes the weekly
//! digests, `resolve_incidents` resolves incidents of PagerDuty that no change has resolved, and `tidy` deletes and wipes.

pub(crate) mod finish_drills;
pub(crate) mod guard_deadlines;
pub(crate) mod note_expiries;
pub(crate) mod queue_digests;
pub(crate) mod resolve_incidents;
pub(crate) mod rotate_signing_keys;
pub(crate) mod sum_failures;
pub(crate) mod tell_wakes;
pub(crate) mod tidy;
pub(crate) mod worker;
