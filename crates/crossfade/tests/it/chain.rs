//! The audit trail cannot be bent: the database, exports and checkpoints are verified, and a restore is named.

use crate::{
    database::Place,
    engines::on_both_engines,
    world::{OWNER, Principal, World},
};
use axum::body::Body;
use crossfade_app::{
    KeySource, KnownOutside, OwnerFactors, Restore, Verification, VerifiedScope, back_up,
    doctor::{Outcome, examine},
    verify_database, verify_export,
};
use crossfade_authority::Clock;
use crossfade_core::audit::{
    statement::{SignedStatement, StatementKind},
    verify::{Fault, Fork},
};
use http::{Method, Request};
use serde_json::json;
use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

on_both_engines! {
    a_trail_is_verified_in_the_database_and_as_an_export,
    a_checkpoint_kept_outside_finds_a_trail_that_was_written_again,
    a_checkpoint_is_signed_after_an_hour_with_an_event,
    retention_carries_the_chain_on,
    a_restore_is_named_as_a_fork,
    a_statement_of_another_key_is_not_believed,
    a_chain_that_was_written_again_under_a_server_is_not_signed,
    a_change_log_that_went_back_does_not_hide_a_chain_that_was_written_again,
    a_change_log_that_went_back_does_not_spoil_a_chain_that_is_whole,
    events_of_a_command_beside_the_server_are_signed,
}

const HOUR: Duration = Duration::from_secs(3600);

async fn verify(world: &World, outside: &KnownOutside) -> Verification {
    let source = KeySource::from(world.master_key_file());
    verify_database(world.location(), &source, outside).await.unwrap()
}

async fn fault(world: &World, outside: &KnownOutside) -> Option<Fault> {
    verify(world, outside).await.fault
}

fn nothing() -> KnownOutside {
    KnownOutside::default()
}

fn kept(checkpoint: SignedStatement) -> KnownOutside {
    KnownOutside { checkpoint: Some(checkpoint), keys: Vec::new() }
}

async fn checkpoint(principal: &Principal<'_>) -> SignedStatement {
    let body = principal.get("/audit-events/checkpoint").await.ok();
    serde_json::from_value(body).unwrap()
}

/// An export in a file of its own.
struct Exported {
    directory: tempfile::TempDir,
    text: String,
}

impl Exported {
    async fn by(principal: &Principal<'_>, filter: &str) -> Self {
        let path = format!("/audit-events/export?{filter}");
        let answer = principal.call(Method::GET, &path, None, &[]).await;
        let text = String::from_utf8(answer.bytes).unwrap();
        Self { directory: tempfile::tempdir().unwrap(), text }
    }

    fn lines(&self) -> Vec<&str> {
        self.text.lines().collect()
    }

    fn file(&self, lines: &[&str]) -> PathBuf {
        let path = self.directory.path().join("trail.jsonl");
        let mut file = std::fs::File::create(&path).unwrap();
        lines.iter().for_each(|line| writeln!(file, "{line}").unwrap());
        path
    }

    fn verify(&self, lines: &[&str], outside: &KnownOutside) -> Verification {
        verify_export(&self.file(lines), outside).unwrap()
    }

    fn fault(&self, lines: &[&str]) -> Option<Fault> {
        self.verify(lines, &nothing()).fault
    }
}

