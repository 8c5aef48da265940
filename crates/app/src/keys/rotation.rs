//! Rotating the master key: everything that it seals is sealed under another one, while a server runs. The server needs
//! no master key after its start, because the data keys stay the same.

use crate::{
    app::App,
    error::Error,
    frame::entry::About,
    keys::{
        master_key::MasterKeys,
        place::SealPlace,
        seal::{is_bound, open_data_keys, reseal_data_key, sealed_by},
        source::KeySource,
    },
};
use crossfade_core::{
    audit::{Actor, Event},
    ended::Hex,
};
use crossfade_store::{DataKey, InstanceRow};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Where a master key is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MasterKeyState {
    /// The first key that is given: it seals.
    Current,
    /// Another key that is given: it only opens.
    Old,
    /// Not given, although values need it.
    Missing,
    /// Not given, and only the journal still contains data keys that it seals.
    Removed,
}

/// A master key. Never contains the key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MasterKeyLine {
    /// ID.
    pub id: String,
    /// Where it is.
    pub state: MasterKeyState,
    /// Number of stored values that are sealed under it.
    pub seals: usize,
    /// Number of data keys in the journal that are sealed under it; `None` if the journal was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_journal: Option<usize>,
}

/// A finished rotation of the master key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MasterKeyRotation {
    /// Whether the key was created by this rotation.
    pub is_new: bool,
    /// Number of values that were sealed again.
    pub resealed: usize,
    /// All keys, the current one first.
    pub master_keys: Vec<MasterKeyLine>,
}

/// Returns the master keys that are given, and those that stored values need.
pub(super) fn master_key_lines(
    master: &MasterKeys,
    stored: &[DataKey],
    instance: Option<&InstanceRow>,
) -> Vec<MasterKeyLine> {
    let sealed = stored.iter().map(|key| &key.sealed).chain(instance.map(|instance| &instance.binding));
    let users: Vec<String> = sealed.filter_map(|sealed| sealed_by(sealed)).collect();
    let given = master.ids();
    let absent: BTreeSet<&String> = users.iter().filter(|id| !given.contains(id)).collect();
    let state = |at| if at == 0 { MasterKeyState::Current } else { MasterKeyState::Old };
    let given = given.iter().enumerate().map(|(at, id)| (id, state(at)));
    let absent = absent.into_iter().map(|id| (id, MasterKeyState::Missing));
    let seals = |id: &String| users.iter().filter(|user| *user == id).count();
    let line = |(id, state): (&String, _)| MasterKeyLine {
        id: id.clone(),
        state,
        seals: seals(id),
        in_journal: None,
    };
    given.chain(absent).map(line).collect()
}

/// Adds to the lines how many data keys of the journal each master key seals.
pub(super) fn count_in_journal(lines: &mut Vec<MasterKeyLine>, seals: &[Hex]) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for id in seals.iter().filter_map(|seal| sealed_by(&seal.0)) {
        *counts.entry(id).or_default() += 1;
    }
    for line in lines.iter_mut() {
        line.in_journal = Some(counts.remove(&line.id).unwrap_or(0));
    }
    let removed = |(id, number)| MasterKeyLine {
        id,
        state: MasterKeyState::Removed,
        seals: 0,
        in_journal: Some(number),
    };
    lines.extend(counts.into_iter().map(removed));
}

impl App {
    /// Seals everything that a master key seals under the first key that is given. If that key already seals everything,
    /// creates a new one first.
    ///
    /// The rows change in one transaction, after the file contains the new key beside the old ones. Whatever stops this,
    /// the file opens the database before and after, and the next run continues with the key that is there.
    pub async fn rotate_master_key(&self, source: &KeySource) -> Result<MasterKeyRotation, Error> {
        // A command runs before the lock is taken, because every change waits for that lock.
        let mut given = match source {
            KeySource::Command(_) => source.read()?,
            KeySource::File(_) => None,
        };
        self.change_as(Actor::machine("keys rotate"), async |act| {
            // A file is read after the lock was taken, so that two rotations never create two first keys.
            let mut master = match given.take() {
                Some(given) => given,
                None => source.read()?.ok_or_else(|| source.missing())?,
            };
            let stored = act.tx.data_keys().await?;
            let instance = act.tx.instance().await?;
            let instance = instance.ok_or_else(|| Error::internal("the database has no instance"))?;
            check(&master, &stored, &instance)?;
            let used = master_key_lines(&master, &stored, Some(&instance));
            let is_new = used.iter().all(|line| line.state == MasterKeyState::Current || line.seals == 0);
            if is_new {
                master = source.put_new_first(self.random.as_ref())?;
            }
            let mut resealed = 0;
            for key in &stored {
                if let Some(sealed) = reseal_data_key(&master, key)? {
                    act.tx.reseal_data_key(&key.id, &sealed).await?;
                    resealed += 1;
                }
            }
            act.tx.remove_seals_of_ends().await?;
            if sealed_by(&instance.binding) != Some(master.first_id()) {
                let id = &instance.id;
                let binding = master.seal(&SealPlace::Instance { id }, id.as_bytes())?;
                act.tx.rebind_instance(&binding).await?;
                resealed += 1;
            }
            let stored = act.tx.data_keys().await?;
            let instance = act.tx.instance().await?;
            let instance = instance.ok_or_else(|| Error::internal("the database has no instance"))?;
            let master_keys = master_key_lines(&master, &stored, Some(&instance));
            let event = Event::MasterKeyRotated {
                key_id: master.first_id(),
                old_key_ids: used.iter().filter(|line| line.seals > 0).map(|line| line.id.clone()).collect(),
                is_new,
                resealed: resealed as u64,
            };
            // The old keys may be removed from now on, so the new one alone must open everything.
            check(&master.without_old(), &stored, &instance)?;
            act.audit(&event, About::default()).await?;
            Ok(MasterKeyRotation { is_new, resealed, master_keys })
        })
        .await
    }
}

/// Fails if the master keys do not open everything that a master key seals.
pub(super) fn check(master: &MasterKeys, stored: &[DataKey], instance: &InstanceRow) -> Result<(), Error> {
    open_data_keys(master, stored)?;
    if is_bound(master, instance) {
        return Ok(());
    }
    Err(Error::internal("the master key is not bound to the instance of the database"))
}
