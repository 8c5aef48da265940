//! The result, as the table in README.md.

use crate::{Alg, load::Round};
use std::time::Duration;

pub(crate) fn head(seconds: u64, rounds: usize) {
    let today = jiff::Timestamp::now().to_string();
    println!("{}, median of {rounds} alternating rounds of {seconds} s\n", &today[..10]);
    println!(
        "| alg | registrations | connections | tokens/s | bare | ratio | CPU per token | bare | ratio | p50 | p99 | bare p50 | bare p99 |"
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

pub(crate) fn memory(registrations: usize, megabytes: u64) {
    eprintln!("crossfade with {registrations} registrations uses {megabytes} MB");
}

fn median(rounds: &mut [Round], of: impl Fn(&Round) -> f64) -> f64 {
    rounds.sort_by(|a, b| of(a).total_cmp(&of(b)));
    rounds.get(rounds.len() / 2).map_or(0.0, of)
}
