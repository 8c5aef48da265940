//! Master keys: several at once, a rotation beside a running server, and what is left of one that was killed.

use crate::carry_over::live;
use crate::database::Place;
use crate::engines::on_both_engines;
use crate::start::{Data, Running, is_serving, refuses};
use crate::world::World;
use crossfade_app::{MasterKeyRotation, MasterKeyState, Restore, back_up, list_keys};
use crossfade_authority::Clock;
use crossfade_store::{DataKey, Db, StoreError};
use serde_json::Value;
use std::{
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    thread,
    time::Duration,
};

on_both_engines! {
    a_master_key_is_rotated_beside_a_running_server,
    a_rotation_that_was_not_stored_goes_on_with_the_same_key,
    a_rotation_that_was_half_undone_is_finished,
    two_rotations_at_the_same_moment_lose_no_key,
    a_missing_old_key_is_named_and_nothing_is_sealed_again,
    a_backup_from_before_a_rotation_needs_the_old_key,
}

/// The lines of a key file, and a way to set them.
struct KeyFile<'a>(&'a Path);

impl KeyFile<'_> {
    fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(self.0).unwrap().lines().map(str::to_owned).collect()
    }

    fn set(&self, lines: &[String]) {
        std::fs::write(self.0, lines.join("\n") + "\n").unwrap();
    }
}

async fn rotate(world: &World) -> Result<MasterKeyRotation, crossfade_app::Error> {
    let beside = world.open_beside().await?;
    let rotated = beside.rotate_master_key(&world.master_key_file().into()).await;
    beside.close().await;
    rotated
}

/// ID, state and number of sealed values of each key.
async fn listed(world: &World) -> Vec<(String, MasterKeyState, usize)> {
    let keys =
        list_keys(world.location(), &world.master_key_file().into(), world.journal.as_deref(), world.now())
            .await
            .unwrap();
    keys.master_keys.into_iter().map(|key| (key.id, key.state, key.seals)).collect()
}

async fn stored(world: &World) -> Vec<DataKey> {
    let db = Db::open_read_only(world.location()).await.unwrap();
    let keys = db.read::<_, StoreError>(async |tx| tx.data_keys().await).await.unwrap();
    db.close().await;
    keys
}

/// Puts the seal of a data key back to an earlier one.
async fn put_back(world: &World, key: &DataKey) {
    let hex: String = key.sealed.iter().map(|byte| format!("{byte:02x}")).collect();
    let sealed = match world.location() {
        crossfade_store::Location::File(_) => format!("X'{hex}'"),
        crossfade_store::Location::Postgres(_) => format!("'\\x{hex}'"),
    };
    world.raw(&format!("UPDATE data_keys SET sealed = {sealed} WHERE id = '{}'", key.id)).await;
}

