//! Copies that went on by themselves, data keys and rules that came after the copy, and commands beside the server.

use super::{
    Lived, Saved, copy, file_of, journal, journal::restored_with, put_back, release, restarted, token,
};
use crate::engines::{on_both_engines, on_sqlite};
use crate::world::World;
use crossfade_app::{Error, KeySource, list_keys};
use crossfade_core::{Code, ended::Cause};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

on_both_engines! {
    another_history_with_the_same_number_needs_a_release,
    another_history_that_is_longer_needs_a_release,
    a_death_before_the_first_note_of_an_adopted_journal_is_no_other_history,
    a_death_before_the_first_note_of_a_new_journal_is_no_other_history,
    a_command_before_the_first_note_of_a_new_journal_is_no_other_history,
    a_newer_data_key_comes_back_with_the_journal,
    data_keys_of_a_quarantine_come_back_with_the_journal,
    lineages_that_rotated_the_same_registration_need_a_release,
    narrowed_rules_of_an_environment_stay_narrow,
    a_command_waits_until_the_server_has_noted_its_change,
    a_command_notes_its_change_where_no_server_runs,
    a_command_says_that_its_change_is_not_noted,
}

on_sqlite! {
    a_copy_with_its_journal_that_went_on_needs_a_release,
}

const LAST_LINE: Duration = Duration::from_millis(20);

async fn rotate(world: &World, lived: &Lived) -> String {
    let mut body = lived.billing.rotation(0);
    body["end_running_transition"] = true.into();
    let path = lived.billing.path("production", "/secrets/rotate");
    let rotated = lived.owner(world).post(&path, body).await.created();
    rotated["secret"]["value"].as_str().unwrap().to_owned()
}

fn cause(world: &World) -> Option<Cause> {
    world.app.quarantine().map(|(cause, _)| cause)
}

async fn another_history_with_the_same_number_needs_a_release(world: World) {
    let (_directory, path) = journal();
    let mut world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let secret = rotate(&world, &lived).await;
    world.app.close().await;
    // As many ends as before, and the last one another.
    world
        .raw("UPDATE head SET end_hash = (SELECT hash FROM ends WHERE seq = (SELECT MIN(seq) FROM ends))")
        .await;
    for _ in 0..2 {
        world.restart().await;
        assert_eq!(cause(&world), Some(Cause::AnotherJournal));
        assert_eq!(token(&world, &lived.billing, &secret).await.status, 503);
    }
    world.app.release_quarantine_here(&release()).await.unwrap();
    token(&world, &lived.billing, &secret).await.is_token();
    rotate(&world, &lived).await;
    world.restart().await;
    assert_eq!(cause(&world), None);
}

async fn another_history_that_is_longer_needs_a_release(world: World) {
    let (_directory, path) = journal();
    let mut world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let shorter = std::fs::read(&path).unwrap();
    rotate(&world, &lived).await;
    world.app.close().await;
    std::fs::write(&path, &shorter).unwrap();
    // The journal was put back from an older copy: nothing is missing in the database.
    world.restart().await;
    assert_eq!(cause(&world), None);
    world.app.close().await;
    std::fs::write(&path, &shorter).unwrap();
    let last = world.number("SELECT MAX(seq) FROM ends").await - 1;
    world
        .raw(&format!(
            "UPDATE ends SET hash = (SELECT hash FROM ends WHERE seq = {last} - 1) WHERE seq >= {last}"
        ))
        .await;
    world.restart().await;
    assert_eq!(cause(&world), Some(Cause::AnotherJournal));
    world.app.release_quarantine_here(&release()).await.unwrap();
    // So many ends that the database has forgotten the last one of the journal.
    world.app.close().await;
    std::fs::write(&path, &shorter).unwrap();
    world.raw(&format!("DELETE FROM ends WHERE seq <= {}", last + 1)).await;
    world.restart().await;
    assert_eq!(cause(&world), Some(Cause::AnotherJournal));
}

async fn a_death_before_the_first_note_of_an_adopted_journal_is_no_other_history(world: World) {
    let lived = Lived::before(&world).await;
    let (_directory, path) = journal();
    let mut world = restarted(world, &path).await;
    world.app.close().await;
    let adopted = std::fs::read(&path).unwrap();
    world.restart().await;
    let secret = rotate(&world, &lived).await;
    world.app.close().await;
    std::fs::write(&path, &adopted).unwrap();
    for _ in 0..2 {
        world.restart().await;
        assert_eq!(cause(&world), None);
        token(&world, &lived.billing, &secret).await.is_token();
        world.app.close().await;
    }
    assert!(std::fs::read(&path).unwrap().len() > adopted.len(), "the end was noted after all");
    world.restart().await;
}

/// A world with ends, released after it lost its journal, with a new journal in which nothing is noted yet.
async fn begun_again(world: World, path: &Path) -> (World, Lived) {
    let mut world = restarted(world, path).await;
    let lived = Lived::before(&world).await;
    rotate(&world, &lived).await;
    world.app.close().await;
    std::fs::remove_file(path).unwrap();
    world.restart().await;
    assert_eq!(cause(&world), Some(Cause::JournalMissing));
    world.app.release_quarantine_here(&release()).await.unwrap();
    assert_eq!((cause(&world), path.exists()), (None, true));
    (world, lived)
}