async fn a_trail_is_verified_in_the_database_and_as_an_export(world: World) {
    let client = world.client("Billing", &["production", "staging"]).await;
    let owner = world.owner().await;
    owner.patch(&format!("/clients/{}", client.id), json!({"description": "請求書 😀 \"x\""})).await.ok();
    let found = verify(&world, &nothing()).await;
    assert_eq!((found.scope, found.keys_are_known, found.keys.len()), (VerifiedScope::Database, true, 1));
    let verified = found.verified.unwrap();
    assert_eq!((verified.first_seq, verified.before_chain, verified.signed_seq), (Some(1), 0, None));

    let export = Exported::by(&owner, "").await;
    let lines = export.lines();
    let found = export.verify(&lines, &kept(checkpoint(&owner).await));
    // The checkpoint is younger than the export.
    assert!(matches!(found.fault, Some(Fault::CutOff { .. })), "{found:?}");
    let found = export.verify(&lines, &nothing());
    assert_eq!(
        (found.scope, found.keys_are_known, &found.filter),
        (VerifiedScope::CompleteExport, false, &None)
    );
    let verified = found.verified.unwrap();
    assert_eq!(verified.events as usize, lines.len() - 2, "all but where it begins and how far it goes");
    assert_eq!(verified.signed_seq, verified.last_seq);

    // Altered, left out, moved, doubled, cut off.
    let altered = lines[3].replace("\"done\"", "\"refused\"");
    assert_eq!(
        export.fault(&[&lines[..3], &[&altered], &lines[4..]].concat()),
        Some(Fault::Altered { seq: 4 })
    );
    let without = [&lines[..3], &lines[5..]].concat();
    assert_eq!(export.fault(&without), Some(Fault::Missing { first: 4, last: 5 }));
    let doubled = [&lines[..4], &lines[3..]].concat();
    assert_eq!(export.fault(&doubled), Some(Fault::Inserted { seq: 4 }));
    let last = lines.len() - 2;
    let cut = [&lines[..last - 1], &lines[last..]].concat();
    assert_eq!(export.fault(&cut), Some(Fault::CutOff { last: last as i64 - 1, up_to: last as i64 }));
    assert_eq!(export.fault(&lines[..last]), Some(Fault::Unsigned));
    // The same events in other bytes.
    let pretty: Vec<String> = lines.iter().map(|line| format!(" {} ", line.replace(",\"", ", \""))).collect();
    let pretty: Vec<&str> = pretty.iter().map(String::as_str).collect();
    assert_eq!(export.fault(&pretty), Some(Fault::OtherLines));
    // A member twice, and a statement that is none.
    for bent in [lines[3].replace("{\"seq\"", "{\"seq\":9,\"seq\""), "{\"statement\":1}".to_owned()] {
        let path = export.file(&[&lines[..3], &[&bent], &lines[4..]].concat());
        let error = verify_export(&path, &nothing()).unwrap_err();
        assert!(error.problem.detail.starts_with("Line 4 of "), "{error:?}");
    }

    let filtered = Exported::by(&owner, "action=registration.created&environment=staging").await;
    let lines = filtered.lines();
    let found = filtered.verify(&lines, &nothing());
    assert_eq!(found.scope, VerifiedScope::FilteredExport);
    assert_eq!(found.filter.as_deref(), Some("action=registration.created environment=staging"));
    assert_eq!(found.verified.unwrap().events as usize, lines.len() - 1);
    assert_eq!(filtered.fault(&lines[lines.len() - 1..]), Some(Fault::OtherLines), "rows were left out");
}

async fn a_checkpoint_kept_outside_finds_a_trail_that_was_written_again(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let outside = kept(checkpoint(&owner).await);
    owner.patch(&format!("/clients/{}", client.id), json!({"description": "later"})).await.ok();
    assert_eq!(fault(&world, &outside).await, None);
    // Somebody with the database alone takes the last event away, and writes the head again.
    let signed = outside.checkpoint.clone().unwrap().open().unwrap();
    assert_eq!((signed.kind, signed.seq > 3), (StatementKind::Checkpoint, true));
    let cut = signed.seq - 1;
    world
        .raw(&format!(
            "DELETE FROM audit_events WHERE seq > {cut}; DELETE FROM audit_statements WHERE seq > {cut};
             UPDATE head SET audit_seq = {cut}, audit_hash = (SELECT hash FROM audit_events WHERE seq = {cut})"
        ))
        .await;
    assert_eq!(fault(&world, &nothing()).await, None, "nobody can know without a checkpoint");
    assert_eq!(fault(&world, &outside).await, Some(Fault::CutOff { last: cut, up_to: cut + 1 }));
    owner.patch(&format!("/clients/{}", client.id), json!({"description": "other"})).await.ok();
    assert_eq!(fault(&world, &nothing()).await, None);
    assert!(
        matches!(fault(&world, &outside).await, Some(Fault::Rewritten { up_to, .. }) if up_to == cut + 1)
    );
}

async fn a_checkpoint_is_signed_after_an_hour_with_an_event(world: World) {
    world.client("Billing", &["production"]).await;
    world.run_jobs().await;
    let signed = async |world: &World| verify(world, &nothing()).await.verified.unwrap().signed_seq;
    assert_eq!(signed(&world).await, None, "not yet");
    world.advance(HOUR);
    world.run_jobs().await;
    let first = signed(&world).await.unwrap();
    world.advance(HOUR);
    world.run_jobs().await;
    assert_eq!(signed(&world).await, Some(first), "nothing has happened since");
}

