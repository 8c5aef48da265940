//! Backups: a consistent snapshot in one file, the same format for both engines, taken while a server runs and writes.
//!
//! The file is text with one JSON value per line:
//!
//! - a header: the format, the version, schema and engine, the time, and the ids of the data keys that the master key
//!   must open;
//! - for each table of [`crossfade_store::backup`], a line with its name and columns, and then a line for each row: an
//!   array of the values in that order, bytes as base64;
//! - a trailer: the number of rows per table, the SHA-256 of every byte before it, and a code over that hash with a key
//!   that only the master key opens. Without a correct trailer the file is not a backup, so nobody without the master key
//!   can change one.
//!
//! Sealed values stay sealed. The master key is never included.

pub(crate) mod read;
mod restore;

pub use restore::{Restore, Restored};

use crate::{
    error::{Error, cannot_start},
    keys::{
        master_key::MasterKeys,
        seal::{derived, open_data_keys, root},
        source::KeySource,
    },
    node::clock_watch::calibrate,
};
use aws_lc_rs::{
    constant_time,
    digest::{Context, SHA256},
    hmac,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use crossfade_authority::Clock;
use crossfade_core::{Code, Problem, Timestamp};
use crossfade_store::{
    DataKey, Db, Location, Value,
    backup::{TABLES, Table},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::BTreeMap, io::Write};

const FORMAT: &str = "crossfade-backup";
/// Version 1 had no code that proves who wrote it.
const FORMAT_VERSION: u32 = 2;

/// First line of a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    format: String,
    format_version: u32,
    /// Schema version of the backed up database.
    pub schema_version: i64,
    /// Version of the program that took it.
    pub program_version: String,
    /// When it was taken. It contains everything acknowledged before that time.
    pub created_at: Timestamp,
    /// Engine of the backed up database.
    pub engine: String,
    /// Ids of its data keys.
    pub data_keys: Vec<String>,
}

/// A written backup.
#[derive(Clone, Debug, Serialize)]
pub struct Backup {
    /// Its header.
    #[serde(flatten)]
    pub header: Header,
    /// Rows by table.
    pub rows: BTreeMap<&'static str, u64>,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of everything except the last line.
    pub sha256: String,
}

impl Backup {
    /// Returns the number of rows of all tables.
    pub fn total(&self) -> u64 {
        self.rows.values().sum()
    }
}

/// Writes a backup of the database to `out`, with a code that proves that the holder of the master key wrote it. Changes
/// nothing in the database.
pub async fn back_up(
    location: &Location,
    master_key: impl Into<KeySource>,
    clock: &Clock,
    out: impl Write,
) -> Result<Backup, Error> {
    let master_key = master_key.into();
    let db = Db::open_read_only(location).await.map_err(cannot_start)?;
    let done = write_backup(&db, &master_key, clock, out).await;
    db.close().await;
    done
}

async fn write_backup(
    db: &Db,
    master_key: &KeySource,
    clock: &Clock,
    out: impl Write,
) -> Result<Backup, Error> {
    let schema_version = match db.stored_schema().await.map_err(cannot_start)? {
        Some(schema) if schema == Db::program_schema() => schema,
        Some(schema) => return Err(other_schema(schema).into()),
        None => return Err(refused("The database contains no Crossfade data. There is nothing to back up.")),
    };
    let (_, highest_time) = db.read::<_, Error>(async |tx| Ok(tx.read_head().await?)).await?;
    let master = master_key.read()?.ok_or_else(|| {
        refused(format!(
            "The {master_key} is missing, so nothing can prove later that the backup was not changed. No backup was \
            created. Put the key of this instance there, or set --master-key-file."
        ))
    })?;
    calibrate(db, clock).await?;
    clock.raise(highest_time);
    // Read before the snapshot, so that the header never claims more than the backup contains.
    let created_at = clock.now();
    let (engine, mut out) = (db.engine().to_owned(), Sealing::new(out));
    db.read_all::<_, Error>(async |tx| {
        let data_keys = tx.data_keys().await?;
        let key = signing_key(&master, &data_keys)?;
        let header = Header {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            schema_version,
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            created_at,
            engine,
            data_keys: data_keys.into_iter().map(|key| key.id).collect(),
        };
        out.line(&header)?;
        let mut rows = BTreeMap::new();
        for table in TABLES {
            out.line(&heading(table))?;
            let count = tx.each_row::<Error>(table, |row| out.line(&written(row))).await?;
            rows.insert(table.name, count);
        }
        let sha256 = out.sha256();
        out.line(&trailer(&rows, &sha256, &code(&key, &sha256)))?;
        out.out.flush().map_err(|error| unwritable(&error))?;
        Ok(Backup { header, rows, bytes: out.bytes, sha256 })
    })
    .await
}

