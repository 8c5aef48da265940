//! Trying a change that is rolled back.

use super::{
    Db, Engine, LOCK_HEAD, Location, StoreError,
    connect::{cannot_open, sqlite_options},
    fault::describe,
    identity::{Identity, Opener},
    pool::{Pools, Purpose},
    servers::Servers,
};
use crate::Remembered;
use crossfade_core::Timestamp;
use sqlx::ConnectOptions;
use std::sync::Arc;

/// Number of bytes written by a trial. SQLite must put most of them into its log, and PostgreSQL into its files.
const TRIAL_BYTES: usize = 256 * 1024;

impl Db {
    /// Changes something in an existing database and rolls it back, to find the problems that a rotation would meet.
    /// Uses separate connections, which are closed afterwards.
    pub async fn try_to_change(location: &Location) -> Result<(), StoreError> {
        let identity: Arc<Identity> = Arc::default();
        let engine = match location {
            Location::File(path) => {
                // Without a cache the pages go to the disk before the transaction ends.
                let options = sqlite_options(path).create_if_missing(false).pragma("cache_size", "8");
                let first = options.connect().await.map_err(|error| cannot_open(path, &describe(&error)))?;
                let opener = |options| Opener { options, identity: identity.clone() };
                let pools = Pools::new(opener(options.clone()), opener(options));
                pools.keep(first);
                Engine::Sqlite(pools)
            }
            Location::Postgres(url) => {
                let options = Servers::of(url)?;
                let opener = |options| Opener { options, identity: identity.clone() };
                Engine::Postgres(Pools::new(opener(options.clone()), opener(options)))
            }
        };
        let db = Self::new(engine, location.clone(), identity);
        let tried = db.change_and_roll_back().await;
        db.close().await;
        tried
    }

    /// Tries a change as [`Self::try_to_change`] does, on an existing connection of this process if no other one may be
    /// available.
    pub async fn try_own_change(&self) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(_) => Self::try_to_change(&self.location).await,
            Engine::Postgres(_) => self.change_and_roll_back().await,
        }
    }

    /// Whether the log of a SQLite file contains data that was not folded into the file, as after a crash.
    pub fn has_log(&self) -> bool {
        let log = self.location.lock_path("db-wal");
        log.is_some_and(|path| std::fs::metadata(path).is_ok_and(|found| found.len() > 0))
    }

    async fn change_and_roll_back(&self) -> Result<(), StoreError> {
        let mut tx = self.begin(Purpose::Change).await?;
        let changed = async {
            tx.one(LOCK_HEAD, vec![]).await?;
            let answer = Remembered {
                request: Vec::new(),
                created_at: Timestamp::from_micros(0),
                reply: noise(TRIAL_BYTES),
                sealed: None,
            };
            tx.remember("doctor", "trial", &answer).await
        };
        let changed = changed.await;
        tx.roll_back().await;
        changed
    }
}

/// Returns letters that PostgreSQL cannot compress.
fn noise(length: usize) -> String {
    let mut state = 1_u64;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + ((state >> 33) % 90) as u8)
    };
    (0..length).map(letter).collect()
}
