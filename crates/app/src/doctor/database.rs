//! Checks of the database itself: reachability, schema version, and the engine's durability and integrity.

use super::{Check, Outcome};
use crate::error::what_fails;
use crossfade_core::{Code, Problem};
use crossfade_store::{Db, Durability, Fault, Integrity, Location, Standbys, StoreError, Transit};

const RESTORE: &str =
    "Stop the server, move the data away, and restore the last backup with crossfade restore.";
/// Oldest supported version of PostgreSQL.
const OLDEST_POSTGRES: i64 = 150_000;
/// Returns the check for a database that cannot be opened.
pub(super) fn cannot_open(error: &StoreError) -> Check {
    let mend = match error {
        StoreError::Missing(_) => {
            "Create it with crossfade serve, or set --data-dir or --database-url to where it is."
        }
        _ => {
            "Check that the database is running, that it can be reached from here, and that this user can \
            open it."
        }
    };
    Check::fail("database", sentence(&error.to_string()), mend)
}

/// Checks the database. Returns whether its contents can be checked, too.
pub(super) async fn check(db: &Db, checks: &mut Vec<Check>) -> bool {
    let ours = Db::program_schema();
    match db.stored_schema().await {
        Ok(Some(schema)) if schema == ours => {
            checks.push(Check::ok(
                "database",
                format!("The database can be opened ({}, schema {schema}).", db.engine()),
            ));
        }
        Ok(Some(schema)) if schema > ours => {
            let check = newer_schema(db, schema).await;
            let may_run = check.outcome == Outcome::Warn;
            checks.push(check);
            if !may_run {
                return false;
            }
        }
        Ok(Some(schema)) => {
            checks.push(Check::warn(
                "database",
                format!(
                    "The database has schema {schema}, but this version of Crossfade requires {ours}. Its \
                    contents were not checked."
                ),
                "Take a backup with the version that wrote the database, then start crossfade serve of this \
                version, which migrates it.",
            ));
            return false;
        }
        Ok(None) => {
            checks.push(Check::fail(
                "database",
                "The database exists but contains no Crossfade data.",
                "Start crossfade serve, restore a backup with crossfade restore, or set --data-dir or \
                --database-url to another database.",
            ));
            return false;
        }
        Err(error) => {
            checks.push(cannot_open(&error));
            return false;
        }
    }
    checks.push(match db.durability().await {
        Ok(found) => durability(&found),
        Err(error) => cannot_read("durability", &error),
    });
    match db.standbys().await {
        Ok(found) => checks.extend(found.as_ref().map(standbys)),
        Err(error) => checks.push(cannot_read("standbys", &error)),
    }
    let found = db.integrity().await;
    checks.push(match &found {
        Ok(found) => integrity(found),
        Err(error) => cannot_read("integrity", error),
    });
    checks.push(match db.check_statements().await {
        Ok(number) => Check::ok("statements", format!("The database accepts all {number} statements.")),
        Err(error) => Check::fail(
            "statements",
            format!("The database refuses a statement of this program: {error}."),
            "The schema was changed. Undo that change, or restore the last backup into an empty database.",
        ),
    });
    // What a damaged file says of its contents is of no use.
    found.is_ok_and(|found| found.damage.is_empty())
}

/// Returns the check for a database that a newer version has migrated. It is a warning if this version can run on it.
async fn newer_schema(db: &Db, schema: i64) -> Check {
    const NAME: &str = "database";
    match db.may_run_on_newer().await {
        Ok(true) => Check::warn(
            NAME,
            format!(
                "The database was written by a newer version of Crossfade (schema {schema}). This version \
                (schema {}) can run on it, but cannot take a backup.",
                Db::program_schema()
            ),
            "Use the newer version, at least for backups.",
        ),
        Ok(false) => match db.newer_schema(schema).await {
            Ok(refusal) | Err(refusal) => Check::fail(
                NAME,
                sentence(&refusal.to_string()),
                "Use that version or a later one, or restore an older backup into an empty database.",
            ),
        },
        Err(error) => cannot_open(&error),
    }
}

/// Returns the check for data that cannot be read and may be damaged.
pub(super) fn cannot_read(name: &'static str, error: &StoreError) -> Check {
    let mend = match error {
        StoreError::Corrupt { .. } => RESTORE,
        _ => "Check the database log for details.",
    };
    Check::fail(name, format!("Reading failed: {error}."), mend)
}