async fn a_death_before_the_first_note_of_a_new_journal_is_no_other_history(world: World) {
    let (_directory, path) = journal();
    let (mut world, lived) = begun_again(world, &path).await;
    let begun = std::fs::read(&path).unwrap();
    let secret = rotate(&world, &lived).await;
    world.app.close().await;
    std::fs::write(&path, &begun).unwrap();
    for _ in 0..2 {
        world.restart().await;
        assert_eq!(cause(&world), None);
        token(&world, &lived.billing, &secret).await.is_token();
    }
    assert!(std::fs::read(&path).unwrap().len() > begun.len(), "the end was noted after all");
}

async fn a_command_before_the_first_note_of_a_new_journal_is_no_other_history(world: World) {
    let (_directory, path) = journal();
    let (mut world, lived) = begun_again(world, &path).await;
    create_keys(&world).await.unwrap();
    // Without a server the command notes it itself.
    world.app.close().await;
    std::fs::remove_file(&path).unwrap();
    world.restart().await;
    world.app.release_quarantine_here(&release()).await.unwrap();
    world.app.close().await;
    let source = KeySource::from(world.master_key_file());
    let beside = world.open_beside().await.unwrap();
    beside.create_data_keys(&source).await.unwrap();
    beside.close().await;
    world.restart().await;
    assert_eq!(cause(&world), None);
    rotate_and_use(&world, &lived).await;
}

/// A database and its journal, put aside.
struct Aside {
    database: PathBuf,
    journal: PathBuf,
}

impl Aside {
    fn keep(directory: &Path, name: &str, world: &World, journal: &Path) -> Self {
        let aside = Self {
            database: directory.join(name).with_extension("db"),
            journal: directory.join(name).with_extension("journal"),
        };
        copy(&file_of(world), &aside.database);
        std::fs::copy(journal, &aside.journal).unwrap();
        aside
    }

    /// Puts a copy of both in the place of those of a closed instance.
    fn put_back(&self, world: &mut World, journal: &Path) {
        put_back(&self.database, world);
        std::fs::copy(&self.journal, journal).unwrap();
    }
}

async fn a_copy_with_its_journal_that_went_on_needs_a_release(world: World) {
    let (directory, path) = journal();
    let mut world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    world.app.close().await;
    let start = Aside::keep(directory.path(), "start", &world, &path);
    for (number, (original, fork)) in [(1, 1), (2, 1), (1, 2)].into_iter().enumerate() {
        let mut went = Vec::new();
        for (name, ends) in [("original", original), ("fork", fork)] {
            world.app.close().await;
            start.put_back(&mut world, &path);
            world.restart().await;
            for _ in 0..ends {
                rotate(&world, &lived).await;
            }
            world.app.close().await;
            went.push(Aside::keep(directory.path(), &format!("{name}-{number}"), &world, &path));
        }
        // Each database with the journal of the other one.
        for (database, other) in [(&went[0], &went[1]), (&went[1], &went[0])] {
            put_back(&database.database, &mut world);
            std::fs::copy(&other.journal, &path).unwrap();
            world.restart().await;
            assert_eq!(cause(&world), Some(Cause::AnotherJournal), "{original} and {fork}");
            world.app.close().await;
        }
        went[0].put_back(&mut world, &path);
        world.restart().await;
        assert_eq!(cause(&world), None);
        world.app.close().await;
    }
    world.restart().await;
}

/// Creates data keys beside a server that notes what has ended.
async fn create_keys(world: &World) -> Result<(), Error> {
    let beside = world.open_beside().await.unwrap();
    let source = KeySource::from(world.master_key_file());
    let created = async {
        let created = beside.create_data_keys(&source).await.map(drop);
        beside.close().await;
        created
    };
    let noting = async {
        loop {
            tokio::time::sleep(LAST_LINE).await;
            world.app.tend_journal().await;
        }
    };
    tokio::select! {
        created = created => created,
        () = noting => unreachable!(),
    }
}

async fn a_newer_data_key_comes_back_with_the_journal(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let saved = Saved::of(&world).await;
    create_keys(&world).await.unwrap();
    world.run_jobs().await;
    let secret = rotate(&world, &lived).await;
    let source = KeySource::from(world.master_key_file());
    let keys = async |world: &World| {
        list_keys(world.location(), &source, None, world.now()).await.unwrap().data_keys
    };
    let (ids, newest) = {
        let keys = keys(&world).await;
        (keys.iter().map(|key| key.id.clone()).collect::<Vec<_>>(), keys.last().unwrap().holds)
    };
    assert_eq!((ids.len(), newest), (4, 1));
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("\"data_key\"").count(), 3, "two and the root");
    let mut after = restored_with(&saved, &world, &path).await;
    for _ in 0..2 {
        assert_eq!(keys(&after).await.into_iter().map(|key| key.id).collect::<Vec<_>>(), ids);
        token(&after, &lived.billing, &secret).await.is_token();
        after.restart().await;
    }
    rotate_and_use(&after, &lived).await;
}

