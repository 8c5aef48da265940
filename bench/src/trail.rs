//! Measures the verification of a large trail: of a database, and of an exported file, as `crossfade audit verify` does it.

use crate::{
    Failure, cpu, fill, memory,
    server::{Place, Server},
};
use aws_lc_rs::digest::{Context, SHA256};
use crossfade_app::{App, KnownOutside, Verification, verify_database, verify_export};
use crossfade_authority::SystemRandom;
use crossfade_core::{
    ClientId, Random, RegistrationId, SecretId, TokenId, UserId,
    audit::{Action, Actor, Origin, Via},
    environment::Slug,
};
use crossfade_store::{NewAuditEvent, StoreError};
use serde_json::json;
use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

/// Number of events in one transaction, after which a checkpoint is signed.
const BATCH: usize = 1_000;
/// Maximum number of events, so that no typing error fills a disk.
const MOST: usize = 5_000_000;
/// Number of clients that the events are about.
const CLIENTS: usize = 1_000;

/// Prints time and memory of verifying a trail with this number of events.
pub(crate) async fn measure(events: usize, rounds: usize) -> Result<(), Failure> {
    if events > MOST {
        return Err(format!("at most {MOST} events").into());
    }
    let directory = tempfile::tempdir()?;
    let place = Place::new(directory.path());
    let token = place.initialise()?;
    let begun = Instant::now();
    record(directory.path(), events).await?;
    eprintln!("recorded {events} events in {:.0} s", begun.elapsed().as_secs_f64());
    let (file, checkpoint) = (directory.path().join("trail.jsonl"), directory.path().join("checkpoint.json"));
    let exported = export(&place, &token, &checkpoint, &file).await?;
    let mut rows = Vec::new();
    for _ in 0..rounds.max(1) {
        let outside =
            KnownOutside { checkpoint: Some(KnownOutside::read_checkpoint(&checkpoint)?), keys: Vec::new() };
        let (location, key) = (fill::location(directory.path()), fill::master_key(directory.path()));
        let (begun, own) = (Instant::now(), std::process::id());
        memory::reset_peak(own)?;
        proven(&verify_database(&location, &key, &outside).await?)?;
        let of_database = (begun.elapsed(), memory::peak(own)?);
        let begun = Instant::now();
        memory::reset_peak(own)?;
        proven(&verify_export(&file, &outside)?)?;
        rows.push([of_database, (begun.elapsed(), memory::peak(own)?), (hash(&file)?, 0)]);
    }
    println!("{events} events, {} MB exported, median of {rounds}\n", file.metadata()?.len() / 1_000_000);
    println!("| what | seconds | to SHA-256 of the file | peak MiB |\n|---|--:|--:|--:|");
    let median = |at: usize| {
        let mut of_all: Vec<_> = rows.iter().map(|row| row[at]).collect();
        of_all.sort_unstable();
        of_all[of_all.len() / 2]
    };
    let basis = median(2).0.as_secs_f64();
    let line = |name: &str, (time, peak): (Duration, u64)| {
        let seconds = time.as_secs_f64();
        println!("| {name} | {seconds:.1} | {:.1} | {peak} |", seconds / basis);
    };
    line("`audit verify` of the database (SQLite)", median(0));
    line("`audit verify` of the exported file", median(1));
    line("SHA-256 of the exported file, once", median(2));
    line("`audit export`", exported);
    Ok(())
}

/// Fails unless the trail was verified and its signer is known.
fn proven(found: &Verification) -> Result<(), Failure> {
    match &found.fault {
        None if found.keys_are_known => Ok(()),
        fault => Err(format!("the trail is not proven: {fault:?}").into()),
    }
}

/// Exports the trail through a server, after a checkpoint.
async fn export(
    place: &Place<'_>,
    token: &str,
    checkpoint: &Path,
    file: &Path,
) -> Result<(Duration, u64), Failure> {
    let server = Server::crossfade(place).await?;
    cpu::keep_to_all()?;
    let asked = |words: &[&str], output: &Path| {
        let mut command = place.command(words)?;
        let url = format!("http://{}", server.address);
        command.env("CROSSFADE_URL", url).env("CROSSFADE_TOKEN", token).stdout(File::create(output)?);
        Ok::<_, Failure>(command)
    };
    run(asked(&["audit", "checkpoint"], checkpoint)?)?;
    timed(asked(&["audit", "export"], file)?)
}

fn run(mut command: Command) -> Result<(), Failure> {
    match command.status()? {
        status if status.success() => Ok(()),
        status => Err(format!("{command:?}: {status}").into()),
    }
}

/// Runs a command. Returns how long it took, and its greatest memory in MiB.
fn timed(mut command: Command) -> Result<(Duration, u64), Failure> {
    let begun = Instant::now();
    let mut child = command.spawn()?;
    let mut peak = 0;
    loop {
        // Without this, the process that has ended could not be asked any more.
        peak = memory::peak(child.id()).unwrap_or_default().max(peak);
        match child.try_wait()? {
            Some(status) if status.success() => return Ok((begun.elapsed(), peak)),
            Some(status) => return Err(format!("{command:?}: {status}").into()),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Hashes a file, for comparison.
fn hash(path: &Path) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let (mut input, mut context) = (BufReader::new(File::open(path)?), Context::new(&SHA256));
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match input.read(&mut buffer)? {
            0 => break,
            read => context.update(&buffer[..read]),
        }
    }
    std::hint::black_box(context.finish());
    Ok(begun.elapsed())
}

/// Records events like those of rotations, with a signed checkpoint after each batch, as a server does.
async fn record(directory: &Path, events: usize) -> Result<(), Failure> {
    let app = fill::open(directory).await?;
    let clients: Vec<_> = (0..CLIENTS).map(|_| ClientId::generate(&SystemRandom)).collect();
    let user = UserId::generate(&SystemRandom);
    let via = Via::Token { id: TokenId::generate(&SystemRandom) };
    for from in (0..events).step_by(BATCH) {
        app.db()
            .write::<_, StoreError>(async |tx| {
                for number in from..events.min(from + BATCH) {
                    tx.append_audit(&event(&app, &user, &via, &clients[number % CLIENTS])).await?;
                }
                Ok(())
            })
            .await?;
        app.run_jobs().await?;
    }
    app.close().await;
    Ok(())
}

fn event(app: &Arc<App>, user: &UserId, via: &Via, client: &ClientId) -> NewAuditEvent {
    let now = app.authority().clock().now();
    let mut request = [0; 8];
    SystemRandom.fill(&mut request);
    let secret = || SecretId::generate(&SystemRandom).to_string();
    NewAuditEvent {
        at: now,
        actor: Actor::User { id: user.clone(), name: "Ada Lovelace".to_owned() },
        origin: Origin {
            ip: None,
            stored: Some("203.0.113.7".to_owned()),
            request_id: Some(format!("{:016x}", u64::from_be_bytes(request))),
        },
        via: Some(via.clone()),
        action: Action::SecretRotated,
        done: true,
        client_id: Some(client.clone()),
        environment: Some(Slug::from_stored("production".to_owned())),
        target: Some(RegistrationId::generate(&SystemRandom).to_string()),
        reason: Some("quarterly".to_owned()),
        details: json!({
            "rotation_id": secret(), "transition_hours": 24, "compromised": false, "revoke_tokens": false,
            "outgoing_secret_id": secret(), "outgoing_expires_at": now.to_string(),
            "incoming_secret_id": secret(), "superseded_secret_id": null,
        }),
    }
}
