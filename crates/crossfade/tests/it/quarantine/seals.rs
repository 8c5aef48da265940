//! Former master keys: nothing that the journal or its ends contain opens with them.

use super::{journal, restarted};
use crate::engines::on_both_engines;
use crate::world::World;
use crossfade_app::{KeySource, MasterKeyLine, MasterKeyState, list_keys};
use serde_json::Value as Json;
use std::path::Path;

on_both_engines! {
    a_former_master_key_opens_nothing_in_the_journal,
    seals_of_an_earlier_version_are_removed_at_the_start,
}

/// Runs a command on the keys where no server runs.
async fn offline(world: &mut World, rotates: bool) {
    world.app.close().await;
    let beside = world.open_beside().await.unwrap();
    let source = KeySource::from(world.master_key_file());
    match rotates {
        true => drop(beside.rotate_master_key(&source).await.unwrap()),
        false => drop(beside.create_data_keys(&source).await.unwrap()),
    }
    beside.close().await;
}

/// IDs of the master keys that seal data keys in the journal.
fn sealed_by(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let seal = |line: &str| {
        let line: Json = serde_json::from_str(line.split_once(' ')?.1).ok()?;
        // The version, then the ID of the key.
        Some(line["end"]["end"]["data_key"]["sealed"].as_str()?[2..18].to_owned())
    };
    text.lines().filter_map(seal).collect()
}

async fn master_keys(world: &World) -> Vec<MasterKeyLine> {
    let source = KeySource::from(world.master_key_file());
    let listed = list_keys(world.location(), &source, world.journal.as_deref(), world.now()).await;
    listed.unwrap().master_keys
}

async fn a_former_master_key_opens_nothing_in_the_journal(world: World) {
    let (_directory, path) = journal();
    let mut world = restarted(world, &path).await;
    for rotates in [false, true, false] {
        offline(&mut world, rotates).await;
    }
    let former = master_keys(&world).await.remove(0).id;
    assert!(sealed_by(&path).contains(&former));
    offline(&mut world, true).await;
    let keys = master_keys(&world).await;
    assert_eq!(sealed_by(&path), vec![keys[0].id.clone(); 7], "each data key once, under the newest key");
    for key in &keys[1..] {
        assert_eq!((key.seals, key.in_journal), (0, Some(0)), "{keys:?}");
    }
    world.restart().await;
    world.run_jobs().await;
    assert_eq!(world.number("SELECT COUNT(*) FROM ends WHERE entry LIKE '%data_key%'").await, 17);
    assert_eq!(world.number("SELECT COUNT(*) FROM ends WHERE entry LIKE '%sealed%'").await, 0);
    assert_eq!(world.app.quarantine(), None);
}

async fn seals_of_an_earlier_version_are_removed_at_the_start(world: World) {
    let (_directory, path) = journal();
    let mut world = restarted(world, &path).await;
    offline(&mut world, false).await;
    let before = std::fs::read(&path).unwrap();
    offline(&mut world, true).await;
    world
        .raw(
            r#"UPDATE ends SET entry = REPLACE(entry, '"created_at"', '"sealed":"02aa","created_at"')
               WHERE entry LIKE '%data_key%'"#,
        )
        .await;
    let sealed = "SELECT COUNT(*) FROM ends WHERE entry LIKE '%sealed%'";
    assert_eq!(world.number(sealed).await, 8);
    std::fs::write(&path, before).unwrap();
    let former = master_keys(&world).await.remove(1);
    assert_eq!((former.state, former.in_journal), (MasterKeyState::Old, Some(3)));
    let file = std::fs::read_to_string(world.master_key_file()).unwrap();
    std::fs::write(world.master_key_file(), file.lines().next().unwrap()).unwrap();
    let removed = MasterKeyLine { state: MasterKeyState::Removed, ..former };
    assert_eq!(master_keys(&world).await[1], removed, "its line was removed too early");
    world.restart().await;
    assert_eq!((world.number(sealed).await, world.app.quarantine()), (0, None));
    assert_eq!(sealed_by(&path), vec![master_keys(&world).await[0].id.clone(); 5]);
}
