//! One storage suite, mounted once per engine. The files under `suite/` know no engine: each test opens a
//! fresh database through the module that it is mounted in, and ends early where there is none to open.
//!
//! SQLite needs nothing. PostgreSQL needs a server that may be filled with databases, named by the URL in
//! `CROSSFADE_TEST_POSTGRES`; without it these tests say so and pass, but in CI they fail.

#![allow(clippy::duplicate_mod, reason = "the suite is mounted once per engine")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

#[path = "suite"]
mod sqlite {
    use crate::harness::{Place, TestDb};

    pub async fn place() -> Option<Place> {
        Some(Place::file())
    }

    pub async fn open() -> Option<TestDb> {
        Some(TestDb::open(Place::file()).await)
    }

    mod access;
    mod audit;
    mod backup;
    mod clients;
    mod corrupt;
    mod drills;
    mod environments;
    mod evidence;
    mod examine;
    mod faults;
    mod guard;
    mod identity;
    mod lines;
    mod opening;
    mod properties;
    mod secrets;
    mod sessions;
    mod support;
    mod token_revocations;
    mod transactions;
    mod uses;
    mod verifiers;

    mod only_sqlite;
}

#[path = "suite"]
mod postgres {
    use crate::harness::{Place, TestDb};

    pub async fn place() -> Option<Place> {
        Place::database().await
    }

    pub async fn open() -> Option<TestDb> {
        Some(TestDb::open(Place::database().await?).await)
    }

    mod access;
    mod audit;
    mod backup;
    mod clients;
    mod corrupt;
    mod drills;
    mod environments;
    mod evidence;
    mod examine;
    mod faults;
    mod guard;
    mod identity;
    mod lines;
    mod opening;
    mod properties;
    mod secrets;
    mod sessions;
    mod support;
    mod token_revocations;
    mod transactions;
    mod uses;
    mod verifiers;

    mod only_postgres;
}
