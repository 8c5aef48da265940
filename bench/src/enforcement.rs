//! Measures how long ending a leaked secret takes while an account reads as much as it can: from the start of an
//! emergency rotation until the old secret is refused.

use crate::{
    Alg, Failure,
    api::Api,
    cpu,
    fill::{self, credentials},
    load::whole,
    server::{Place, Server},
};
use crossfade_core::OauthClientId;
use reqwest::{Method, StatusCode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// Number of registrations, which are rotated in turn. The first one is read.
const REGISTRATIONS: usize = 50;
/// Number of callers of the registration that is read.
const CALLERS: usize = 6_000;
/// Numbers of reading connections, from none to a flood.
const READERS: [usize; 3] = [0, 100, 1500];
/// Number of rotations between two loads.
const BLOCK: usize = 20;

/// Numbers of answered and of refused reads.
#[derive(Default)]
struct Reads {
    answered: AtomicU64,
    refused: AtomicU64,
    over: AtomicBool,
}

struct Operator {
    api: Api,
    /// Path, `client_id`, name and current secret of each registration.
    registrations: Vec<(String, OauthClientId, Value, String)>,
}

/// Prints how long enforcement takes under each load. The loads alternate, so that other activity on the machine
/// affects all of them.
pub(crate) async fn measure(rounds: usize) -> Result<(), Failure> {
    cpu::keep_to(cpu::GENERATOR)?;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let directory = tempfile::tempdir()?;
    let token = fill::fill(directory.path(), REGISTRATIONS).await?;
    let server = Server::crossfade(&Place::new(directory.path())).await?;
    let mut operator = Operator::new(&server, token).await?;
    let viewer = Place::new(directory.path()).token_of(&operator.prepare().await?)?;
    let path = format!("/api/v1{}/change-over", operator.registrations[0].0);
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {viewer}\r\n\r\n");
    let request: Arc<[u8]> = request.into_bytes().into();
    let (mut times, mut reads) = (vec![Vec::new(); READERS.len()], vec![(0, 0); READERS.len()]);
    let mut next = 0;
    for _ in 0..rounds.max(1) {
        for (load, connections) in READERS.into_iter().enumerate() {
            let counts = Arc::new(Reads::default());
            let mut tasks = JoinSet::new();
            for _ in 0..connections {
                tasks.spawn(read_on(
                    TcpStream::connect(server.address).await?,
                    request.clone(),
                    counts.clone(),
                ));
            }
            // Wait until the initial burst of the account is used up.
            tokio::time::sleep(Duration::from_secs(2)).await;
            for _ in 0..BLOCK {
                next = next % (REGISTRATIONS - 1) + 1;
                times[load].push(operator.end(next).await?);
            }
            counts.over.store(true, Ordering::Relaxed);
            while let Some(done) = tasks.join_next().await {
                done??;
            }
            reads[load].0 += counts.answered.load(Ordering::Relaxed);
            reads[load].1 += counts.refused.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }
    print(&mut times, &reads);
    Ok(())
}

fn print(times: &mut [Vec<Duration>], reads: &[(u64, u64)]) {
    println!("| connections that read | rotations | median | p99 | p99 to the quiet one | read | refused |");
    println!("|--:|--:|--:|--:|--:|--:|--:|");
    let mut quiet = None;
    for ((connections, times), (answered, refused)) in READERS.iter().zip(times).zip(reads) {
        times.sort_unstable();
        let millis = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let (median, slow) = (millis(0.5), millis(0.99));
        let ratio = slow / *quiet.get_or_insert(slow);
        println!(
            "| {connections} | {} | {median:.1} ms | {slow:.1} ms | {ratio:.2} | {answered} | {refused} |",
            times.len()
        );
    }
}

/// Reads in a loop, as fast as responses come. After a refusal, it waits as long as the refusal says.
async fn read_on(mut stream: TcpStream, request: Arc<[u8]>, counts: Arc<Reads>) -> Result<(), Failure> {
    let mut answer = Vec::new();
    while !counts.over.load(Ordering::Relaxed) {
        stream.write_all(&request).await?;
        answer.clear();
        while !whole(&answer)? {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err("the server closed a connection".into());
            }
        }
        if answer.starts_with(b"HTTP/1.1 200") {
            counts.answered.fetch_add(1, Ordering::Relaxed);
        } else if answer.starts_with(b"HTTP/1.1 429") {
            counts.refused.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
        } else {
            return Err(format!("not a reading: {}", String::from_utf8_lossy(&answer)).into());
        }
    }
    Ok(())
}

impl Operator {
    async fn new(server: &Server, token: String) -> Result<Self, Failure> {
        let mut operator = Self { api: Api::new(server, token)?, registrations: Vec::new() };
        let clients = operator.api.call(Method::GET, "/clients?limit=200", None).await?;
        for client in clients["items"].as_array().ok_or("no clients")? {
            let name = client["name"].clone();
            let number = name.as_str().and_then(|it| it.rsplit(' ').next()).ok_or("no name")?.parse()?;
            let (client_id, secret) = credentials(Alg::Es256, number);
            let id = client["id"].as_str().ok_or("no id")?;
            let path = format!("/clients/{id}/environments/{}", Alg::Es256.environment());
            operator.registrations.push((path, client_id, name, secret.reveal().to_owned()));
        }
        Ok(operator)
    }

    /// Lets many programs call the registration that is read, and rotates it. Returns the account of a Viewer.
    async fn prepare(&mut self) -> Result<String, Failure> {
        for caller in 0..CALLERS {
            let (_, client_id, _, secret) = &self.registrations[0];
            let status = self.present(client_id, secret, caller).await?;
            if status != StatusCode::OK {
                return Err(format!("a token request was answered {status}").into());
            }
        }
        self.rotate(0, 24).await?;
        let viewer = json!({"kind": "program", "name": "viewer"});
        let viewer = self.api.call(Method::POST, "/users", Some(viewer)).await?;
        let viewer = viewer["id"].as_str().ok_or("no account")?.to_owned();
        let role = json!({"role": "viewer"});
        self.api.call(Method::POST, &format!("/users/{viewer}/grants"), Some(role)).await?;
        Ok(viewer)
    }

    /// Ends the secret of a registration as leaked. Returns the time until the old secret was refused.
    async fn end(&mut self, number: usize) -> Result<Duration, Failure> {
        let old = self.registrations[number].3.clone();
        let begun = Instant::now();
        self.rotate(number, 0).await?;
        let status = self.present(&self.registrations[number].1, &old, 0).await?;
        let took = begun.elapsed();
        match status {
            StatusCode::UNAUTHORIZED => Ok(took),
            status => Err(format!("an ended secret was answered {status}").into()),
        }
    }

    async fn rotate(&mut self, number: usize, hours: u32) -> Result<(), Failure> {
        let (path, _, name, _) = &self.registrations[number];
        let body = json!({"transition_hours": hours, "compromised": hours == 0, "confirm_client_name": name, "reason": "bench"});
        let rotated = self.api.call(Method::POST, &format!("{path}/secrets/rotate"), Some(body)).await?;
        let value = rotated["secret"]["value"].as_str().ok_or("no secret")?;
        self.registrations[number].3 = value.to_owned();
        Ok(())
    }

    async fn present(&self, id: &OauthClientId, secret: &str, caller: usize) -> Result<StatusCode, Failure> {
        let token = format!("{}/env/{}/oauth2/token", self.api.url, Alg::Es256.environment());
        let asked = self.api.http.post(token).basic_auth(id, Some(secret));
        let asked = asked.header("user-agent", format!("caller/{caller}"));
        let answer = asked.form(&[("grant_type", "client_credentials")]).send().await?;
        let status = answer.status();
        answer.bytes().await?;
        Ok(status)
    }
}