async fn data_keys_of_a_quarantine_come_back_with_the_journal(world: World) {
    let (directory, path) = journal();
    let mut world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let saved = Saved::of(&world).await;
    world.journal = Some(directory.path().join("wrong.journal"));
    world.restart().await;
    assert_eq!(cause(&world), Some(Cause::JournalMissing));
    let beside = world.open_beside().await.unwrap();
    beside.create_data_keys(&KeySource::from(world.master_key_file())).await.unwrap();
    beside.close().await;
    world.journal = Some(path.clone());
    world.restart().await;
    assert_eq!(cause(&world), None);
    let secret = rotate(&world, &lived).await;
    let after = restored_with(&saved, &world, &path).await;
    token(&after, &lived.billing, &secret).await.is_token();
}

async fn lineages_that_rotated_the_same_registration_need_a_release(world: World) {
    let (_directory, path) = journal();
    let mut world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let saved = Saved::of(&world).await;
    let secret = rotate(&world, &lived).await;
    world.app.close().await;
    let mut other = saved.restored(&world, None).await;
    other.app.release_quarantine_here(&release()).await.unwrap();
    other.journal = Some(path.clone());
    other.restart().await;
    assert_eq!(cause(&other), Some(Cause::AnotherJournal));
    other.app.release_quarantine_here(&release()).await.unwrap();
    rotate_and_use(&other, &lived).await;
    other.app.close().await;
    other.ends_unable_to_run_jobs();
    for _ in 0..2 {
        world.restart().await;
        assert_eq!(cause(&world), Some(Cause::AnotherJournal));
        assert_eq!(token(&world, &lived.billing, &secret).await.status, 503);
    }
    world.app.release_quarantine_here(&release()).await.unwrap();
    // Which of the two secrets is valid is not known: neither is.
    token(&world, &lived.billing, &secret).await.is_invalid_client();
    world.restart().await;
    assert_eq!(cause(&world), None);
}

async fn rotate_and_use(world: &World, lived: &Lived) {
    let secret = rotate(world, lived).await;
    token(world, &lived.billing, &secret).await.is_token();
}

async fn narrowed_rules_of_an_environment_stay_narrow(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    let saved = Saved::of(&world).await;
    let rules =
        json!({"show_once": true, "wipe_after_days": 3, "max_age_days": 40, "signing_key_rotation_days": 30});
    let mut body = rules.clone();
    body["confirm_environment_slug"] = "production".into();
    lived.owner(&world).patch("/environments/production", body).await.ok();
    let after = restored_with(&saved, &world, &path).await;
    let owner = lived.owner(&after);
    let found = owner.get("/environments/production").await.ok();
    for (name, value) in rules.as_object().unwrap() {
        assert_eq!(&found[name], value, "{found}");
    }
    assert_eq!(after.number("SELECT COUNT(*) FROM secrets WHERE sealed IS NOT NULL").await, 0);
}

async fn a_command_waits_until_the_server_has_noted_its_change(world: World) {
    let (_directory, path) = journal();
    let world = restarted(world, &path).await;
    Lived::before(&world).await;
    create_keys(&world).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap().matches("\"data_key\"").count(), 3);
    // Without the setting, it does not wait, and says so.
    let beside = world.open_beside_without_journal().await.unwrap();
    let created = beside.create_data_keys(&KeySource::from(world.master_key_file())).await;
    assert!(created.is_ok() && beside.is_unnoted());
    beside.close().await;
    world.app.tend_journal().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap().matches("\"data_key\"").count(), 5);
}

async fn a_command_notes_its_change_where_no_server_runs(world: World) {
    let (_directory, path) = journal();
    let mut world = restarted(world, &path).await;
    let lived = Lived::before(&world).await;
    world.app.close().await;
    let beside = world.open_beside().await.unwrap();
    beside.create_data_keys(&KeySource::from(world.master_key_file())).await.unwrap();
    assert!(!beside.is_unnoted());
    beside.close().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap().matches("\"data_key\"").count(), 3);
    world.restart().await;
    assert_eq!(cause(&world), None);
    rotate_and_use(&world, &lived).await;
}

async fn a_command_says_that_its_change_is_not_noted(world: World) {
    let (directory, path) = journal();
    let mut world = restarted(world, &path).await;
    Lived::before(&world).await;
    world.app.close().await;
    let aside = directory.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    let beside = world.open_beside().await.unwrap();
    let refused = beside.create_data_keys(&KeySource::from(world.master_key_file())).await.unwrap_err();
    assert_eq!(refused.problem.code, Code::OutcomeUnknown);
    assert!(refused.problem.detail.contains("was stored, but it is not in the journal yet"), "{refused}");
    beside.close().await;
    std::fs::rename(&aside, &path).unwrap();
    world.restart().await;
    assert_eq!(cause(&world), None);
    assert_eq!(std::fs::read_to_string(&path).unwrap().matches("\"data_key\"").count(), 3);
}