async fn retention_carries_the_chain_on(mut world: World) {
    world.client("Billing", &["production"]).await;
    let token = world.owner().await.token;
    world.restart_with_retention(30).await;
    world.advance(20 * 24 * HOUR);
    let owner = Principal { world: &world, token: token.clone() };
    owner.post("/properties", json!({"name": "Second"})).await.created();
    let outside = kept(checkpoint(&owner).await);
    let before = outside.checkpoint.clone().unwrap().open().unwrap().seq;
    world.advance(15 * 24 * HOUR);
    world.run_jobs().await;
    let found = verify(&world, &outside).await;
    let verified = found.verified.unwrap_or_else(|| panic!("{:?}", found.fault));
    assert_eq!(verified.first_seq, Some(before), "the rest was older");
    assert_eq!(verified.signed_seq, Some(before));
    let owner = Principal { world: &world, token: token.clone() };
    let export = Exported::by(&owner, "").await;
    let found = export.verify(&export.lines(), &outside);
    assert_eq!(found.verified.unwrap().first_seq, Some(before));
    assert_eq!(verified.not_compared, None);
    // Everything goes; a checkpoint about what is gone says nothing any more, and that is said.
    world.advance(40 * 24 * HOUR);
    world.run_jobs().await;
    assert_eq!(verify(&world, &outside).await.verified.unwrap().not_compared, Some(before));
    world.raw("DELETE FROM audit_statements WHERE kind = 'trim'").await;
    assert!(matches!(fault(&world, &nothing()).await, Some(Fault::Missing { .. } | Fault::Unsigned)));
}

async fn a_restore_is_named_as_a_fork(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let early = kept(checkpoint(&owner).await);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("it.backup");
    let file = std::fs::File::create(&path).unwrap();
    back_up(world.location(), world.master_key_file(), &Clock::manual(world.now()), file).await.unwrap();
    let end = early.checkpoint.clone().unwrap().open().unwrap().seq;
    for n in 0..3 {
        owner.patch(&format!("/clients/{}", client.id), json!({"description": format!("{n}")})).await.ok();
    }
    let late = kept(checkpoint(&owner).await);
    world.advance(HOUR);
    let place = Place::file();
    let restored = Restore::check(&path, world.master_key_file()).unwrap();
    let restored = restored.run(&place.location, &Clock::manual(world.now())).await.unwrap();
    let source = KeySource::from(world.master_key_file());
    let verify = async |outside| verify_database(&place.location, &source, outside).await.unwrap();
    let verified = verify(&early).await.verified.unwrap();
    assert_eq!(verified.last_seq, Some(end + 1), "the restore itself");
    let fork = Fork {
        seq: end,
        backup_created_at: Some(restored.header.created_at),
        restored_at: restored.restored_at,
    };
    assert_eq!(verified.forks, [fork]);
    let forked = Fault::Forked { seq: end, restored_at: restored.restored_at, checkpoint_seq: end + 3 };
    assert_eq!(verify(&late).await.fault, Some(forked));
}

async fn a_statement_of_another_key_is_not_believed(world: World) {
    world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let own = checkpoint(&owner).await;
    let key = own.open().unwrap().key;
    let only = |key: &str| KnownOutside { checkpoint: None, keys: vec![key.to_owned()] };
    assert_eq!(fault(&world, &only(&key)).await, None);
    assert_eq!(fault(&world, &only("other")).await, Some(Fault::Untrusted { seq: 0, key: key.clone() }));
    // Altered after it was signed.
    let mut forged = own.clone();
    forged.statement["seq"] = json!(1);
    assert!(matches!(fault(&world, &kept(forged)).await, Some(Fault::Untrusted { seq: 1, .. })));
    // Signed by a key that another instance has, which is put into this database.
    let other = World::another().await;
    let foreign = checkpoint(&other.owner().await).await;
    let text = json!({"statement": foreign.statement, "signature": foreign.signature}).to_string();
    world
        .raw(&format!(
            "INSERT INTO audit_statements (seq, kind, at, signed) VALUES (1, 'checkpoint', 1, '{text}')"
        ))
        .await;
    let found = fault(&world, &nothing()).await;
    assert!(matches!(&found, Some(Fault::Untrusted { key: named, .. }) if *named != key), "{found:?}");
}

async fn metric(world: &World, name: &str) -> i64 {
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let answer = world.send(Request::get("/metrics").body(Body::empty()).unwrap(), here).await;
    let text = String::from_utf8(answer.bytes).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    line.split(' ').next_back().unwrap().parse().unwrap()
}

