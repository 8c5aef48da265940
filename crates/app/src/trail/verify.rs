//! Verifies a trail: of a database, or of an export.

use crate::{
    backup::{hex, refused},
    error::{Error, cannot_start},
    keys::{audit_key::AuditKey, seal::open_data_keys, source::KeySource},
};
use aws_lc_rs::digest::{Context, SHA256};
use crossfade_core::{
    Code, Problem, api,
    audit::{
        line::read_object,
        statement::{SignedStatement, Statement, StatementKind},
        verify::{Fault, Known, RowVerifier, Verified, Verifier, is_of},
    },
};
use crossfade_store::{AuditFilter, Db, Location, Tx};
use serde::Serialize;
use serde_json::{Map, Value};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

/// Number of events read at once.
const READ_AT_ONCE: i64 = 2000;
/// Maximum length of a line of an export.
const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// What was verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifiedScope {
    /// The trail of a database, from its first to its last event.
    Database,
    /// A complete export, from its first to its last event.
    CompleteExport,
    /// A filtered export, row by row: its rows are genuine and none is missing from the file.
    FilteredExport,
}

/// The result of verifying a trail.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// What was verified.
    pub scope: VerifiedScope,
    /// Filter of the export; `null` for a database or a complete export.
    pub filter: Option<String>,
    /// IDs of the keys that signed the statements.
    pub keys: BTreeSet<String>,
    /// Whether these keys are known to be the instance's: by its master key, a checkpoint from outside, or the caller.
    pub keys_are_known: bool,
    /// What was found; `null` if something is wrong.
    pub verified: Option<Verified>,
    /// The first thing that is wrong; `null` if nothing is.
    pub fault: Option<Fault>,
}

/// What a caller knows of a trail from outside.
#[derive(Clone, Debug, Default)]
pub struct KnownOutside {
    /// A signed checkpoint that was kept outside.
    pub checkpoint: Option<SignedStatement>,
    /// IDs of keys that may sign; empty if the caller names none.
    pub keys: Vec<String>,
}

impl KnownOutside {
    /// Reads a checkpoint from a file.
    pub fn read_checkpoint(path: &Path) -> Result<SignedStatement, Error> {
        let unreadable = |what: &dyn std::fmt::Display| {
            refused(format!("Cannot read the checkpoint {}: {what}. Nothing was verified.", path.display()))
        };
        let text = std::fs::read(path).map_err(|error| unreadable(&error))?;
        let read = read_object(&text).and_then(|it| serde_json::from_value(Value::Object(it)).ok());
        read.ok_or_else(|| unreadable(&"it is not a signed checkpoint"))
    }
}

/// Statements whose signatures were verified.
struct Opened {
    known: Vec<Known>,
    keys: BTreeSet<String>,
    keys_are_known: bool,
}

/// Opens the statements of a trail and the checkpoint from outside.
fn open(
    own: Vec<SignedStatement>,
    outside: &KnownOutside,
    instance_keys: Option<BTreeSet<String>>,
) -> Result<Opened, Fault> {
    let opened = |signed: &SignedStatement| {
        let untrusted = || Fault::Untrusted {
            seq: signed.statement.get("seq").and_then(Value::as_i64).unwrap_or(0),
            key: signed.statement.get("key").and_then(Value::as_str).unwrap_or("").to_owned(),
        };
        signed.open().ok_or_else(untrusted)
    };
    let checkpoint = outside.checkpoint.as_ref().map(opened).transpose()?;
    let mut trusted: BTreeSet<String> = outside.keys.iter().cloned().collect();
    if trusted.is_empty() {
        trusted.extend(checkpoint.iter().map(|checkpoint| checkpoint.key.clone()));
    }
    // The master key can add keys of the instance, but a caller who names keys decides alone.
    let trusted = if trusted.is_empty() { instance_keys } else { Some(trusted) };
    let (mut known, mut keys) = (Vec::new(), BTreeSet::new());
    let own = own.iter().map(|signed| Ok((opened(signed)?, false))).collect::<Result<Vec<_>, Fault>>()?;
    for (statement, is_outside) in own.into_iter().chain(checkpoint.map(|checkpoint| (checkpoint, true))) {
        if trusted.as_ref().is_some_and(|trusted| !trusted.contains(&statement.key)) {
            return Err(Fault::Untrusted { seq: statement.seq, key: statement.key });
        }
        keys.insert(statement.key.clone());
        known.push(Known { statement, is_outside });
    }
    Ok(Opened { known, keys, keys_are_known: trusted.is_some() })
}

fn report(scope: VerifiedScope, opened: &Opened, found: Result<Verified, Fault>) -> Verification {
    let (verified, fault) = match found {
        Ok(verified) => (Some(verified), None),
        Err(fault) => (None, Some(fault)),
    };
    let (keys, keys_are_known) = (opened.keys.clone(), opened.keys_are_known);
    Verification { scope, filter: None, keys, keys_are_known, verified, fault }
}

fn none_opened() -> Opened {
    Opened { known: Vec::new(), keys: BTreeSet::new(), keys_are_known: false }
}

/// Verifies the trail of a database from its first to its last event, in pages of one snapshot. Changes nothing.
pub async fn verify_database(
    location: &Location,
    source: &KeySource,
    outside: &KnownOutside,
) -> Result<Verification, Error> {
    let db = Db::open_read_only(location).await.map_err(cannot_start)?;
    let verified = async {
        match db.stored_schema().await.map_err(cannot_start)? {
            Some(schema) if schema == Db::program_schema() => {}
            _ => {
                let text = "The database was not written by this version of Crossfade. Nothing was verified. Use \
                    the version that serves it.";
                return Err(Problem::new(Code::Unavailable, text).into());
            }
        }
        db.read_all::<_, Error>(async |tx| verify_snapshot(tx, source, outside).await).await
    };
    let verified = verified.await;
    db.close().await;
    verified
}

