//! Measures tokens, rotations and memory of a server while floods of connections keep it busy, with and without TLS.

use crate::{
    Failure, cpu,
    floods::{Flood, Running},
    identity::Identity,
    memory,
    operator::Operator,
    report::Times,
    server::{Place, Server},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Greatest resident memory that the server may have in any state, in MiB.
const MAX_MEBIBYTES: u64 = 400;
/// Number of registrations, of which all but the first are rotated in turn.
const REGISTRATIONS: usize = 50;
/// Time limit for a token and for a rotation.
const WITHIN: Duration = Duration::from_secs(5);
/// How long the server is left alone before each state.
const QUIET: Duration = Duration::from_secs(2);

/// Latencies of an honest caller.
#[derive(Default)]
struct Honest {
    /// Tokens on a kept connection.
    kept: Times,
    /// Tokens on a new connection each.
    fresh: Times,
    rotations: Times,
}

impl Honest {
    fn each(&mut self) -> [&mut Times; 3] {
        [&mut self.kept, &mut self.fresh, &mut self.rotations]
    }
}

/// One row of the result.
struct State {
    name: String,
    connections: usize,
    /// Number of connections that the flood opened, including those in place of closed ones.
    opened: u64,
    honest: Honest,
    resident: u64,
    peak: u64,
}

/// Prints the latencies and the memory in each state. Fails if a token or a rotation fails, or if the server needs more
/// memory than it may.
pub(crate) async fn measure(span: Duration) -> Result<(), Failure> {
    cpu::keep_to(cpu::GENERATOR)?;
    let limit = getrlimit(Resource::Nofile);
    let wanted = Flood::ALL.map(Flood::connections).iter().sum::<usize>() as u64 + 500;
    if limit.maximum.is_some_and(|most| most < wanted) {
        return Err(format!("the hard limit of open files must be at least {wanted}").into());
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let identity = Identity::create()?;
    let mut greatest = 0;
    for identity in [None, Some(&identity)] {
        println!("\n{}\n", if identity.is_some() { "With TLS:" } else { "Without TLS:" });
        greatest = greatest.max(with(identity, span).await?);
    }
    println!("\nGreatest resident memory: {greatest} MiB, at most {MAX_MEBIBYTES} MiB allowed.");
    match greatest {
        0..=MAX_MEBIBYTES => Ok(()),
        _ => Err(format!("the server used {greatest} MiB, more than {MAX_MEBIBYTES} MiB").into()),
    }
}

/// Measures every state of one server. Returns its greatest memory.
async fn with(identity: Option<&Identity>, span: Duration) -> Result<u64, Failure> {
    let (directory, journal) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let place = Place { journal: Some(journal.path()), identity, ..Place::new(directory.path()) };
    let token = place.initialise()?;
    let server = Server::crossfade(&place).await?;
    let mut operator = Operator::create(&server, token, REGISTRATIONS).await?;
    // Warm up.
    honest(&mut operator, &mut Honest::default(), QUIET).await?;
    let mut quiet = Honest::default();
    let before = (memory::resident(server.process())?, memory::peak(server.process())?);
    let mut states = Vec::new();
    let floods = Flood::ALL.map(|flood| vec![flood]).into_iter().chain([Flood::ALL.to_vec()]);
    for floods in floods {
        let name = match floods.as_slice() {
            [one] => one.name(),
            _ => "all of them",
        };
        honest(&mut operator, &mut quiet, QUIET).await?;
        memory::reset_peak(server.process())?;
        let running = Running::start(&operator.dialer, &floods).await?;
        let mut found = Honest::default();
        let measured = honest(&mut operator, &mut found, span).await;
        let (resident, peak) = (memory::resident(server.process())?, memory::peak(server.process())?);
        let opened = running.end()?;
        measured.map_err(|error| format!("during {name}: {error}"))?;
        let connections = floods.iter().map(|flood| flood.connections()).sum();
        states.push(State { name: name.to_owned(), connections, opened, honest: found, resident, peak });
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    print(before, &mut quiet, &mut states);
    Ok(states.iter().map(|state| state.peak).chain([before.1]).max().unwrap_or_default())
}

/// Gets tokens and rotates for a while, as one honest caller.
async fn honest(operator: &mut Operator, found: &mut Honest, span: Duration) -> Result<(), Failure> {
    let mut kept = operator.dialer.dial().await?;
    let mut api = operator.dialer.dial().await?;
    let begun = Instant::now();
    let mut next = 0;
    while begun.elapsed() < span {
        for _ in 0..10 {
            let begun = Instant::now();
            timeout(WITHIN, operator.token(&mut kept, 0)).await.map_err(|_| "no token in time")??;
            found.kept.push(begun.elapsed());
        }
        for _ in 0..3 {
            let begun = Instant::now();
            let token = async { operator.token(&mut operator.dialer.dial().await?, 0).await };
            timeout(WITHIN, token).await.map_err(|_| "no token on a new connection in time")??;
            found.fresh.push(begun.elapsed());
        }
        next = next % (REGISTRATIONS - 1) + 1;
        let begun = Instant::now();
        timeout(WITHIN, operator.rotate(&mut api, next)).await.map_err(|_| "no rotation in time")??;
        found.rotations.push(begun.elapsed());
        timeout(WITHIN, operator.token(&mut kept, next)).await.map_err(|_| "no token after a rotation")??;
    }
    Ok(())
}

fn print(before: (u64, u64), quiet: &mut Honest, states: &mut [State]) {
    println!(
        "| state | connections | opened | token, kept: p50, p99 | ratio | token, new connection | ratio | rotation | \
         ratio | MiB | peak |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let mut basis = [(0.0, 0.0); 3];
    let row = |honest: &mut Honest, basis: &mut [(f64, f64); 3], is_basis: bool| {
        let mut cells = String::new();
        for (times, basis) in honest.each().into_iter().zip(basis) {
            let (p50, p99) = (millis(times.at(0.5)), millis(times.at(0.99)));
            if is_basis {
                *basis = (p50, p99);
            }
            cells += &format!(
                " {p50:.2}, {p99:.2} ms ({}) | {:.1}, {:.1} |",
                times.count(),
                p50 / basis.0,
                p99 / basis.1
            );
        }
        cells
    };
    let cells = row(quiet, &mut basis, true);
    println!("| quiet | 0 | 0 |{cells} {} | {} |", before.0, before.1);
    for State { name, connections, opened, honest, resident, peak } in states {
        let cells = row(honest, &mut basis, false);
        println!("| {name} | {connections} | {opened} |{cells} {resident} | {peak} |");
    }
}