async fn a_chain_that_was_written_again_under_a_server_is_not_signed(mut world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    let token = owner.token.clone();
    let describe = async |world: &World, text: &str| {
        let owner = Principal { world, token: token.clone() };
        owner.patch(&format!("/clients/{}", client.id), json!({"description": text})).await.ok();
    };
    describe(&world, "first").await;
    checkpoint(&owner).await;
    let signed = "SELECT COUNT(*) FROM audit_statements";
    let before = world.number(signed).await;
    // The last event gets another hash, and so does the head.
    let other = "(SELECT previous_hash FROM audit_events WHERE seq = (SELECT audit_seq FROM head))";
    world
        .raw(&format!(
            "UPDATE head SET audit_hash = {other};
             UPDATE audit_events SET hash = {other} WHERE seq = (SELECT audit_seq FROM head)"
        ))
        .await;
    assert_eq!(metric(&world, "crossfade_audit_trail_altered").await, 0, "nobody has looked yet");
    for continues in [false, true] {
        if continues {
            // What the server itself appends does not hide it.
            describe(&world, "second").await;
        }
        let refused = Principal { world: &world, token: token.clone() };
        let refused = refused.get("/audit-events/checkpoint").await.refused(503, "unavailable");
        assert!(refused["detail"].as_str().unwrap().contains("Nothing was signed."), "{refused}");
        assert_eq!(metric(&world, "crossfade_audit_trail_altered").await, 1);
    }
    let refused = Principal { world: &world, token: token.clone() };
    refused.get("/audit-events/export").await.refused(503, "unavailable");
    world.advance(HOUR * 2);
    world.run_jobs().await;
    assert_eq!(world.number(signed).await, before);
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ready = world.send(Request::get("/readyz").body(Body::empty()).unwrap(), here).await;
    assert_eq!(ready.status, 200);
    assert!(String::from_utf8(ready.bytes).unwrap().contains("the audit trail was written again"));
    let clock = Clock::manual(world.now());
    let found = examine(&world.instance(&clock)).await;
    let check = found.checks.iter().find(|check| check.name == "audit_chain").unwrap();
    assert_eq!(check.outcome, Outcome::Fail, "{check:?}");
    // An operator has looked at it, and restarts the server.
    world.restart().await;
    checkpoint(&Principal { world: &world, token }).await;
    assert!(fault(&world, &nothing()).await.is_some(), "it stays on record");
}

/// Takes back the last change of the log, and lets the server notice.
async fn take_a_change_back(world: &World, client: &str, owner: &Principal<'_>) {
    world
        .raw(
            "DELETE FROM change_log WHERE seq = (SELECT change_seq FROM head);
             UPDATE head SET change_seq = change_seq - 1",
        )
        .await;
    let change = json!({"description": "not stored"});
    owner.patch(&format!("/clients/{client}"), change).await.refused(503, "unavailable");
}

async fn a_change_log_that_went_back_does_not_hide_a_chain_that_was_written_again(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    checkpoint(&owner).await;
    let other = "(SELECT previous_hash FROM audit_events WHERE seq = (SELECT audit_seq FROM head))";
    world
        .raw(&format!(
            "UPDATE head SET audit_hash = {other};
             UPDATE audit_events SET hash = {other} WHERE seq = (SELECT audit_seq FROM head)"
        ))
        .await;
    take_a_change_back(&world, &client.id, &owner).await;
    owner.get("/audit-events/checkpoint").await.refused(503, "unavailable");
    assert_eq!(metric(&world, "crossfade_audit_trail_altered").await, 1);
}

async fn a_change_log_that_went_back_does_not_spoil_a_chain_that_is_whole(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    checkpoint(&owner).await;
    take_a_change_back(&world, &client.id, &owner).await;
    checkpoint(&owner).await;
    assert_eq!(metric(&world, "crossfade_audit_trail_altered").await, 0);
}

async fn events_of_a_command_beside_the_server_are_signed(world: World) {
    let client = world.client("Billing", &["production"]).await;
    let owner = world.owner().await;
    for text in ["first", "second"] {
        let beside = world.open_beside().await.unwrap();
        beside.recover_owner(OWNER, OwnerFactors::Keep).await.unwrap();
        beside.close().await;
        let outside = kept(checkpoint(&owner).await);
        owner.patch(&format!("/clients/{}", client.id), json!({"description": text})).await.ok();
        assert_eq!(fault(&world, &outside).await, None);
    }
    world.advance(HOUR);
    world.run_jobs().await;
    assert_eq!(metric(&world, "crossfade_audit_trail_altered").await, 0);
    assert!(verify(&world, &nothing()).await.verified.unwrap().signed_seq.is_some());
}
