//! What `crossfade doctor` looks at. It changes nothing: the one change that it tries is rolled back. It goes on after
//! what it finds, so that everything that is wrong is told at once.

mod clock;
mod contents;
mod database;
mod files;

use crate::App;
use crossfade_authority::Clock;
use crossfade_core::{Code, Problem, Timestamp};
use crossfade_store::{Db, Durability, Location};
use serde::Serialize;
use std::path::PathBuf;

/// How a check came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing is wrong.
    Ok,
    /// It works, and somebody should look at it.
    Warn,
    /// It is broken, or unsafe.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it came out.
    pub outcome: Outcome,
    /// What was found.
    pub sentence: String,
    /// How to mend it. `None` where nothing is wrong.
    pub mend: Option<String>,
}

impl Check {
    /// Nothing is wrong.
    pub fn ok(name: &'static str, sentence: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, sentence: sentence.into(), mend: None }
    }

    /// It works, and somebody should look at it.
    pub fn warn(name: &'static str, sentence: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Warn, sentence: sentence.into(), mend: Some(mend.into()) }
    }

    /// It is broken, or unsafe.
    pub fn fail(name: &'static str, sentence: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Fail, sentence: sentence.into(), mend: Some(mend.into()) }
    }
}

/// An instance to look at.
pub struct Instance<'a> {
    /// Where its database is.
    pub location: Location,
    /// Where its files are.
    pub data_dir: PathBuf,
    /// Where its master key is.
    pub master_key_file: PathBuf,
    /// The machine's clock, not raised to anything stored.
    pub clock: &'a Clock,
}

/// What was found.
pub struct Findings {
    /// Every check, in the order in which they were made.
    pub checks: Vec<Check>,
    /// Whether a server runs on the database; `None` when that could not be found out.
    pub served: Option<bool>,
}

/// Looks at an instance.
pub async fn examine(instance: &Instance<'_>) -> Findings {
    let mut findings = Findings { checks: files::check(instance), served: None };
    let checks = &mut findings.checks;
    let db = match Db::open_read_only(&instance.location).await {
        Ok(db) => db,
        Err(error) => {
            checks.push(database::cannot_open(&error));
            return findings;
        }
    };
    findings.served = db.is_served().await.ok();
    // Tokens tell the time of a database that has a clock; one that cannot be read is found by the checks.
    if let Ok(Some(told)) = db.clock().await {
        instance.clock.calibrate(told);
    }
    let is_readable = database::check(&db, checks).await;
    if is_readable {
        contents::check(&db, instance, findings.served == Some(true), checks).await;
    }
    // The last connection that can write folds the log into the file. What a crash left in it is kept as it is.
    let keeps_log = db.has_log();
    if !keeps_log {
        db.close().await;
    }
    if is_readable {
        checks.push(database::changes(&Db::try_to_change(&instance.location).await));
    }
    if keeps_log {
        db.close().await;
    }
    findings
}

/// Looks at an instance that is about to serve: only what is quick, and only what is not as it should be.
pub async fn examine_at_start(instance: &Instance<'_>, app: &App) -> Vec<Check> {
    let mut checks = files::check(instance);
    checks.push(match app.db().durability().await {
        Ok(found) => database::durability(&found),
        Err(error) => database::cannot_read("durability", &error),
    });
    checks.push(database::changes(&app.db().try_own_change().await));
    checks.retain(|check| check.outcome != Outcome::Ok);
    checks
}

/// What keeps a server from starting on a database, in the words of the check; `None` where nothing does. A server without
/// fsync is used for tests, and loses nothing but in a power failure: that is for `doctor` alone.
pub(crate) fn durability_problem(found: &Durability) -> Option<Problem> {
    if matches!(found, Durability::Sqlite { .. }) {
        return None;
    }
    let mut found = found.clone();
    if let Durability::Postgres { fsync, .. } = &mut found {
        *fsync = "on".to_owned();
    }
    let check = database::durability(&found);
    (check.outcome == Outcome::Fail).then(|| {
        let mend = check.mend.unwrap_or_default();
        Problem::new(Code::Unavailable, format!("{} Nothing was changed. {mend}", check.sentence))
    })
}

/// `3 secrets`, `1 secret`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// A time to the second.
pub(crate) fn shown(time: Timestamp) -> String {
    Timestamp::from_seconds(time.as_seconds()).to_string().replace(".000000", "")
}