async fn a_master_key_is_rotated_beside_a_running_server(mut world: World) {
    let lived = live(&world).await;
    let path = world.master_key_file().to_owned();
    let file = KeyFile(&path);
    let old = file.lines();
    let before = listed(&world).await;
    assert!(matches!(&before[..], [(_, MasterKeyState::Current, 3)]), "{before:?}");
    let rotated = rotate(&world).await.unwrap();
    assert!(rotated.is_new && rotated.resealed == 3, "{rotated:?}");
    let lines = file.lines();
    assert!(lines.len() == 2 && lines[1] == old[0] && lines[0] != old[0]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let after = listed(&world).await;
    assert!(
        matches!(&after[..], [(_, MasterKeyState::Current, 3), (id, MasterKeyState::Old, 0)] if *id == before[0].0),
        "{after:?}"
    );
    let event = &world.owner().await.get("/audit-events?action=master_key.rotated").await.ok()["items"][0];
    assert_eq!(event["details"]["key_id"], *after[0].0);
    assert_eq!(event["details"]["old_key_ids"][0], *before[0].0);
    // The server that ran beside it, then one that never sees the old key.
    lived.are_revealed(&world).await;
    file.set(&lines[..1]);
    lived.works_on(&world).await;
    world.restart().await;
    lived.works_on(&world).await;
}

async fn a_rotation_that_was_not_stored_goes_on_with_the_same_key(mut world: World) {
    let lived = live(&world).await;
    let path = world.master_key_file().to_owned();
    let file = KeyFile(&path);
    world.fail_commits().await;
    rotate(&world).await.unwrap_err();
    world.mend_commits().await;
    let lines = file.lines();
    assert_eq!(lines.len(), 2, "the key was written first");
    let keys = listed(&world).await;
    assert!(keys[0].2 == 0 && keys[1].2 == 3, "{keys:?}");
    world.restart().await;
    let rotated = rotate(&world).await.unwrap();
    assert!(!rotated.is_new && rotated.master_keys[0].id == keys[0].0, "{rotated:?}");
    assert_eq!(file.lines(), lines, "no third key");
    file.set(&lines[..1]);
    lived.works_on(&world).await;
}

async fn a_rotation_that_was_half_undone_is_finished(mut world: World) {
    let lived = live(&world).await;
    let path = world.master_key_file().to_owned();
    let before = stored(&world).await;
    rotate(&world).await.unwrap();
    put_back(&world, &before[0]).await;
    let keys = listed(&world).await;
    assert!(keys[0].2 == 2 && keys[1].2 == 1, "{keys:?}");
    world.restart().await;
    let rotated = rotate(&world).await.unwrap();
    assert!(!rotated.is_new && rotated.resealed == 1, "{rotated:?}");
    KeyFile(&path).set(&KeyFile(&path).lines()[..1]);
    lived.works_on(&world).await;
}

async fn two_rotations_at_the_same_moment_lose_no_key(mut world: World) {
    let lived = live(&world).await;
    let path = world.master_key_file().to_owned();
    let (one, two) = tokio::join!(rotate(&world), rotate(&world));
    assert!(one.unwrap().is_new && two.unwrap().is_new);
    let keys = listed(&world).await;
    assert!(matches!(&keys[..], [(.., 3), (.., 0), (.., 0)]), "{keys:?}");
    KeyFile(&path).set(&KeyFile(&path).lines()[..1]);
    world.restart().await;
    lived.works_on(&world).await;
}

async fn a_missing_old_key_is_named_and_nothing_is_sealed_again(mut world: World) {
    let lived = live(&world).await;
    let path = world.master_key_file().to_owned();
    let file = KeyFile(&path);
    let before = stored(&world).await;
    rotate(&world).await.unwrap();
    for key in &before {
        put_back(&world, key).await;
    }
    let (lines, keys) = (file.lines(), listed(&world).await);
    file.set(&lines[..1]);
    let says = format!("needs master key {}, not {}. Nothing was changed.", keys[1].0, keys[0].0);
    for refused in [world.try_restart().await.unwrap_err(), rotate(&world).await.unwrap_err()] {
        assert!(refused.to_string().contains(&says), "{refused}");
    }
    let missing = listed(&world).await;
    assert!(missing.contains(&(keys[1].0.clone(), MasterKeyState::Missing, 2)), "{missing:?}");
    assert_eq!(file.lines(), lines[..1]);
    let sealed = |keys: &[DataKey]| keys.iter().map(|key| key.sealed.clone()).collect::<Vec<_>>();
    assert_eq!(sealed(&stored(&world).await), sealed(&before));
    file.set(&lines);
    world.restart().await;
    rotate(&world).await.unwrap();
    file.set(&lines[..1]);
    lived.works_on(&world).await;
}

async fn a_backup_from_before_a_rotation_needs_the_old_key(world: World) {
    live(&world).await;
    let directory = tempfile::tempdir().unwrap();
    let saved = directory.path().join("it.backup");
    let out = std::fs::File::create(&saved).unwrap();
    back_up(world.location(), world.master_key_file(), &Clock::manual(world.now()), out).await.unwrap();
    let old = listed(&world).await.remove(0).0;
    rotate(&world).await.unwrap();
    let file = KeyFile(world.master_key_file());
    let lines = file.lines();
    file.set(&lines[..1]);
    let refused = Restore::check(&saved, file.0).err().unwrap().to_string();
    assert!(refused.contains(&format!("cannot open this backup, which needs master key {old}")), "{refused}");
    file.set(&lines);
    let (place, clock) = (Place::file(), Clock::manual(world.now()));
    Restore::check(&saved, file.0).unwrap().run(&place.location, &clock).await.unwrap();
    let key = directory.path().join("master.key");
    std::fs::copy(file.0, &key).unwrap();
    let restored = World::at(place, directory, clock).await;
    let rotated = rotate(&restored).await.unwrap();
    assert!(!rotated.is_new && rotated.master_keys[1].seals == 0, "{rotated:?}");
    KeyFile(&key).set(&lines[..1]);
    rotate(&restored).await.unwrap();
}

fn keys(word: &str, data: &Data, more: &[&str]) -> Running {
    Running::start(&[&["keys", word, "--data-dir", data.path()], more].concat())
}

fn json(program: Running) -> (Value, String) {
    let (status, out, err) = program.end();
    assert_eq!(status, 0, "{err}");
    (serde_json::from_str(&out).unwrap(), out + &err)
}

#[test]
fn the_program_rotates_lists_and_never_shows_a_key() {
    let data = Data::new();
    let mut server = data.serve(&[]);
    is_serving(&mut server);
    let (rotated, mut told) = json(keys("rotate", &data, &["--json"]));
    assert_eq!(rotated["master_keys"][0]["seals"], 3);
    assert!(told.contains("seals 0 values. Remove its line"), "{told}");
    let (status, out, err) = keys("list", &data, &[]).end();
    assert_eq!(status, 0, "{err}");
    assert!(out.contains("current") && out.contains("old"), "{out}");
    told.push_str(&out);
    let path = data.file("master.key");
    let lines = KeyFile(&path).lines();
    for line in &lines {
        assert!(!told.contains(line.rsplit(':').next().unwrap()));
    }
    drop(server);
    KeyFile(&path).set(&lines[..1]);
    is_serving(&mut data.serve(&[]));
    KeyFile(&path).set(&lines[1..]);
    refuses(data.serve(&[]), 1, "needs master key");
}

#[test]
fn a_rotation_that_is_killed_at_any_moment_loses_no_key() {
    let data = Data::new();
    let mut server = data.serve(&[]);
    is_serving(&mut server);
    for round in 0..12 {
        let mut program = keys("rotate", &data, &[]);
        thread::sleep(Duration::from_millis(20 + 15 * round));
        drop(program.0.kill());
        program.wait();
        let (listed, _) = json(keys("list", &data, &["--json"]));
        let keys = listed["master_keys"].as_array().unwrap();
        assert!(keys.iter().all(|key| key["state"] != "missing"), "{listed}");
    }
    json(keys("rotate", &data, &["--json"]));
    let path = data.file("master.key");
    KeyFile(&path).set(&KeyFile(&path).lines()[..1]);
    drop(server);
    is_serving(&mut data.serve(&[]));
}

/// As Kubernetes mounts a secret: a link to a link into a directory, readable by the group.
#[test]
fn a_mounted_key_is_served_and_rotated_without_being_written() {
    let data = Data::new();
    let mounted = data.file("mounted");
    std::fs::create_dir_all(mounted.join("..data")).unwrap();
    let (key, target) = (data.file("master.key"), mounted.join("..data/master.key"));
    std::fs::rename(&key, &target).unwrap();
    symlink("..data/master.key", mounted.join("master.key")).unwrap();
    symlink(mounted.join("master.key"), &key).unwrap();
    let mode = |mode| std::fs::set_permissions(&target, std::fs::Permissions::from_mode(mode)).unwrap();
    for mode_of_mount in [0o440, 0o400] {
        mode(mode_of_mount);
        is_serving(&mut data.serve(&[]));
        refuses(keys("rotate", &data, &[]), 1, "Put a new key on the first line");
    }
    mode(0o444);
    for program in [data.serve(&[]), keys("rotate", &data, &[]), keys("list", &data, &[])] {
        refuses(program, 1, "Every user of this machine has access to the master key file");
    }
    mode(0o440);
    let other = Data::new();
    let lines = [KeyFile(&other.file("master.key")).lines(), KeyFile(&target).lines()].concat();
    KeyFile(&target).set(&lines);
    let (rotated, _) = json(keys("rotate", &data, &["--json"]));
    assert_eq!(rotated["is_new"], false);
    KeyFile(&target).set(&lines[..1]);
    is_serving(&mut data.serve(&[]));
}
