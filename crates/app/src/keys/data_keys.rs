//! Data keys: creating new ones while a server runs, counting what each still holds, and deleting those that hold
//! nothing.

use crate::{
    app::App,
    error::{Error, cannot_start},
    frame::entry::About,
    history::journal::seals_in,
    keys::{
        rotation::{MasterKeyLine, check, count_in_journal, master_key_lines},
        seal::{
            PURPOSE_ROOT, PURPOSE_SEAL, PURPOSE_VERIFY, data_key_of, new_data_key, open_data_keys, root,
            sealed_by,
        },
        source::KeySource,
    },
    wording::count,
};
use crossfade_core::{
    Code, Problem, Timestamp,
    audit::{Actor, Event},
};
use crossfade_store::{ChangeKind, DataKey, Db, Location, OutdatedSecret, Tx};
use serde::Serialize;
use std::{collections::BTreeMap, path::Path, time::Duration};

/// Maximum number of verifier keys. Each costs a hash for every presented secret.
const MAX_VERIFIER_KEYS: usize = 4;

/// Use of a data key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DataKeyPurpose {
    /// Seals stored values and signing keys.
    Seal,
    /// Verifies secrets.
    Verify,
}

/// State of a data key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DataKeyState {
    /// The newest key of its purpose. New values and digests use it.
    Current,
    /// An older key.
    Old,
}

/// A data key. Never contains the key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DataKeyLine {
    /// ID.
    pub id: String,
    /// Use.
    pub purpose: DataKeyPurpose,
    /// State.
    pub state: DataKeyState,
    /// Number of sealed values, or of digests of valid secrets.
    pub holds: u64,
    /// Number of digests of ended secrets. They do not keep the key from being deleted.
    pub ended: u64,
}

/// The keys of an instance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Keys {
    /// The master keys that are given and those that the database needs.
    pub master_keys: Vec<MasterKeyLine>,
    /// The data keys, oldest first.
    pub data_keys: Vec<DataKeyLine>,
}

/// A valid secret whose digest needs an old verifier key. Never contains the secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SecretOfOldKey {
    /// ID of the verifier key.
    pub key_id: String,
    /// ID of the client.
    pub client_id: String,
    /// Name of the client.
    pub client: String,
    /// Slug of the environment.
    pub environment: String,
    /// ID of the registration.
    pub registration_id: String,
    /// The OAuth `client_id`.
    pub oauth_client_id: String,
    /// ID of the secret.
    pub secret_id: String,
    /// Deadline of the secret; `null` if the secret is current.
    pub expires_at: Option<Timestamp>,
    /// Last recorded use.
    pub last_used_at: Option<Timestamp>,
}

/// Lists the valid secrets that keep old verifier keys from being deleted. Changes nothing.
pub async fn list_secrets_of_old_keys(
    location: &Location,
    now: Timestamp,
) -> Result<Vec<SecretOfOldKey>, Error> {
    let db = Db::open_read_only(location).await.map_err(cannot_start)?;
    let listed = async {
        if db.stored_schema().await.map_err(cannot_start)?.is_none() {
            let text = "The database contains no Crossfade data, so there are no secrets.";
            return Err(Problem::new(Code::Unavailable, text).into());
        }
        let read = db.read_all::<_, Error>(async |tx| {
            let stored = tx.data_keys().await?;
            let newest = stored.iter().rev().find(|key| key.purpose == PURPOSE_VERIFY);
            Ok(tx.secrets_of_other_keys(newest.map_or("", |key| &key.id), now).await?)
        });
        let secret = |row: OutdatedSecret| SecretOfOldKey {
            key_id: row.key,
            client_id: row.client_id,
            client: row.client,
            environment: row.environment,
            registration_id: row.registration_id,
            oauth_client_id: row.oauth_client_id,
            secret_id: row.secret_id,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
        };
        Ok(read.await?.into_iter().map(secret).collect())
    };
    let listed = listed.await;
    db.close().await;
    listed
}

