//! Copies of the database send nothing.

use super::{HOUR, abandoned, create, posting, rotate, sent};
use crate::{engines::on_both_engines, receiver::Receiver, world::World};
use crossfade_app::{Poster, Restore, back_up};
use crossfade_authority::Clock;
use serde_json::json;

on_both_engines! {
    a_quarantine_sends_nothing_to_webhooks,
    a_copy_of_the_database_sends_nothing_to_webhooks,
    a_restored_database_sends_no_delivery_of_the_backup,
}

async fn a_quarantine_sends_nothing_to_webhooks(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    create(&world, &receiver, json!({})).await;
    rotate(&world, &client, "production").await;
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("ends.journal");
    world.journal = Some(journal.clone());
    let here = || Poster::new(vec!["127.0.0.1/32".parse().unwrap()], None).unwrap();
    world.restart_with_poster(here()).await;
    std::fs::remove_file(&journal).unwrap();
    world.restart_with_poster(here()).await;
    assert!(world.app.quarantine().is_some(), "the journal is missing");
    assert_eq!((sent(&world, &receiver).await.len(), abandoned(&world, "quarantine").await), (0, 1));
    world.raw("UPDATE deliveries SET abandoned_at = NULL").await;
    assert_eq!(sent(&world, &receiver).await.len(), 0);
    world.raw("UPDATE deliveries SET abandoned_at = 1").await;
    let release = crossfade_core::api::ReleaseQuarantine { reason: Some("checked".into()), except: vec![] };
    world.app.release_quarantine_here(&release).await.unwrap();
    rotate(&world, &client, "production").await;
    assert_eq!(sent(&world, &receiver).await.len(), 1);
}

/// Also without mail.
async fn a_copy_of_the_database_sends_nothing_to_webhooks(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    create(&world, &receiver, json!({})).await;
    rotate(&world, &client, "production").await;
    assert_eq!(sent(&world, &receiver).await.len(), 1);
    rotate(&world, &client, "production").await;
    let elsewhere = "UPDATE sending_place SET place = REPLACE(place, '\"number\":\"', '\"number\":\"1')";
    world.raw(elsewhere).await;
    world.advance(HOUR);
    let here = Poster::new(vec!["127.0.0.1/32".parse().unwrap()], None).unwrap();
    world.restart_with_poster(here).await;
    assert_eq!(sent(&world, &receiver).await.len(), 0);
    assert_eq!(world.number("SELECT COUNT(*) FROM audit_events WHERE action = 'mail.held'").await, 1);
    assert_eq!(world.app.read_mail_here(None).await.unwrap().queued, 1, "also what waits for webhooks");
    world.owner().await.post("/mail/release", json!({"reason": "moved"})).await.ok();
    assert_eq!(sent(&world, &receiver).await.len(), 0, "the original sends its own");
    world.advance(HOUR);
    rotate(&world, &client, "production").await;
    assert_eq!(sent(&world, &receiver).await.len(), 1);
}

async fn a_restored_database_sends_no_delivery_of_the_backup(mut world: World) {
    let (client, receiver) = (posting(&mut world).await, Receiver::start().await);
    let webhook = create(&world, &receiver, json!({})).await;
    rotate(&world, &client, "production").await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("it.backup");
    let clock = Clock::manual(world.now());
    let file = std::fs::File::create(&path).unwrap();
    back_up(world.location(), world.master_key_file(), &clock, file).await.unwrap();
    let place = crate::database::Place::file();
    let checked = Restore::check(&path, world.master_key_file()).unwrap();
    checked.run(&place.location, &clock).await.unwrap();
    let own = tempfile::tempdir().unwrap();
    std::fs::copy(world.master_key_file(), own.path().join("master.key")).unwrap();
    let mut restored = World::at(place, own, Clock::manual(world.now())).await;
    restored.restart_with_poster(Poster::new(vec!["127.0.0.1/32".parse().unwrap()], None).unwrap()).await;
    assert_eq!(restored.number("SELECT COUNT(*) FROM deliveries").await, 0);
    assert_eq!(sent(&restored, &receiver).await.len(), 0);
    let release = crossfade_core::api::ReleaseQuarantine { reason: Some("checked".into()), except: vec![] };
    restored.app.release_quarantine_here(&release).await.unwrap();
    rotate(&restored, &client, "production").await;
    assert_eq!(sent(&restored, &receiver).await.len(), 0, "what is sent is released for itself");
    restored.owner().await.post("/mail/release", json!({"reason": "moved"})).await.ok();
    restored.advance(HOUR);
    // The webhook is there, and signs with the same secret.
    rotate(&restored, &client, "production").await;
    let [delivery] = sent(&restored, &receiver).await.try_into().unwrap();
    assert_eq!(delivery.signatures_by(webhook["signing_secret"].as_str().unwrap()), (1, 1));
}
