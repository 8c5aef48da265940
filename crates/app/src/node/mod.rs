//! State of this process: what it has applied, counted and not stored yet, and whether it is allowed to decide.
//! `feed` brings changes to the authority's tables, and `unreadable` says which rows it left out. `evidence` and
//! `failures` take what was counted to the database. `serving` keeps the lock. `throttle` and `strangers` hold callers
//! back whose credentials are not known to work. `clock_watch`, `changes`, `proxies` and `measure` are what an operator
//! is told. Nothing here is needed after a restart.

pub(crate) mod addresses;
pub(crate) mod changes;
pub(crate) mod clock_watch;
pub(crate) mod evidence;
pub(crate) mod failures;
pub(crate) mod feed;
pub(crate) mod guesses;
pub(crate) mod in_flight;
pub(crate) mod lanes;
pub(crate) mod measure;
pub(crate) mod proxies;
pub(crate) mod refusals;
pub(crate) mod revocations;
pub(crate) mod serving;
pub(crate) mod strangers;
pub(crate) mod throttle;
pub(crate) mod touched;
pub(crate) mod unreadable;
