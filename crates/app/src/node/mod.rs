//! State of this process: what it has applied, counted and not stored yet, and whether it is allowed to decide.
//! `state` is all of it. It knows the database, the clock and the authority, and no use case. `transaction` stores a
//! change and waits for `feed`, which brings it to the authority's tables. `evidence` and `failures` store what was
//! counted. `serving` keeps the lock, `lease` the lease, and `enforcement` waits for other nodes. `throttle`, `lanes` and `strangers` hold back callers whose credentials are not
//! known to work. `clock_watch`, `changes`, `proxies`, `unreadable` and `measure` are for the operator.

pub(crate) mod addresses;
pub(crate) mod alive;
pub(crate) mod chain_end;
pub(crate) mod changes;
pub(crate) mod clock_watch;
pub(crate) mod enforcement;
pub(crate) mod evidence;
pub(crate) mod failures;
pub(crate) mod feed;
pub(crate) mod in_flight;
pub(crate) mod lanes;
pub(crate) mod leading;
pub(crate) mod lease;
pub(crate) mod measure;
pub(crate) mod password_checks;
pub(crate) mod proxies;
pub(crate) mod refusals;
pub(crate) mod revocations;
pub(crate) mod serving;
pub(crate) mod state;
pub(crate) mod strangers;
pub(crate) mod taken;
pub(crate) mod throttle;
pub(crate) mod touched;
pub(crate) mod transaction;
pub(crate) mod unreadable;
pub(crate) mod wakes;
