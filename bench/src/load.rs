//! A closed loop of requests over kept connections: each sends its next request as soon as it has the response.

use crate::{
    Alg, Failure, cpu,
    server::Server,
    wire::{Wire, token_request},
};
use crossfade_core::{OauthClientId, secret::SecretValue};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Result of one round.
pub(crate) struct Round {
    /// Tokens per second.
    pub(crate) rate: f64,
    /// CPU time of the server per request.
    pub(crate) cpu: Duration,
    /// Median latency.
    pub(crate) p50: Duration,
    /// 99th percentile of the latency.
    pub(crate) p99: Duration,
}

/// Requests tokens on a number of connections for a duration. Any response other than a token ends the benchmark.
pub(crate) async fn run(
    server: &Server,
    alg: Alg,
    asked: &[(OauthClientId, SecretValue)],
    connections: usize,
    span: Duration,
) -> Result<Round, Failure> {
    let request = |(id, secret): &(OauthClientId, SecretValue)| {
        token_request(alg.environment(), id.as_str(), secret.reveal())
    };
    let requests: Arc<Vec<Vec<u8>>> = Arc::new(asked.iter().map(request).collect());
    let mut streams = Vec::new();
    for _ in 0..connections {
        streams.push(server.dialer.dial().await?);
    }
    let (cpu_before, begun) = (cpu::used(server.process())?, Instant::now());
    let mut tasks = JoinSet::new();
    for (number, stream) in streams.into_iter().enumerate() {
        // Each connection starts at a different place and advances by a prime, so that no two request the same
        // sequence.
        tasks.spawn(ask(stream, requests.clone(), number * 7919, begun + span));
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    let (elapsed, cpu) = (begun.elapsed(), cpu::used(server.process())? - cpu_before);
    latencies.sort_unstable();
    let count = latencies.len().max(1);
    let at = |share: f64| latencies[((count - 1) as f64 * share) as usize];
    Ok(Round {
        rate: count as f64 / elapsed.as_secs_f64(),
        cpu: cpu / u32::try_from(count)?,
        p50: at(0.5),
        p99: at(0.99),
    })
}

async fn ask(
    mut stream: Wire,
    requests: Arc<Vec<Vec<u8>>>,
    start: usize,
    until: Instant,
) -> Result<Vec<Duration>, Failure> {
    let mut latencies = Vec::new();
    let mut answer = Vec::with_capacity(4096);
    let mut next = start;
    loop {
        let begun = Instant::now();
        if begun >= until {
            return Ok(latencies);
        }
        next += 7919;
        let status = stream.ask(&requests[next % requests.len()], &mut answer).await?;
        if status != 200 {
            return Err(format!("not a token: {}", String::from_utf8_lossy(&answer)).into());
        }
        latencies.push(begun.elapsed());
    }
}

/// Whether the response is complete.
pub(crate) fn whole(answer: &[u8]) -> Result<bool, Failure> {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    let text = std::str::from_utf8(&answer[..head])?;
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    Ok(answer.len() >= head + 4 + length.ok_or("an answer without a length")?.parse::<usize>()?)
}
