//! Tests with a journal of an earlier version, whose lines have no hashes, and with a database that lost an end.

use super::lines::{Chain, Found, Line, read};
use crate::{
    app::App,
    keys::source::KeySource,
    node::{
        addresses::AddressPolicy,
        lease::{DEFAULT_LEASE, NodeOptions},
    },
    options::{Creation, Options},
    people::password::PasswordCost,
};
use crossfade_authority::{Clock, SystemRandom};
use crossfade_core::Timestamp;
use crossfade_store::Location;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// A directory of its own for a test.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new(test: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("crossfade-earlier-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir(&directory).unwrap();
        Self(directory)
    }

    fn journal(&self) -> PathBuf {
        self.0.join("ends.journal")
    }

    fn source(&self) -> KeySource {
        KeySource::from(self.0.join("master.key").as_path())
    }

    pub(crate) async fn open(&self) -> Arc<App> {
        let url = "https://auth.example.com".to_owned();
        let options = Options {
            location: Location::File(self.0.join("it.db")),
            master_key: self.source(),
            public_url: url.clone(),
            admin_url: url,
            clock: Arc::new(Clock::manual(Timestamp::from_seconds(1_795_525_500))),
            random: Arc::new(SystemRandom),
            audit_retention_days: None,
            audit_sinks: Vec::new(),
            mailer: None,
            poster: Arc::default(),
            relay: Default::default(),
            journal: Some(self.journal()),
            evidence_addresses: AddressPolicy::Full,
            fresh_sign_in: Duration::from_secs(600),
            node: NodeOptions { name: "here".to_owned(), lease: DEFAULT_LEASE },
            password_cost: PasswordCost::RECOMMENDED,
            readings_kept: Duration::ZERO,
            decides: true,
            creation: Creation::WithNewKey,
        };
        App::open(options).await.unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes the journal as an earlier version wrote it. Returns its last end.
async fn forget_hashes(app: &App, path: &Path) -> i64 {
    let journal = app.node.journal.as_ref().unwrap();
    let (key, instance) = journal.key();
    let bytes = std::fs::read(path).unwrap();
    let Found::Whole(contents) = read(&bytes, key, instance) else { panic!("not intact") };
    let (mut chain, mut text) = (Chain::new(key), Vec::new());
    let first = Line::Journal {
        version: 1,
        id: contents.id.clone(),
        instance: instance.to_owned(),
        after: contents.after,
        releases: Vec::new(),
        in_use: true,
        hash: None,
        hashes: Vec::new(),
    };
    let ends = contents.ends.iter().map(|(seq, end)| Line::End { seq: *seq, end: end.clone(), hash: None });
    for line in std::iter::once(first).chain(ends) {
        chain.write(&line, &mut text).unwrap();
    }
    assert!(!String::from_utf8_lossy(&text).contains("hash"));
    std::fs::write(path, text).unwrap();
    contents.last
}

/// Puts the database back to an end that an earlier version noted.
async fn put_back(app: &App, end: i64) {
    let put = app.db.write::<_, crate::error::Error>(async |tx| {
        tx.continue_ends_from(end, None);
        Ok(())
    });
    put.await.unwrap();
}

#[tokio::test]
async fn a_journal_of_an_earlier_version_goes_on() {
    let place = Place::new("journal");
    let app = place.open().await;
    app.create_data_keys(&place.source()).await.unwrap();
    app.tend_journal().await;
    let last = forget_hashes(&app, &place.journal()).await;
    assert_eq!(last, 3, "the root and two data keys");
    put_back(&app, last).await;
    app.close().await;
    for _ in 0..2 {
        let app = place.open().await;
        assert_eq!(app.quarantine(), None);
        app.close().await;
    }
    let text = std::fs::read_to_string(place.journal()).unwrap();
    assert_eq!(text.matches("\"data_key\"").count(), 5, "all data keys are noted, once");
    // A copy from the time of the earlier version is compared by its number.
    for earlier in [last, last - 1] {
        let app = place.open().await;
        put_back(&app, earlier).await;
        app.close().await;
        let app = place.open().await;
        assert_eq!(app.quarantine(), None);
        app.close().await;
    }
    // One that an earlier version went on with is told apart.
    let app = place.open().await;
    put_back(&app, last + 1).await;
    app.close().await;
    let app = place.open().await;
    assert!(app.quarantine().is_some());
    app.close().await;
}

#[tokio::test]
async fn an_end_that_the_database_lost_is_not_confirmed() {
    let place = Place::new("lost");
    let app = place.open().await;
    app.create_data_keys(&place.source()).await.unwrap();
    app.tend_journal().await;
    let journal = app.node.journal.as_ref().unwrap();
    let (before, synced) = (std::fs::read(place.journal()).unwrap(), journal.synced());
    let refused = app.node.copy_ends(journal, synced + 1).await.unwrap_err();
    assert_eq!(refused.problem.code, crossfade_core::Code::OutcomeUnknown);
    assert!(!refused.problem.detail.contains("Nothing was changed"), "{refused}");
    assert_eq!((std::fs::read(place.journal()).unwrap(), journal.synced()), (before, synced));
    app.close().await;
}

#[tokio::test]
async fn a_history_that_a_command_has_changed_is_judged_again() {
    let place = Place::new("judged");
    let app = place.open().await;
    let read =
        async || app.db.read::<_, crate::error::Error>(async |tx| Ok(tx.history().await?)).await.unwrap();
    let judged = read().await;
    app.create_data_keys(&place.source()).await.unwrap();
    let now = read().await;
    assert!(now.end_seq > judged.end_seq);
    let settle = async |judged| app.node.settle(judged, async |tx, _| Ok(tx.set_noting(false).await?)).await;
    assert_eq!(settle(&judged).await.unwrap(), None);
    assert_eq!(read().await, now, "nothing was stored");
    assert_eq!(settle(&now).await.unwrap(), Some(()));
    assert!(!read().await.is_noting);
    app.close().await;
}