/// Lists the keys of an instance and what each holds, also in its journal. Changes nothing.
pub async fn list_keys(
    location: &Location,
    source: &KeySource,
    journal: Option<&Path>,
    now: Timestamp,
) -> Result<Keys, Error> {
    let db = Db::open_read_only(location).await.map_err(cannot_start)?;
    let listed = async {
        if db.stored_schema().await.map_err(cannot_start)?.is_none() {
            let text = "The database contains no Crossfade data, so no master key belongs to it.";
            return Err(Problem::new(Code::Unavailable, text).into());
        }
        let read = db.read_all::<_, Error>(async |tx| {
            let stored = tx.data_keys().await?;
            let lines = lines(tx, &stored, now).await?;
            Ok((stored, tx.instance().await?, lines))
        });
        let (stored, instance, data_keys) = read.await?;
        let master = source.read()?.ok_or_else(|| source.missing())?;
        let mut master_keys = master_key_lines(&master, &stored, instance.as_ref());
        // Only with the data keys it is known whether the file is the journal of this instance.
        if let (Some(path), Some(instance), Ok((_, keys))) =
            (journal, instance, open_data_keys(&master, &stored))
            && let Some(seals) = seals_in(path, &root(&keys), &instance.id)
        {
            count_in_journal(&mut master_keys, &seals);
        }
        Ok(Keys { master_keys, data_keys })
    };
    let listed = listed.await;
    db.close().await;
    listed
}

async fn lines(tx: &mut Tx, stored: &[DataKey], now: Timestamp) -> Result<Vec<DataKeyLine>, Error> {
    let sealed = sealed_values(tx).await?;
    let digests = tx.digests_of_keys(now).await?;
    let mut lines: Vec<DataKeyLine> = Vec::new();
    for key in stored.iter().rev() {
        let digests = digests.iter().find(|it| it.key == key.id);
        let (purpose, holds, ended) = match key.purpose.as_str() {
            PURPOSE_SEAL => (DataKeyPurpose::Seal, sealed.get(&key.id).copied().unwrap_or(0), 0),
            PURPOSE_VERIFY => {
                let (valid, ended) = digests.map_or((0, 0), |it| (it.valid, it.ended));
                (DataKeyPurpose::Verify, valid.unsigned_abs(), ended.unsigned_abs())
            }
            _ => continue,
        };
        let is_newest = lines.iter().all(|newer| newer.purpose != purpose);
        let state = if is_newest { DataKeyState::Current } else { DataKeyState::Old };
        lines.push(DataKeyLine { id: key.id.clone(), purpose, state, holds, ended });
    }
    lines.reverse();
    Ok(lines)
}

/// Counts the stored values by the key that sealed them.
async fn sealed_values(tx: &mut Tx) -> Result<BTreeMap<String, u64>, Error> {
    let mut sealed = BTreeMap::new();
    let mut add = |value: &[u8]| {
        if let Some(key) = sealed_by(value) {
            *sealed.entry(key).or_default() += 1;
        }
        Ok::<_, Error>(())
    };
    tx.each_sealed_secret(|row| add(&row.sealed)).await?;
    tx.each_sealed_answer(|row| add(&row.sealed)).await?;
    tx.each_sealed_upstream_secret(|_, _, sealed| add(sealed)).await?;
    tx.each_sealed_provider_secret(|_, sealed| add(sealed)).await?;
    tx.each_sealed_factor(|_, _, sealed| add(sealed)).await?;
    for sealed in tx.sealed_message_links().await? {
        add(&sealed)?;
    }
    for key in tx.sealed_signing_keys().await? {
        add(&key.sealed)?;
    }
    for key in tx.audit_keys().await? {
        add(&key.sealed)?;
    }
    for webhook in tx.all_webhooks().await?.into_iter().flatten() {
        add(&webhook.signing_secret)?;
        for value in webhook.previous_secret.iter().chain(&webhook.routing_key) {
            add(value)?;
        }
    }
    Ok(sealed)
}