/// Checks how sessions are protected on their way to the database server; `None` if there is no server, or if its URL is not
/// valid, which opening the database says.
pub(super) fn transit(location: &Location) -> Option<Check> {
    const NAME: &str = "database_tls";
    let lost = match location.transit().ok()?? {
        Transit::Local => return Some(Check::ok(NAME, "The database server is on this machine.")),
        Transit::Verified => {
            return Some(Check::ok(
                NAME,
                "The connection to the database is encrypted, and its server verified.",
            ));
        }
        Transit::Plain => {
            "The connection to the database is not encrypted, so anyone in between can read and change what \
            is stored."
        }
        Transit::Offered => {
            "The connection to the database is encrypted only if the server offers it, so anyone in between \
            can prevent that and read and change what is stored."
        }
        Transit::Unverified => {
            "The connection to the database is encrypted, but its server is not verified, so anyone in \
            between can pretend to be the database."
        }
        Transit::AnyName => {
            "The name of the database server is not verified, so any server with a certificate of the same \
            authority can pretend to be the database."
        }
    };
    let mend = "Remove sslmode from the database URL, or set it to verify-full. Set sslrootcert to the \
        certificate of the authority if that is a private one.";
    Some(Check::warn(NAME, lost, mend))
}

/// Checks whether a change can be stored.
pub(super) fn changes(tried: &Result<(), StoreError>) -> Check {
    const NAME: &str = "changes";
    let error = match tried {
        Ok(()) => return Check::ok(NAME, "Changes can be stored. The test change was rolled back."),
        Err(error) => error,
    };
    let fault = error.fault();
    let sentence = sentence(&format!("changes cannot be stored because {}: {error}", what_fails(fault)));
    let mend = match fault {
        Fault::Full => {
            "Free space on the disk of the database. Until then nothing can be rotated or revoked."
        }
        Fault::ReadOnly => {
            "Make the database accept changes. Check default_transaction_read_only of the role and of the \
            database, whether the server is a standby, and whether its file system is mounted read-only."
        }
        Fault::Denied => {
            "Grant the role of Crossfade the permissions SELECT, INSERT, UPDATE and DELETE on its tables, or let that role own them."
        }
        Fault::Unreachable => {
            "Check that the database is running, that it can be reached from here, and that this user can \
            open it."
        }
        Fault::Busy => {
            return Check::warn(
                NAME,
                format!("Cannot tell whether changes can be stored: {error}."),
                "Try again. If the database stays busy, look for a transaction that was left open.",
            );
        }
        Fault::Failed => "Check the database log for details.",
    };
    Check::fail(NAME, sentence, mend)
}

pub(super) fn durability(found: &Durability) -> Check {
    const NAME: &str = "durability";
    match found {
        Durability::Sqlite { journal_mode, synchronous } => {
            if *synchronous < 2 {
                let sentence = format!("SQLite does not flush each commit (synchronous {synchronous}).");
                return Check::fail(NAME, sentence, "Use a build of Crossfade with an unchanged SQLite.");
            }
            match journal_mode.as_str() {
                "wal" => Check::ok(NAME, "SQLite flushes each commit (journal WAL, synchronous FULL)."),
                other => Check::warn(
                    NAME,
                    format!(
                        "The database journal mode is {other} instead of WAL, so readers and the writer \
                        block each other."
                    ),
                    "Start crossfade serve, which sets it.",
                ),
            }
        }
        Durability::Postgres {
            version,
            synchronous_commit,
            fsync,
            full_page_writes,
            encoding,
            standby,
            keeps_settings,
        } => {
            let problem = if *version < OLDEST_POSTGRES {
                let version = version / 10_000;
                Some((format!("PostgreSQL {version} is too old."), "Upgrade to PostgreSQL 15 or later."))
            } else if *standby {
                Some((
                    "The server is a standby, so nothing can be written to it.".to_owned(),
                    "Set --database-url to the primary.",
                ))
            } else if synchronous_commit == "off" {
                Some((
                    "Commits are acknowledged before they are flushed (synchronous_commit off), so a power \
                    failure can lose a revocation."
                        .to_owned(),
                    "Set synchronous_commit to on for Crossfade's role.",
                ))
            } else if fsync != "on" {
                Some((
                    "The server does not flush at all (fsync off), so a power failure can lose everything."
                        .to_owned(),
                    "Set fsync to on in postgresql.conf and reload.",
                ))
            } else if full_page_writes != "on" {
                Some((
                    "The server cannot repair pages that a crash leaves half-written (full_page_writes off), so a \
                    power failure can damage the database."
                        .to_owned(),
                    "Set full_page_writes to on in postgresql.conf and reload, unless the file system never leaves \
                    half-written pages.",
                ))
            } else if encoding != "UTF8" {
                Some((
                    format!("The database stores text as {encoding}, which cannot represent every name."),
                    "Create a database with ENCODING 'UTF8', and move the data there with crossfade backup \
                    and crossfade restore.",
                ))
            } else {
                None
            };
            match problem {
                Some((sentence, mend)) => Check::fail(NAME, sentence, mend),
                None if !keeps_settings => Check::warn(
                    NAME,
                    "Something between Crossfade and PostgreSQL drops the session settings, so each \
                    transaction sets them.",
                    "Connect without a pooler, or configure the pooler to pass on the startup parameter \
                    options.",
                ),
                None => Check::ok(
                    NAME,
                    format!(
                        "PostgreSQL {} flushes each commit (synchronous_commit {synchronous_commit}).",
                        version / 10_000
                    ),
                ),
            }
        }
    }
}

