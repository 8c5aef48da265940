//! One storage suite, mounted once per engine. The checks under `suite/` know no engine: each takes a fresh database, and
//! the lists at the head of its file mount it on SQLite and PostgreSQL.
//!
//! SQLite needs nothing. PostgreSQL needs a server that may be filled with databases, named by the URL in
//! `CROSSFADE_TEST_POSTGRES`; without it these tests say so and pass, but in CI they fail.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use harness::engines;

mod suite {
    mod access;
    mod adoptions;
    mod audit;
    mod backup;
    mod chain;
    mod change_log;
    mod clients;
    mod corrupt;
    mod deliveries;
    mod drills;
    mod environments;
    mod evidence;
    mod examine;
    mod factors;
    mod failures;
    mod faults;
    mod guard;
    mod idempotency;
    mod identity;
    mod incidents;
    mod keys;
    mod leaks;
    mod lines;
    mod only_postgres;
    mod only_sqlite;
    mod opening;
    mod owners;
    mod properties;
    mod secrets;
    mod sessions;
    mod token_revocations;
    mod transactions;
    mod unregistered;
    mod upgrades;
    mod upstream;
    mod verifiers;
    mod webhooks;
}
