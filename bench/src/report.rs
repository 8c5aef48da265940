//! The result, as the table in README.md.

use crate::{Alg, load::Round};
use std::time::Duration;

/// Latencies.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn extend(&mut self, times: Vec<Duration>) {
        self.0.extend(times);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the latency that this share of all latencies does not exceed.
    pub(crate) fn at(&mut self, share: f64) -> Duration {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * share) as usize).copied().unwrap_or_default()
    }
}

pub(crate) fn head(seconds: u64, rounds: usize, is_encrypted: bool, is_beside: bool) {
    let other = if is_beside { "other" } else { "bare" };
    let today = jiff::Timestamp::now().to_string();
    let over = if is_encrypted { "TLS 1.3" } else { "plain HTTP" };
    println!("{}, {over}, median of {rounds} alternating rounds of {seconds} s\n", &today[..10]);
    println!(
        "| alg | registrations | connections | answers/s | {other} | ratio | CPU per answer | {other} | ratio | p50 | p99 | {other} p50 | {other} p99 |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
}

pub(crate) fn line(
    alg: Alg,
    registrations: usize,
    connections: usize,
    ours: &mut [Round],
    bare: &mut [Round],
) {
    let (rate, bare_rate) = (median(ours, |it| it.rate), median(bare, |it| it.rate));
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let (cpu, bare_cpu) = (median(ours, |it| micros(it.cpu)), median(bare, |it| micros(it.cpu)));
    let latency = |rounds: &mut [Round], of: fn(&Round) -> Duration| median(rounds, |it| micros(of(it)));
    println!(
        "| {} | {registrations} | {connections} | {rate:.0} | {bare_rate:.0} | {:.2} | {cpu:.1} µs | {bare_cpu:.1} µs | {:.2} | {:.0} µs | {:.0} µs | {:.0} µs | {:.0} µs |",
        alg.name(),
        rate / bare_rate,
        bare_cpu / cpu,
        latency(ours, |it| it.p50),
        latency(ours, |it| it.p99),
        latency(bare, |it| it.p50),
        latency(bare, |it| it.p99),
    );
}

/// The head of the table of front mode.
pub(crate) fn front_head(seconds: Duration, rounds: usize) {
    let today = jiff::Timestamp::now().to_string();
    println!("{}, median of {rounds} alternating rounds of {} s\n", &today[..10], seconds.as_secs());
    println!(
        "| connections | server | answers/s | crossfade's ratio | CPU per answer | crossfade's ratio | p50 | p99 | crossfade's ratio |"
    );
    println!("|--:|---|--:|--:|--:|--:|--:|--:|--:|");
}

/// The lines of a number of connections; the first server is Crossfade.
pub(crate) fn front_lines<const SERVERS: usize>(
    connections: usize,
    names: [&str; SERVERS],
    measured: &mut [Vec<Round>; SERVERS],
) {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let figures = measured.each_mut().map(|rounds| {
        [
            median(rounds, |it| it.rate),
            median(rounds, |it| micros(it.cpu)),
            median(rounds, |it| micros(it.p50)),
            median(rounds, |it| micros(it.p99)),
        ]
    });
    let [own_rate, own_cpu, _, own_p99] = figures[0];
    for (name, [rate, cpu, p50, p99]) in names.iter().zip(figures) {
        println!(
            "| {connections} | {name} | {rate:.0} | {:.2} | {cpu:.1} µs | {:.2} | {p50:.0} µs | {p99:.0} µs | {:.2} |",
            own_rate / rate,
            cpu / own_cpu,
            own_p99 / p99,
        );
    }
}

pub(crate) fn memory(who: &str, registrations: usize, megabytes: u64) {
    eprintln!("{who} with {registrations} registrations uses {megabytes} MB");
}

fn median(rounds: &mut [Round], of: impl Fn(&Round) -> f64) -> f64 {
    rounds.sort_by(|a, b| of(a).total_cmp(&of(b)));
    rounds.get(rounds.len() / 2).map_or(0.0, of)
}
