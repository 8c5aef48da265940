//! Restoring a backup: the complete file is checked before the first row is written, and all rows are written in one
//! transaction.

use super::{Header, is_code, read::Reader, refused, signing_key};
use crate::{
    error::{Error, cannot_start},
    frame::{act::Act, entry::About},
    keys::{
        master_key::MasterKeys,
        opening::open_database,
        seal::{open_data_keys, sealed_by},
        source::KeySource,
    },
    node::clock_watch::calibrate,
    options::Creation,
    trail::statements::fork,
};
use crossfade_authority::Clock;
use crossfade_core::{
    Code, Problem, Timestamp,
    audit::{Actor, Event},
    ended::Cause,
};
use crossfade_store::{DataKey, Db, Location, QuarantineRow, StoreError, Tx, ValidSecrets, Value};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A restored backup.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// Header of the backup.
    #[serde(flatten)]
    pub header: Header,
    /// Rows by table.
    pub rows: BTreeMap<&'static str, u64>,
    /// When it was restored.
    pub restored_at: Timestamp,
    /// Number of secrets that are current now.
    pub current_secrets: i64,
    /// Number of secrets that are retiring now.
    pub retiring_secrets: i64,
}

/// A backup that was read completely, is intact, and can be opened with the master key.
pub struct Restore {
    from: PathBuf,
    master_key: KeySource,
    master: MasterKeys,
    sha256: String,
}

impl Restore {
    /// Reads the complete file, and checks that its master key is available. Changes nothing.
    pub fn check(from: &Path, master_key: impl Into<KeySource>) -> Result<Self, Error> {
        let master_key = master_key.into();
        let mut reader = Reader::open(from)?;
        let mut data_keys = Vec::new();
        while let Some((table, row)) = reader.next()? {
            if table.name == "data_keys" {
                data_keys.push(data_key(row)?);
            }
        }
        if data_keys.is_empty() {
            return Err(refused(format!(
                "The backup {} contains no data keys because its database was never used. Nothing was \
                changed.",
                from.display()
            )));
        }
        let master = master_key.read()?.ok_or_else(|| {
            refused(format!(
                "The {master_key} is missing, so the backup cannot be restored. Nothing was \
                changed. Put the backed-up instance's key there, or set --master-key-file."
            ))
        })?;
        open_data_keys(&master, &data_keys).map_err(|_| {
            let missing = data_keys.iter().find(|key| !master.holds_key_of(&key.sealed));
            let needed = missing.and_then(|key| sealed_by(&key.sealed));
            let needed = needed.map(|id| format!(", which needs master key {id}")).unwrap_or_default();
            refused(format!(
                "The {master_key} cannot open this backup{needed}. Nothing was changed. Put the \
                right key there, or set --master-key-file."
            ))
        })?;
        let sha256 = reader.sha256.unwrap_or_default();
        if !is_code(&signing_key(&master, &data_keys)?, &sha256, &reader.code) {
            return Err(refused(format!(
                "The backup {} was modified after it was written, or was not written with the key of this instance. \
                Nothing was changed. Use another backup.",
                from.display()
            )));
        }
        Ok(Self { from: from.to_owned(), master_key, master, sha256 })
    }

    /// Writes the backup to an empty database, in one transaction.
    pub async fn run(&self, location: &Location, clock: &Clock) -> Result<Restored, Error> {
        // An empty database with the key of the backup is what a restore is for.
        let db = open_database(location, &self.master_key, Creation::WithAnyKey).await?;
        let done = self.fill(&db, clock).await;
        db.close().await;
        done
    }

    async fn fill(&self, db: &Db, clock: &Clock) -> Result<Restored, Error> {
        // Held to the end, so that no server starts on half of it.
        let lock = db.lock_alone().await.map_err(cannot_start)?;
        calibrate(db, clock).await?;
        let written = db.write::<_, Error>(async |tx| {
            if !tx.is_empty().await? {
                let text = "The database already contains data. Nothing was changed. Restore into an empty \
                    database: set --data-dir or --database-url, or move the old data away first.";
                return Err(Problem::new(Code::InUse, text).into());
            }
            let mut reader = Reader::open(&self.from)?;
            while let Some((table, row)) = reader.next()? {
                tx.insert_row(table, row).await.map_err(contradictory)?;
            }
            if reader.sha256.as_ref() != Some(&self.sha256) {
                return Err(refused(
                    "The backup was modified while it was read. Nothing was changed. Try again.",
                ));
            }
            // Time continues from the backup's time, so that everything that had ended then has also ended now.
            clock.raise(tx.highest_time());
            let now = clock.now();
            tx.stamp(now);
            let (vault, _) = open_data_keys(&self.master, &tx.data_keys().await?)?;
            fork(tx, &vault, reader.header.created_at, now).await?;
            audit(tx, &reader.header, now).await?;
            // What ended after the backup is unknown here. A server with the journal knows it, and goes on by itself.
            let data_until = reader.header.created_at;
            tx.start_quarantine(&QuarantineRow { since: now, cause: Cause::Restored, data_until }).await?;
            let ValidSecrets { current, retiring } = tx.valid_secrets(now).await?;
            Ok(Restored {
                header: reader.header,
                rows: reader.rows,
                restored_at: now,
                current_secrets: current,
                retiring_secrets: retiring,
            })
        });
        let written = written.await;
        lock.release().await;
        Ok(written?.0)
    }
}

fn data_key(row: Vec<Value>) -> Result<DataKey, Error> {
    match <[Value; 4]>::try_from(row) {
        Ok([Value::Text(Some(id)), Value::Text(Some(purpose)), Value::Blob(Some(sealed)), _]) => {
            Ok(DataKey { id, purpose, sealed })
        }
        _ => Err(refused("A data key of the backup is damaged. Nothing was changed.")),
    }
}

async fn audit(tx: &mut Tx, header: &Header, now: Timestamp) -> Result<(), Error> {
    let event = Event::DatabaseRestored {
        backup_created_at: header.created_at,
        engine: header.engine.clone(),
        program_version: header.program_version.clone(),
    };
    Act::new(tx, now, Actor::machine("restore")).audit(&event, About::default()).await
}

/// Returns the error for a file that breaks a rule of the schema. Only a file made by hand can do that.
fn contradictory(error: StoreError) -> Error {
    let text = "The database refused a row of the backup. Nothing was changed.";
    Error { source: Some(Box::new(error)), ..Problem::new(Code::Unavailable, text).into() }
}
