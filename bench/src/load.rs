//! A closed loop of requests over kept connections: each sends its next request as soon as it has the response.

use crate::{Failure, asked::Asked, cpu, server::Server, wire::Wire};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Result of one round.
pub(crate) struct Round {
    /// Answers per second.
    pub(crate) rate: f64,
    /// CPU time of the server per request.
    pub(crate) cpu: Duration,
    /// Median latency.
    pub(crate) p50: Duration,
    /// 99th percentile of the latency.
    pub(crate) p99: Duration,
}

/// Sends requests on a number of connections for a duration. Any response of another status ends the benchmark.
pub(crate) async fn run(
    server: &Server,
    asked: &Arc<Asked>,
    connections: usize,
    span: Duration,
) -> Result<Round, Failure> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        streams.push(server.dialer.dial().await?);
    }
    let (cpu_before, begun) = (cpu::used(server.process())?, Instant::now());
    let mut tasks = JoinSet::new();
    for (number, stream) in streams.into_iter().enumerate() {
        // Each connection starts at a different place and advances by a prime, so that no two request the same
        // sequence.
        tasks.spawn(ask(stream, asked.clone(), number * 7919, begun + span));
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
    asked: Arc<Asked>,
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
        let status = stream.ask(&asked.requests[next % asked.requests.len()], &mut answer).await?;
        if !asked.statuses.contains(&status) {
            return Err(format!("not the expected answer: {}", String::from_utf8_lossy(&answer)).into());
        }
        latencies.push(begun.elapsed());
    }
}

/// Whether the response is complete.
pub(crate) fn whole(answer: &[u8]) -> Result<bool, Failure> {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    let text = std::str::from_utf8(&answer[..head])?;
    let mut headers = text.lines().filter_map(|line| line.split_once(": "));
    let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, length) = length.ok_or("an answer without a length")?;
    Ok(answer.len() >= head + 4 + length.parse::<usize>()?)
}