/// Checks whether a failover can lose changes.
fn standbys(found: &Standbys) -> Check {
    const NAME: &str = "standbys";
    const MEND: &str = "Name a standby in synchronous_standby_names. With Patroni, set synchronous_mode and \
        synchronous_mode_strict. A service that copies the disk of the database below PostgreSQL needs neither.";
    let Standbys { names, connected, synchronous } = found;
    match synchronous {
        _ if names.trim().is_empty() => {
            let lost = format!(
                "No standby confirms a commit (synchronous_standby_names is empty; standbys connected: {connected}), so \
                a failover can lose the last changes: a secret that one of them ended would be valid again."
            );
            match connected {
                // There is none to fail over to.
                0 => Check::ok(NAME, lost),
                _ => Check::warn(NAME, lost, MEND),
            }
        }
        Some(0) => Check::warn(
            NAME,
            "No standby that confirms commits is connected, so changes wait for one.",
            "Start a standby that synchronous_standby_names names. Patroni without synchronous_mode_strict removes the \
            names instead, and a failover can then lose the last changes.",
        ),
        Some(confirming) => {
            Check::ok(NAME, format!("{confirming} of {connected} connected standbys confirm each commit."))
        }
        None => Check::ok(
            NAME,
            format!("Standbys confirm each commit ({names}). The role may not see which ones are connected."),
        ),
    }
}

fn integrity(found: &Integrity) -> Check {
    const NAME: &str = "integrity";
    match (found.damage.first(), found.dangling.first()) {
        (Some(damage), _) => Check::fail(NAME, format!("The database file is damaged: {damage}."), RESTORE),
        (None, Some(dangling)) => {
            Check::fail(NAME, sentence(&format!("{dangling}, in {} places", found.dangling.len())), RESTORE)
        }
        (None, None) => Check::ok(NAME, "The database is intact."),
    }
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}