async fn verify_snapshot(
    tx: &mut Tx,
    source: &KeySource,
    outside: &KnownOutside,
) -> Result<Verification, Error> {
    let scope = VerifiedScope::Database;
    let keys = instance_keys(tx, source).await?;
    let opened = match open(tx.audit_statements(i64::MAX).await?, outside, keys) {
        Ok(opened) => opened,
        Err(fault) => return Ok(report(scope, &none_opened(), Err(fault))),
    };
    let end = tx.audit_chain_end().await?;
    let (mut verifier, mut after) = (Verifier::new(opened.known.clone()), i64::MIN);
    loop {
        let page = tx.export_audit_events(&AuditFilter::default(), after, i64::MAX, READ_AT_ONCE).await?;
        let Some(last) = page.last().map(|event| event.seq) else { break };
        after = last;
        for event in page {
            if let Err(fault) = verifier.push(members(&api::AuditEvent::from(event))?) {
                return Ok(report(scope, &opened, Err(fault)));
            }
        }
    }
    Ok(report(scope, &opened, verifier.finish(end.hash.map(|hash| (end.seq, hash)))))
}

/// Returns the IDs of the keys that this instance's master key opens; `None` without that key.
async fn instance_keys(tx: &mut Tx, source: &KeySource) -> Result<Option<BTreeSet<String>>, Error> {
    let Ok(Some(master)) = source.read() else { return Ok(None) };
    let Ok((vault, _)) = open_data_keys(&master, &tx.data_keys().await?) else { return Ok(None) };
    let Some(instance) = tx.instance().await? else { return Ok(None) };
    let rows = tx.audit_keys().await?;
    let opened = rows.iter().filter_map(|row| AuditKey::open(&vault, &instance, row).ok());
    Ok(Some(opened.map(|key| key.id().to_owned()).collect()))
}

fn members(event: &api::AuditEvent) -> Result<Map<String, Value>, Error> {
    match serde_json::to_value(event).map_err(Error::internal)? {
        Value::Object(members) => Ok(members),
        _ => Err(Error::internal("an event is not an object")),
    }
}

/// Verifies an export: a complete one from its first to its last event, a filtered one row by row.
pub fn verify_export(path: &Path, outside: &KnownOutside) -> Result<Verification, Error> {
    let mut statements = Vec::new();
    let mut hash = Context::new(&SHA256);
    each_line(path, |line, value| {
        match value.get("statement") {
            Some(_) => statements.push(serde_json::from_value(Value::Object(value)).ok()?),
            None => hash.update(line),
        }
        Some(())
    })?;
    let lines = hex(hash);
    let opened = match open(statements, outside, None) {
        Ok(opened) => opened,
        Err(fault) => return Ok(report(VerifiedScope::CompleteExport, &none_opened(), Err(fault))),
    };
    let of_export = |known: &&Known| known.statement.kind == StatementKind::Export && !known.is_outside;
    let export = opened.known.iter().rfind(of_export).map(|known| known.statement.clone());
    let Some(export) = export else {
        return Ok(report(VerifiedScope::CompleteExport, &opened, Err(Fault::Unsigned)));
    };
    match export.filter.clone().filter(|filter| !filter.is_empty()) {
        None => {
            let found = verify_lines(path, Verifier::new(opened.known.clone()), Verifier::push)?;
            let found = found.and_then(|verifier| verifier.finish(Some((export.seq, export.hash))));
            // The chain covers what an event says. The statement covers how its line is written.
            let found = found.and_then(|verified| match is_of(&export, &lines, verified.events) {
                true => Ok(verified),
                false => Err(Fault::OtherLines),
            });
            Ok(report(VerifiedScope::CompleteExport, &opened, found))
        }
        filter => {
            let found = verify_lines(path, RowVerifier::default(), RowVerifier::push)?;
            let found = found.and_then(|rows| rows.finish(&export, &lines));
            Ok(Verification { filter, ..report(VerifiedScope::FilteredExport, &opened, found) })
        }
    }
}

fn verify_lines<V>(
    path: &Path,
    mut verifier: V,
    push: impl Fn(&mut V, Map<String, Value>) -> Result<(), Fault>,
) -> Result<Result<V, Fault>, Error> {
    let mut found = Ok(());
    each_line(path, |_, value| {
        if found.is_ok() && !value.contains_key("statement") {
            found = push(&mut verifier, value);
        }
        Some(())
    })?;
    Ok(found.map(|()| verifier))
}

/// Passes on every line of an export, and what it says. Fails if `work` does not know what a line is.
fn each_line(
    path: &Path,
    mut work: impl FnMut(&[u8], Map<String, Value>) -> Option<()>,
) -> Result<(), Error> {
    let shown = path.display();
    let unreadable =
        |error: std::io::Error| refused(format!("Cannot read {shown}: {error}. Nothing was verified."));
    let mut input = BufReader::new(File::open(path).map_err(unreadable)?);
    let (mut line, mut number) = (Vec::new(), 0u64);
    loop {
        line.clear();
        number += 1;
        let mut limited = std::io::Read::take(&mut input, LONGEST_LINE as u64);
        if limited.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            return Ok(());
        }
        read_object(&line).and_then(|value| work(&line, value)).ok_or_else(|| {
            refused(format!("Line {number} of {shown} is not a line of an export. Nothing was verified."))
        })?;
    }
}

/// Returns the statement about an export.
pub(crate) fn export_statement(
    statement: Statement,
    filter: String,
    events: u64,
    lines: Context,
) -> Statement {
    Statement { filter: Some(filter), events: Some(events), sha256: Some(hex(lines)), ..statement }
}
