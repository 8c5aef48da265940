//! Compares the token endpoint of a real `crossfade serve` with a bare server on the same HTTP stack that only parses,
//! verifies an HMAC and signs, in alternating rounds. Ratios are comparable between machines, so they are printed. See
//! README.md.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock; it is no part of the product")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is its result")]

mod api;
mod asked;
mod bare;
mod changes;
mod connections;
mod cpu;
mod enforcement;
mod fill;
mod floods;
mod front;
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

use asked::{Ask, Asked};
use clap::{Parser, Subcommand, ValueEnum};
use identity::Identity;
use server::{Place, Server};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

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
    /// Compare with this `crossfade` instead of the bare server, on a copy of the same data.
    #[arg(long)]
    beside: Option<PathBuf>,
    /// What to ask for. The bare server knows only tokens.
    #[arg(long, value_enum, default_value_t = Ask::Token)]
    ask: Ask,
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
    /// Measure front mode beside nginx and beside a bare relay.
    Front {
        /// Seconds of one round.
        #[arg(long, default_value_t = 3)]
        seconds: u64,
        /// Alternating rounds; the median counts.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// The stub issuer; started by the benchmark itself.
    #[command(hide = true)]
    Issuer,
    /// The bare relay; started by the benchmark itself.
    #[command(hide = true)]
    Relay { issuer: SocketAddr, secret: String },
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
    // The servers get the runtime that `crossfade` has.
    let serving = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match &args.command {
        Some(Command::Bare { alg, registrations, files }) => {
            return serving()?.block_on(bare::serve(*alg, *registrations, files));
        }
        Some(Command::Issuer) => return serving()?.block_on(front::serve_stub_issuer()),
        Some(Command::Relay { issuer, secret }) => {
            return serving()?.block_on(front::serve_relay(*issuer, secret));
        }
        _ => {}
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
        Some(Command::Front { seconds: each, rounds }) => front::measure(seconds(each), rounds).await,
        None | Some(Command::Bare { .. } | Command::Issuer | Command::Relay { .. }) => compare(&args).await,
    }
}

async fn compare(args: &Args) -> Result<(), Failure> {
    cpu::keep_to(cpu::GENERATOR)?;
    let sizes = args.registrations.map_or(REGISTRATIONS.to_vec(), |only| vec![only]);
    let identity = args.tls.then(Identity::create).transpose()?;
    let identity = identity.as_ref();
    report::head(args.seconds, args.rounds, args.tls, args.beside.is_some());
    for registrations in sizes {
        let (directory, journal) = (tempfile::tempdir()?, tempfile::tempdir()?);
        fill::fill(directory.path(), registrations).await?;
        let (copy, other_journal) = (tempfile::tempdir()?, tempfile::tempdir()?);
        if args.beside.is_some() {
            copy_files(directory.path(), copy.path())?;
        }
        let place = Place { journal: Some(journal.path()), identity, ..Place::new(directory.path()) };
        let ours = Server::crossfade(&place).await?;
        for alg in Alg::ALL {
            let other = match &args.beside {
                Some(program) => {
                    let journal = Some(other_journal.path());
                    let place =
                        Place { journal, identity, program: Some(program), ..Place::new(copy.path()) };
                    Server::crossfade(&place).await?
                }
                None => Server::bare(alg, registrations, identity).await?,
            };
            let asked = Asked::prepare(args.ask, alg, registrations, &ours).await?;
            let of_other = match args.beside {
                // Its signing keys are the same, so that it knows the same tokens.
                Some(_) => Asked::prepare(args.ask, alg, registrations, &other).await?,
                None => asked.clone(),
            };
            for connections in CONNECTIONS {
                let (mut rounds, mut others) = (Vec::new(), Vec::new());
                // Warm up for half a second before the measured rounds.
                for (server, asked) in [(&ours, &asked), (&other, &of_other)] {
                    load::run(server, asked, connections, Duration::from_millis(500)).await?;
                }
                for _ in 0..args.rounds {
                    let span = Duration::from_secs(args.seconds);
                    rounds.push(load::run(&ours, &asked, connections, span).await?);
                    others.push(load::run(&other, &of_other, connections, span).await?);
                }
                report::line(alg, registrations, connections, &mut rounds, &mut others);
            }
            if args.beside.is_some() {
                report::memory("the other crossfade", registrations, memory::resident(other.process())?);
            }
        }
        report::memory("crossfade", registrations, memory::resident(ours.process())?);
    }
    Ok(())
}

/// Copies the files of a data directory.
fn copy_files(from: &Path, to: &Path) -> Result<(), Failure> {
    for file in std::fs::read_dir(from)? {
        let file = file?;
        if file.file_type()?.is_file() {
            std::fs::copy(file.path(), to.join(file.file_name()))?;
        }
    }
    Ok(())
}