/// Returns what prevents a server from starting on a database, in the words of the check; `None` if nothing does. A
/// missing fsync or full page does not: such a server is used for tests and loses data only in a power failure, so only `doctor`
/// reports it.
pub(crate) fn durability_problem(found: &Durability) -> Option<Problem> {
    if matches!(found, Durability::Sqlite { .. }) {
        return None;
    }
    let mut found = found.clone();
    if let Durability::Postgres { fsync, full_page_writes, .. } = &mut found {
        (*fsync, *full_page_writes) = ("on".to_owned(), "on".to_owned());
    }
    let check = durability(&found);
    (check.outcome == Outcome::Fail).then(|| {
        let mend = check.mend.unwrap_or_default();
        Problem::new(Code::Unavailable, format!("{} Nothing was changed. {mend}", check.sentence))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    #[test]
    fn what_an_engine_must_promise() {
        let sqlite =
            |journal: &str, synchronous| Durability::Sqlite { journal_mode: journal.into(), synchronous };
        assert_eq!(durability(&sqlite("wal", 2)).outcome, Outcome::Ok);
        assert_eq!(durability(&sqlite("delete", 2)).outcome, Outcome::Warn);
        assert_eq!(durability(&sqlite("wal", 1)).outcome, Outcome::Fail);
        let postgres = |version, commit: &str, fsync: &str, encoding: &str, standby| Durability::Postgres {
            version,
            synchronous_commit: commit.into(),
            fsync: fsync.into(),
            full_page_writes: "on".into(),
            encoding: encoding.into(),
            standby,
            keeps_settings: true,
        };
        for commit in ["on", "remote_apply", "local"] {
            assert_eq!(durability(&postgres(150_000, commit, "on", "UTF8", false)).outcome, Outcome::Ok);
        }
        for (broken, says) in [
            (postgres(149_999, "on", "on", "UTF8", false), "too old"),
            (postgres(150_000, "off", "on", "UTF8", false), "synchronous_commit off"),
            (postgres(150_000, "on", "off", "UTF8", false), "fsync off"),
            (postgres(150_000, "on", "on", "SQL_ASCII", false), "SQL_ASCII"),
            (postgres(150_000, "on", "on", "UTF8", true), "is a standby"),
        ] {
            let found = durability(&broken);
            assert_eq!(found.outcome, Outcome::Fail, "{found:?}");
            assert!(found.sentence.contains(says) && found.mend.is_some(), "{found:?}");
        }
    }

    #[test]
    fn a_pooler_that_drops_settings_is_a_warning() {
        let found = durability(&Durability::Postgres {
            version: 150_000,
            synchronous_commit: "on".into(),
            fsync: "on".into(),
            full_page_writes: "on".into(),
            encoding: "UTF8".into(),
            standby: false,
            keeps_settings: false,
        });
        assert_eq!(found.outcome, Outcome::Warn, "{found:?}");
    }

    #[test]
    fn pages_that_a_crash_damages_are_a_failure_that_prevents_no_start() {
        let found = Durability::Postgres {
            version: 150_000,
            synchronous_commit: "on".into(),
            fsync: "on".into(),
            full_page_writes: "off".into(),
            encoding: "UTF8".into(),
            standby: false,
            keeps_settings: true,
        };
        assert_eq!(durability(&found).outcome, Outcome::Fail);
        assert_eq!(durability_problem(&found), None);
    }

    #[test]
    fn a_failover_without_a_standby_that_confirms_loses_changes() {
        let found = |names: &str, connected, synchronous| {
            standbys(&Standbys { names: names.into(), connected, synchronous })
        };
        let lost = found("", 2, Some(0));
        assert_eq!(lost.outcome, Outcome::Warn);
        assert!(
            lost.sentence.contains("standbys connected: 2") && lost.sentence.contains("valid again"),
            "{lost:?}"
        );
        assert!(lost.mend.unwrap().contains("synchronous_mode_strict"));
        assert_eq!(found("", 0, Some(0)).outcome, Outcome::Ok, "there is none to fail over to");
        assert_eq!(found("*", 1, Some(0)).outcome, Outcome::Warn);
        assert_eq!(found("*", 2, Some(1)).outcome, Outcome::Ok);
        assert_eq!(found("*", 2, None).outcome, Outcome::Ok);
    }

    #[test]
    fn what_a_connection_does_not_verify_is_told() {
        let found = |url: &str| transit(&Location::parse(url).unwrap()).unwrap();
        for mode in ["disable", "prefer", "require", "verify-ca"] {
            let weak = found(&format!("postgres://db.example.com/x?sslmode={mode}"));
            assert_eq!(weak.outcome, Outcome::Warn, "{mode}");
            assert!(
                weak.sentence.contains("anyone in between") || weak.sentence.contains("any server"),
                "{weak:?}"
            );
        }
        for url in ["postgres://db.example.com/x", "postgres://localhost/x"] {
            assert_eq!(found(url).outcome, Outcome::Ok, "{url}");
        }
        assert!(transit(&Location::parse("sqlite:x").unwrap()).is_none());
    }

    #[test]
    fn a_trial_that_fails_names_its_cause_and_what_to_do() {
        assert_eq!(changes(&Ok(())).outcome, Outcome::Ok);
        let tried = |fault| changes(&Err(StoreError::Poisoned { fault, cause: "SQLSTATE 12345: x".into() }));
        for fault in Fault::ALL {
            let found = tried(fault);
            let outcome = if fault == Fault::Busy { Outcome::Warn } else { Outcome::Fail };
            assert_eq!(found.outcome, outcome, "{found:?}");
            assert!(found.sentence.contains("SQLSTATE 12345: x") && found.mend.is_some(), "{found:?}");
        }
    }
}