impl App {
    /// Creates a data key for values sealed from now on, and one for digests from now on. A running server takes them
    /// within seconds.
    pub async fn create_data_keys(&self, source: &KeySource) -> Result<Vec<DataKeyLine>, Error> {
        // A command runs before the lock is taken, because every change waits for that lock.
        let master = source.read()?.ok_or_else(|| source.missing())?;
        let random = self.random.as_ref();
        self.change_as(Actor::machine("keys create"), async |act| {
            let stored = act.tx.data_keys().await?;
            let instance = act.tx.instance().await?;
            let instance = instance.ok_or_else(|| Error::internal("the database has no instance"))?;
            check(&master, &stored, &instance)?;
            let (_, opened) = open_data_keys(&master, &stored)?;
            if opened.keys.len() >= MAX_VERIFIER_KEYS {
                let text = format!(
                    "There are already {MAX_VERIFIER_KEYS} verifier keys. Nothing was changed. Delete an old key \
                    that holds nothing with crossfade keys delete: see crossfade keys list."
                );
                return Err(Problem::new(Code::InUse, text).into());
            }
            // Later than every other key, even if those were created in the same microsecond: the last one is the newest.
            let first = act.now.after(Duration::from_micros(stored.len() as u64));
            let mut new = Vec::new();
            if stored.iter().all(|key| key.purpose != PURPOSE_ROOT) {
                // Digests of API tokens and sessions are derived from the first verifier key, which can then be deleted.
                new.push(data_key_of(&root(&opened), &master, PURPOSE_ROOT, random)?);
            }
            let seal = new_data_key(&master, PURPOSE_SEAL, random)?;
            let verifier = new_data_key(&master, PURPOSE_VERIFY, random)?;
            let event = Event::DataKeysCreated {
                seal_key_id: seal.id.clone(),
                verifier_key_id: verifier.id.clone(),
            };
            new.extend([seal, verifier]);
            for (at, key) in (0..).zip(&new) {
                act.tx.insert_data_key(key, first.after(Duration::from_micros(at))).await?;
            }
            act.audit(&event, About::default()).await?;
            let stored = act.tx.data_keys().await?;
            lines(act.tx, &stored, act.now).await
        })
        .await
    }

    /// Deletes an old data key that holds nothing. Ended secrets whose digests it holds are no longer recognised, neither
    /// when they are presented nor when they are found, unless their values are stored.
    pub async fn delete_data_key(&self, id: &str) -> Result<DataKeyLine, Error> {
        self.change_as(Actor::machine("keys delete"), async |act| {
            let stored = act.tx.data_keys().await?;
            let lines = lines(act.tx, &stored, act.now).await?;
            let key = lines.iter().find(|line| line.id == id);
            let key = key.ok_or_else(|| {
                let text = "There is no data key with this ID. Nothing was changed. List the keys with crossfade keys list.";
                Error::from(Problem::new(Code::NotFound, text))
            })?;
            may_delete(key, &lines)?;
            act.tx.delete_data_key(id).await?;
            let changed = act.tx.forget_value_digests(id).await?;
            let changed: Vec<ChangeKind> = changed.into_iter().map(ChangeKind::Registration).collect();
            act.tx.append_widening(&changed).await?;
            let event = Event::DataKeyDeleted { key_id: id.to_owned(), ended_digests: key.ended };
            act.audit(&event, About::default()).await?;
            Ok(key.clone())
        })
        .await
    }
}

/// Refuses to delete a key that is needed.
fn may_delete(key: &DataKeyLine, lines: &[DataKeyLine]) -> Result<(), Problem> {
    let refused = |why: String| Err(Problem::new(Code::InUse, why));
    let what = match key.purpose {
        DataKeyPurpose::Seal => "sealed value",
        DataKeyPurpose::Verify => "digest",
    };
    if key.state == DataKeyState::Current {
        return refused(format!("Key {} is the newest of its purpose. Nothing was changed.", key.id));
    }
    if key.holds > 0 {
        let held = count(key.holds, what);
        return refused(format!(
            "Key {} still holds {held}. Nothing was changed. Rotate these secrets, or wait until they are used.",
            key.id
        ));
    }
    // A server that has not taken the newest key yet could still use an older one.
    let newest = lines.iter().find(|it| it.purpose == key.purpose && it.state == DataKeyState::Current);
    if newest.is_none_or(|newest| newest.holds == 0) {
        return refused(format!(
            "The newest key holds no {what} yet. Nothing was changed. Use or rotate a secret first, while a server runs."
        ));
    }
    Ok(())
}
