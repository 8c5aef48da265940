//! The checks of `crossfade doctor`. They change nothing: the only change they try is rolled back. They continue after
//! a problem, so that all problems are reported together.

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

/// Result of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing is wrong.
    Ok,
    /// It works, but needs attention.
    Warn,
    /// It is broken or unsafe.
    Fail,
}

/// One check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// Result.
    pub outcome: Outcome,
    /// What was found.
    pub sentence: String,
    /// Suggested fix; `None` if there is no problem.
    pub mend: Option<String>,
}

impl Check {
    /// Returns a finding without a problem.
    pub fn ok(name: &'static str, sentence: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, sentence: sentence.into(), mend: None }
    }

    /// Returns a warning.
    pub fn warn(name: &'static str, sentence: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Warn, sentence: sentence.into(), mend: Some(mend.into()) }
    }

    /// Returns a failed check.
    pub fn fail(name: &'static str, sentence: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Fail, sentence: sentence.into(), mend: Some(mend.into()) }
    }
}

/// An instance to check.
pub struct Instance<'a> {
    /// Location of its database.
    pub location: Location,
    /// Directory of its files.
    pub data_dir: PathBuf,
    /// Path of its master key file.
    pub master_key_file: PathBuf,
    /// Base of its issuers.
    pub public_url: String,
    /// The machine's clock, not raised to any stored time.
    pub clock: &'a Clock,
}

/// What was found.
pub struct Findings {
    /// All checks, in the order in which they ran.
    pub checks: Vec<Check>,
    /// Whether a server is running on the database; `None` if that could not be determined.
    pub served: Option<bool>,
}

/// Checks an instance.
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

/// Runs the quick checks of an instance that is about to serve. Returns only the problems.
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

/// Returns what prevents a server from starting on a database, in the words of the check; `None` if nothing does. A
/// missing fsync does not: such a server is used for tests and loses data only in a power failure, so only `doctor`
/// reports it.
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

/// Returns a count such as `3 secrets` or `1 secret`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// Returns a time to the second.
pub(crate) fn shown(time: Timestamp) -> String {
    Timestamp::from_seconds(time.as_seconds()).to_string().replace(".000000", "")
}