/// Writes lines and hashes them.
struct Sealing<W> {
    out: W,
    hash: Context,
    bytes: u64,
    line: Vec<u8>,
}

impl<W: Write> Sealing<W> {
    fn new(out: W) -> Self {
        Self { out, hash: Context::new(&SHA256), bytes: 0, line: Vec::new() }
    }

    fn line(&mut self, value: &impl Serialize) -> Result<(), Error> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value).map_err(Error::internal)?;
        self.line.push(b'\n');
        self.hash.update(&self.line);
        self.bytes += self.line.len() as u64;
        self.out.write_all(&self.line).map_err(|error| unwritable(&error))
    }

    fn sha256(&self) -> String {
        hex(self.hash.clone())
    }
}

pub(crate) fn hex(hash: Context) -> String {
    hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the key of the code of backups, which only the master key opens.
pub(crate) fn signing_key(master: &MasterKeys, data_keys: &[DataKey]) -> Result<hmac::Key, Error> {
    let root = root(&open_data_keys(master, data_keys)?.1);
    Ok(hmac::Key::new(hmac::HMAC_SHA256, derived(&root, b"crossfade: codes of backups").as_slice()))
}

fn code(key: &hmac::Key, sha256: &str) -> String {
    hmac::sign(key, sha256.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether `written` is the code of a backup with this hash, compared in constant time.
pub(crate) fn is_code(key: &hmac::Key, sha256: &str, written: &str) -> bool {
    constant_time::verify_slices_are_equal(code(key, sha256).as_bytes(), written.as_bytes()).is_ok()
}

/// Returns the line that opens a table.
pub(crate) fn heading(table: &Table) -> serde_json::Value {
    let columns: Vec<&str> = table.kept().map(|(name, _)| name).collect();
    json!({"table": table.name, "columns": columns})
}

/// Returns the last line.
pub(crate) fn trailer(rows: &BTreeMap<&'static str, u64>, sha256: &str, code: &str) -> serde_json::Value {
    json!({"rows": rows, "sha256": sha256, "code": code})
}

fn written(row: Vec<Value>) -> Vec<serde_json::Value> {
    let value = |value| match value {
        Value::Int(number) => number.into(),
        Value::Text(text) => text.into(),
        Value::Blob(bytes) => bytes.map(|bytes| STANDARD.encode(bytes)).into(),
    };
    row.into_iter().map(value).collect()
}

fn other_schema(schema: i64) -> Problem {
    let ours = Db::program_schema();
    if schema > ours {
        let text = format!(
            "No backup was taken: the database was written by a newer version of Crossfade (schema {schema}), and \
            this version cannot read all of it (schema {ours}). Take the backup with that version."
        );
        return Problem::new(Code::Unavailable, text);
    }
    let text = format!(
        "No backup was taken: the database has schema {schema}, but this version of Crossfade requires \
        {ours}. Take the backup with the version that wrote the database, or let crossfade serve migrate it \
        first."
    );
    Problem::new(Code::Unavailable, text)
}

fn unwritable(error: &std::io::Error) -> Error {
    refused(format!("Cannot write the backup: {error}. No backup was created."))
}

pub(crate) fn refused(text: impl Into<String>) -> Error {
    Problem::new(Code::Unavailable, text).into()
}
