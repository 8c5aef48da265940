//! Measures what a rotation costs with and without a journal, beside a durable commit of one row, on both engines.

use crate::{
    Failure, cpu,
    operator::Operator,
    report::Times,
    server::{Place, Server},
};
use sqlx::{
    Connection, PgConnection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Numbers of simultaneous callers.
const CALLERS: [usize; 2] = [1, 16];

/// A connection that commits one row at a time.
enum Bare {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Bare {
    async fn open(path: &Path, url: Option<&str>) -> Result<Self, Failure> {
        const TABLE: &str =
            "CREATE TABLE IF NOT EXISTS bare (id TEXT PRIMARY KEY, at BIGINT NOT NULL, text TEXT NOT NULL)";
        Ok(match url {
            None => {
                let options =
                    SqliteConnectOptions::new().filename(path.join("bare.db")).create_if_missing(true);
                let options =
                    options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
                let mut session = SqliteConnection::connect_with(&options).await?;
                sqlx::query(TABLE).execute(&mut session).await?;
                Self::Sqlite(session)
            }
            Some(url) => {
                let mut session = PgConnection::connect(url).await?;
                sqlx::query("SET synchronous_commit = on").execute(&mut session).await?;
                sqlx::query(TABLE).execute(&mut session).await?;
                Self::Postgres(session)
            }
        })
    }

    /// Commits a row of the size of a rotation's record.
    async fn commit(&mut self, id: String) -> Result<(), Failure> {
        const INSERT: &str = "INSERT INTO bare (id, at, text) VALUES ($1, $2, $3)";
        let text = "x".repeat(200);
        match self {
            Self::Sqlite(session) => {
                sqlx::query(INSERT).bind(id).bind(0i64).bind(text).execute(session).await?;
            }
            Self::Postgres(session) => {
                sqlx::query(INSERT).bind(id).bind(0i64).bind(text).execute(session).await?;
            }
        }
        Ok(())
    }
}

/// What is measured.
struct Side {
    name: &'static str,
    /// For each number of callers: latencies, and changes per second of each round.
    found: [(Times, Vec<f64>); 2],
}

/// Prints the costs on SQLite, and on PostgreSQL if there is a URL of a server on which databases can be created.
pub(crate) async fn measure(rounds: usize, span: Duration, postgres: Option<&str>) -> Result<(), Failure> {
    cpu::keep_to(cpu::GENERATOR)?;
    println!("| engine | change | callers | changes/s | to bare | p50 | p99 | p99 to bare |");
    println!("|---|---|--:|--:|--:|--:|--:|--:|");
    on("SQLite", rounds, span, [None, None, None]).await?;
    let Some(url) = postgres else { return Ok(()) };
    let mut databases = Databases::create(url).await?;
    let urls = databases.urls.clone();
    let [bare, without, with] = urls.each_ref().map(|it| Some(it.as_str()));
    let measured = on("PostgreSQL", rounds, span, [bare, without, with]).await;
    databases.drop().await?;
    measured
}

async fn on(
    engine: &str,
    rounds: usize,
    span: Duration,
    [bare_url, without, with]: [Option<&str>; 3],
) -> Result<(), Failure> {
    let directories =
        [tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?];
    let [bare, plain, noted, journal] = directories.each_ref().map(|it| it.path());
    let plain = Place { database: without, ..Place::new(plain) };
    let noted = Place { database: with, journal: Some(journal), ..Place::new(noted) };
    let most = CALLERS.into_iter().max().unwrap_or(1);
    let mut servers = Vec::new();
    for place in [plain, noted] {
        let token = place.initialise()?;
        let server = Server::crossfade(&place).await?;
        let operator = Operator::create(&server, token, most).await?;
        servers.push((server, operator));
    }
    let names = ["one row, committed", "rotation", "rotation, with a journal"];
    let mut sides = names.map(|name| Side { name, found: Default::default() });
    for round in 0..=rounds {
        for (at, callers) in CALLERS.into_iter().enumerate() {
            for (number, side) in sides.iter_mut().enumerate() {
                let (times, rate) = match number.checked_sub(1) {
                    // SQLite has one writer.
                    None => {
                        commits(bare, bare_url, if bare_url.is_some() { callers } else { 1 }, span).await?
                    }
                    Some(server) => rotations(&mut servers[server].1, callers, span).await?,
                };
                // The first round warms up.
                if round > 0 {
                    side.found[at].0.extend(times);
                    side.found[at].1.push(rate);
                }
            }
        }
    }
    for (at, callers) in CALLERS.into_iter().enumerate() {
        let mut basis = None;
        for side in &mut sides {
            let (times, rates) = &mut side.found[at];
            rates.sort_by(f64::total_cmp);
            let rate = rates[rates.len() / 2];
            let millis = |time: Duration| time.as_secs_f64() * 1e3;
            let (p50, p99) = (millis(times.at(0.5)), millis(times.at(0.99)));
            let (bare_rate, bare_p99) = *basis.get_or_insert((rate, p99));
            println!(
                "| {engine} | {} | {callers} | {rate:.0} | {:.2} | {p50:.2} ms | {p99:.2} ms | {:.1} |",
                side.name,
                rate / bare_rate,
                p99 / bare_p99
            );
        }
    }
    Ok(())
}

async fn commits(
    path: &Path,
    url: Option<&str>,
    callers: usize,
    span: Duration,
) -> Result<(Vec<Duration>, f64), Failure> {
    let mut sessions = Vec::new();
    for _ in 0..callers {
        sessions.push(Bare::open(path, url).await?);
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for mut session in sessions {
        tasks.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < span {
                let begun = Instant::now();
                let id = crossfade_core::SecretId::generate(&crossfade_authority::SystemRandom);
                session.commit(id.to_string()).await?;
                times.push(begun.elapsed());
            }
            Ok::<_, Failure>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    Ok((times, rate))
}

async fn rotations(
    operator: &mut Operator,
    callers: usize,
    span: Duration,
) -> Result<(Vec<Duration>, f64), Failure> {
    let mut wires = Vec::new();
    for _ in 0..callers {
        wires.push(operator.dialer.dial().await?);
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for (number, mut wire) in wires.into_iter().enumerate() {
        // No caller needs the secrets of another one.
        let mut operator = operator.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < span {
                let begun = Instant::now();
                operator.rotate(&mut wire, number).await?;
                times.push(begun.elapsed());
            }
            Ok::<_, Failure>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    Ok((times, rate))
}

/// Databases of this run on a PostgreSQL server.
pub(crate) struct Databases {
    session: PgConnection,
    names: [String; 3],
    pub(crate) urls: [String; 3],
}

impl Databases {
    pub(crate) async fn create(url: &str) -> Result<Self, Failure> {
        let mut session = PgConnection::connect(url).await?;
        let names =
            ["bare", "plain", "noted"].map(|it| format!("crossfade_bench_{it}_{}", std::process::id()));
        for name in &names {
            sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
                .execute(&mut session)
                .await?;
        }
        let (server, _) = url.rsplit_once('/').ok_or("the URL names no database")?;
        let urls = names.each_ref().map(|name| format!("{server}/{name}"));
        Ok(Self { session, names, urls })
    }

    pub(crate) async fn drop(&mut self) -> Result<(), Failure> {
        for name in &self.names {
            let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut self.session).await?;
        }
        Ok(())
    }
}
