//! The checks of `crossfade doctor`. They change nothing: the only change they try is rolled back. They continue after
//! a problem, so that all problems are reported together.

mod clock;
mod contents;
pub(crate) mod database;
mod files;
mod mail;
mod trail;
mod webhooks;

pub(crate) use crate::wording::{count, shown};
use crate::{keys::source::KeySource, trail::sinks::AuditSink};
use crossfade_authority::Clock;
use crossfade_outbound::Mailer;
use crossfade_store::{Db, Location};
use serde::Serialize;
use std::{path::PathBuf, sync::Arc};

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
    /// Where its master keys come from.
    pub master_key: KeySource,
    /// Its journal.
    pub journal: Option<PathBuf>,
    /// Base of its issuers.
    pub public_url: String,
    /// Where its audit trail is shipped to.
    pub audit_sinks: Vec<AuditSink>,
    /// Sends its mail; `None` if mail is not set up.
    pub mailer: Option<Arc<Mailer>>,
    /// The machine's clock, not raised to any stored time.
    pub clock: &'a Clock,
}

/// What was found.
pub struct Findings {
    /// All checks, in the order in which they ran.
    pub checks: Vec<Check>,
    /// Whether a server is running on the database; `None` if that could not be determined.
    pub served: Option<bool>,
    /// Check of the machine's clock against that of the database; `None` if it has none. Apart from the others, because the
    /// clock of a test is that of no machine.
    pub machine_clock: Option<Check>,
}

/// Checks an instance.
pub async fn examine(instance: &Instance<'_>) -> Findings {
    let mut findings = Findings { checks: files::check(instance), served: None, machine_clock: None };
    let checks = &mut findings.checks;
    checks.extend(database::transit(&instance.location));
    let db = match Db::open_read_only(&instance.location).await {
        Ok(db) => db,
        Err(error) => {
            checks.push(database::cannot_open(&error));
            return findings;
        }
    };
    findings.served = db.is_served().await.ok();
    // Tokens tell the time of a database that has a clock; one that cannot be read is found by the checks.
    if let Ok(Some((told, (machine, asked)))) =
        db.clock(|| (instance.clock.now(), instance.clock.ask())).await
    {
        findings.machine_clock = Some(clock::machine(machine, told));
        instance.clock.calibrate(told, asked);
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
pub async fn examine_at_start(instance: &Instance<'_>, db: &Db) -> Vec<Check> {
    let mut checks = files::check(instance);
    checks.extend(database::transit(&instance.location));
    checks.push(match db.durability().await {
        Ok(found) => database::durability(&found),
        Err(error) => database::cannot_read("durability", &error),
    });
    checks.push(database::changes(&db.try_own_change().await));
    checks.retain(|check| check.outcome != Outcome::Ok);
    checks
}
