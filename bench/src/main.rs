//! Compares the token endpoint of a real `crossfade serve` with a bare server on the same HTTP stack that only parses,
//! verifies an HMAC and signs, in alternating rounds. Ratios are comparable between machines, so they are printed. See
//! README.md.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock; it is no part of the product")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is its result")]

mod api;
mod bare;
mod changes;
mod connections;
mod cpu;
mod enforcement;
mod fill;
mod floods;
mod identity;
mod load;
mod memory;
mod operator;
mod pages;
mod recording;
mod report;
mod server;
mod trail;
mod wire;

use clap::{Parser, Subcommand, ValueEnum};
use identity::Identity;
use server::{Place, Server};
use std::{path::PathBuf, time::Duration};

/// An error that ends a benchmark early.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Numbers of simultaneous connections.
const CONNECTIONS: [usize; 3] = [1, 16, 64];
/// Numbers of registrations in the table.
const REGISTRATIONS: [usize; 2] = [1_000, 1_000_000];
/// Maximum number of registrations that the load is spread over.
const ASKED: usize = 10_000;

#[derive(Parser)]
#[command(about)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Seconds of one round.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Rounds of each server; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only this many registrations.
    #[arg(long)]
    registrations: Option<usize>,
    /// Request the tokens over TLS, from both servers.
    #[arg(long)]
    tls: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Measure the pages of the Console that grow.
    Pages {
        /// Number of clients.
        #[arg(long, default_value_t = 100_000)]
        clients: usize,
        /// Number of times each page is requested.
        #[arg(long, default_value_t = 50)]
        rounds: usize,
    },
    /// Measure how long ending a leaked secret takes during reads.
    Enforcement {
        /// Rounds of 20 rotations under each load.
        #[arg(long, default_value_t = 10)]
        rounds: usize,
    },
    /// Measure the cost of evidence, a second secret and a drill for a token.
    Recording {
        /// Alternating rounds; the fastest counts.
        #[arg(long, default_value_t = 100)]
        rounds: usize,
    },
    /// Measure tokens, rotations and memory during floods of connections, with and without TLS.
    Connections {
        /// Seconds in each state.
        #[arg(long, default_value_t = 4)]
        seconds: u64,
    },
    /// Measure the cost of a rotation with and without a journal.
    Changes {
        /// Alternating rounds.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Seconds of one round.
        #[arg(long, default_value_t = 1)]
        seconds: u64,
        /// URL of a PostgreSQL server on which databases can be created.
        #[arg(long)]
        postgres: Option<String>,
    },
    /// Measure the verification of a large audit trail.
    Trail {
        /// Number of events.
        #[arg(long, default_value_t = 1_000_000)]
        events: usize,
        /// Rounds; the median counts.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// The bare server; started by the benchmark itself.
    #[command(hide = true)]
    Bare { alg: Alg, registrations: usize, files: Vec<PathBuf> },
}

/// Signing algorithm of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Alg {
    #[value(name = "ES256")]
    Es256,
    #[value(name = "EdDSA")]
    EdDsa,
}

impl Alg {
    const ALL: [Self; 2] = [Self::Es256, Self::EdDsa];

    fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Returns the environment that signs with it.
    fn environment(self) -> &'static str {
        match self {
            Self::Es256 => "bench-es256",
            Self::EdDsa => "bench-eddsa",
        }
    }
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    if let Some(Command::Bare { alg, registrations, files }) = &args.command {
        // Both servers get the runtime that `crossfade` has.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        return runtime.block_on(bare::serve(*alg, *registrations, files));
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(args))
}

async fn run(args: Args) -> Result<(), Failure> {
    let seconds = Duration::from_secs;
    match args.command {
        Some(Command::Pages { clients, rounds }) => pages::measure(clients, rounds).await,
        Some(Command::Enforcement { rounds }) => enforcement::measure(rounds).await,
        Some(Command::Recording { rounds }) => {
            recording::measure(rounds)?;
            recording::measure_flush(rounds.div_ceil(10)).await?;
            recording::measure_flood(rounds.div_ceil(10)).await
        }
        Some(Command::Connections { seconds: each }) => connections::measure(seconds(each)).await,
        Some(Command::Changes { rounds, seconds: each, postgres }) => {
            changes::measure(rounds, seconds(each), postgres.as_deref()).await
        }
        Some(Command::Trail { events, rounds }) => trail::measure(events, rounds).await,
        None | Some(Command::Bare { .. }) => compare(&args).await,
    }
}

async fn compare(args: &Args) -> Result<(), Failure> {
    cpu::keep_to(cpu::GENERATOR)?;
    let sizes = args.registrations.map_or(REGISTRATIONS.to_vec(), |only| vec![only]);
    let identity = args.tls.then(Identity::create).transpose()?;
    let identity = identity.as_ref();
    report::head(args.seconds, args.rounds, args.tls);
    for registrations in sizes {
        let (directory, journal) = (tempfile::tempdir()?, tempfile::tempdir()?);
        fill::fill(directory.path(), registrations).await?;
        let place = Place { journal: Some(journal.path()), identity, ..Place::new(directory.path()) };
        let ours = Server::crossfade(&place).await?;
        for alg in Alg::ALL {
            let bare = Server::bare(alg, registrations, identity).await?;
            let asked: Vec<_> = fill::asked(alg, registrations);
            for connections in CONNECTIONS {
                let (mut of_ours, mut of_bare) = (Vec::new(), Vec::new());
                // Warm up for half a second before the measured rounds.
                for server in [&ours, &bare] {
                    load::run(server, alg, &asked, connections, Duration::from_millis(500)).await?;
                }
                for _ in 0..args.rounds {
                    let span = Duration::from_secs(args.seconds);
                    of_ours.push(load::run(&ours, alg, &asked, connections, span).await?);
                    of_bare.push(load::run(&bare, alg, &asked, connections, span).await?);
                }
                report::line(alg, registrations, connections, &mut of_ours, &mut of_bare);
            }
        }
        report::memory(registrations, memory::resident(ours.process())?);
    }
    Ok(())
}
