//! Measures the cost of evidence, a second secret and a drill for a token: only the authority, in alternating rounds on
//! one CPU.

use crate::{Alg, Failure, cpu, fill};
use crossfade_authority::{
    Authority, Clock, Credentials, DrillSlot, Environment, Registration, SecretSlot, SigningKey, Source,
    VerifierKeys,
};
use crossfade_core::{
    DrillId, RegistrationId, SecretId, Timestamp,
    drill::Window,
    environment::{SigningAlg, Slug},
    registration::{AuthMethod, AuthMethods, Scopes, TokenTtl},
    secret::SecretValue,
    signing_key::KeyTimes,
    upstream::IssuerMode,
};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

/// Number of tokens or records in one round.
const EACH: u32 = 4_000;
/// Numbers of secrets whose uses are written.
const SECRETS: [usize; 3] = [100, 1_000, 10_000];
/// Number of uses of each secret.
const EACH_USED: usize = 20;
/// Number of callers of each secret.
const CALLERS: u32 = 50;
/// Number of uses or guesses in a flood, each from a different source.
const FLOOD: u32 = 10_000;
/// Maximum number of windows of a drill.
const WINDOWS: u64 = 48;

fn now() -> Timestamp {
    Timestamp::from_seconds(1_800_000_000)
}

/// Runs the measured operation this many times.
type Run = dyn Fn(&Authority, &Environment, u32) -> Result<(), Failure>;

/// One measured case.
struct Case {
    name: &'static str,
    run: Box<Run>,
}

/// Prints the nanoseconds of each case, and its share of a token.
pub(crate) fn measure(rounds: usize) -> Result<(), Failure> {
    cpu::keep_to(cpu::SERVER)?;
    println!("| alg | | ns | share of a token |\n|---|---|--:|--:|");
    for (alg, signing) in [(Alg::Es256, SigningAlg::ES256), (Alg::EdDsa, SigningAlg::EdDSA)] {
        let authority = Authority::new(
            Arc::new(Clock::manual(now())),
            VerifierKeys::new([("bench".to_owned(), [7; 32])]),
        );
        let times = KeyTimes { active_from: Timestamp::from_seconds(0), removed_at: None };
        let key = SigningKey::generate(signing).map_err(|_| "no key")?;
        let key = SigningKey::parse(signing, &key, times).map_err(|_| "no key")?;
        let slug = Slug::parse("slug", alg.environment()).map_err(|_| "no slug")?;
        authority.put_environment(Environment::new(
            slug.clone(),
            "http://127.0.0.1/bench".to_owned(),
            vec![key],
        ));
        let environment = authority.environment(slug.as_str()).ok_or("no environment")?;
        let cases = [
            token("one secret", 0, alg, &[Life::Current], &authority, &slug)?,
            token(
                "two secrets, using the new one",
                1,
                alg,
                &[Life::Current, Life::Retiring],
                &authority,
                &slug,
            )?,
            token(
                "two secrets, using the old one",
                2,
                alg,
                &[Life::Retiring, Life::Current],
                &authority,
                &slug,
            )?,
            token(
                "using the old one, between windows of a drill",
                3,
                alg,
                &[Life::Drilled, Life::Current],
                &authority,
                &slug,
            )?,
            recording(0)?,
        ];
        let mut took = vec![Vec::new(); cases.len()];
        for _ in 0..rounds.max(1) {
            for (case, took) in cases.iter().zip(&mut took) {
                let begun = Instant::now();
                (case.run)(&authority, &environment, EACH)?;
                took.push(begun.elapsed() / EACH);
            }
            // Drain as the flush does every few seconds.
            authority.evidence().drain();
        }
        // The fastest round, because other activity on the machine can only add time.
        let fastest = |times: &Vec<Duration>| times.iter().min().map_or(0.0, |time| time.as_nanos() as f64);
        let nanos: Vec<f64> = took.iter().map(fastest).collect();
        let whole = nanos[0];
        for (case, nanos) in cases.iter().zip(&nanos) {
            println!("| {} | {} | {nanos:.0} | {:.1} % |", alg.name(), case.name, nanos / whole * 100.0);
        }
    }
    Ok(())
}

/// Prints the cost of writing the evidence of a number of secrets: CPU time of the complete process, including all
/// background work.
pub(crate) async fn measure_flush(rounds: usize) -> Result<(), Failure> {
    println!(
        "\n| secrets used since the last flush | CPU of a flush | of the CPU, at its pace |\n|--:|--:|--:|"
    );
    for secrets in SECRETS {
        let directory = tempfile::tempdir()?;
        fill::fill(directory.path(), secrets).await?;
        let app = fill::open(directory.path()).await?;
        let authority = app.authority();
        let environment = authority.environment(Alg::EdDsa.environment()).ok_or("no environment")?;
        let callers = fill::asked(Alg::EdDsa, secrets);
        let mut took = Vec::new();
        for _ in 0..rounds.max(1) {
            for (n, (client_id, secret)) in (0..).zip(callers.iter().cycle()).take(EACH_USED * secrets) {
                let credentials = Credentials {
                    client_id: client_id.as_str(),
                    secret: secret.reveal(),
                    further_readings: &[],
                    method: AuthMethod::ClientSecretBasic,
                    source: source(n),
                    sender: Some(source(n).ip),
                };
                let client = authority.authenticate(&environment, &credentials).map_err(|_| "refused")?;
                let issued = authority.issue(&environment, &client, None).map_err(|_| "no token")?;
                std::hint::black_box(issued.access_token().map_err(|_| "no token")?);
            }
            let begun = cpu::used(std::process::id())?;
            app.run_jobs().await?;
            took.push(cpu::used(std::process::id())? - begun);
        }
        app.close().await;
        let flush = took.into_iter().min().unwrap_or_default();
        // At the pace of the worker.
        let pause = (flush * 40).clamp(Duration::from_secs(2), Duration::from_secs(5));
        let share = flush.as_secs_f64() / (flush + pause).as_secs_f64();
        println!("| {secrets} | {:.1} ms | {:.1} % |", flush.as_secs_f64() * 1e3, share * 100.0);
    }
    Ok(())
}

/// Prints how long a flush takes during a flood in which every use has a different source, more than are tracked
/// individually. Readers of evidence wait for this flush. Also prints the ratio to a flush of as many secrets without a
/// flood.
pub(crate) async fn measure_flood(rounds: usize) -> Result<(), Failure> {
    println!("\n| flood since the last flush | flush | to none |\n|---|--:|--:|");
    let directory = tempfile::tempdir()?;
    fill::fill(directory.path(), SECRETS[0]).await?;
    let app = fill::open(directory.path()).await?;
    let authority = app.authority();
    let environment = authority.environment(Alg::EdDsa.environment()).ok_or("no environment")?;
    let callers = fill::asked(Alg::EdDsa, SECRETS[0]);
    let (mut address, mut without) = (0x7f00_0000, None);
    for (name, secrets, guesses) in [
        ("none", 0, 0),
        ("10,000 uses of one secret", 1, 0),
        ("10,000 uses of each of eight secrets", 8, 0),
        ("10,000 guesses", 0, FLOOD),
    ] {
        let mut took = Vec::new();
        for _ in 0..rounds.max(3) {
            let flood = |n: usize| if n < secrets { FLOOD } else { 0 };
            for (n, (client_id, secret)) in callers.iter().enumerate() {
                let used = (0..=flood(n)).map(|_| secret.reveal());
                let guessed = (0..if n == 0 { guesses } else { 0 }).map(|_| "guessed");
                for secret in used.chain(guessed) {
                    address += 1;
                    let source = Source { ip: IpAddr::V4(Ipv4Addr::from(address)), ..source(0) };
                    let (client_id, method) = (client_id.as_str(), AuthMethod::ClientSecretBasic);
                    let credentials = Credentials {
                        client_id,
                        secret,
                        further_readings: &[],
                        method,
                        source,
                        sender: Some(source.ip),
                    };
                    if authority.authenticate(&environment, &credentials).is_ok() == (secret == "guessed") {
                        return Err("a use was refused, or a guess accepted".into());
                    }
                }
            }
            let begun = Instant::now();
            app.flush_evidence().await?;
            took.push(begun.elapsed());
        }
        // The slowest round: the first ones store their sources individually, and the later ones exceed the limits.
        let flush = took.into_iter().max().unwrap_or_default().as_secs_f64();
        let ratio = flush / *without.get_or_insert(flush);
        println!("| {name} | {:.0} ms | {ratio:.1} |", flush * 1e3);
    }
    app.close().await;
    Ok(())
}

#[derive(Clone, Copy)]
enum Life {
    Current,
    Retiring,
    Drilled,
}

/// Returns the case of tokens for a registration with these secrets, using the first one.
fn token(
    name: &'static str,
    number: usize,
    alg: Alg,
    lives: &[Life],
    authority: &Authority,
    environment: &Slug,
) -> Result<Case, Failure> {
    let (client_id, _) = fill::credentials(alg, number);
    let values: Vec<SecretValue> =
        (0..lives.len()).map(|it| fill::credentials(alg, 1000 + number * 10 + it).1).collect();
    let mut secrets = Vec::new();
    for (index, (life, value)) in lives.iter().zip(&values).enumerate() {
        let (digest_key, digest) = authority.digest(client_id.as_str(), value.reveal()).ok_or("no key")?;
        secrets.push(SecretSlot {
            id: secret_id(number * 10 + index)?,
            digest,
            digest_key,
            has_value_digest: true,
            expires_at: (!matches!(life, Life::Current)).then(|| now().after(Duration::from_secs(86_400))),
            revoked_at: None,
            drill: match life {
                Life::Drilled => Some(drill()?),
                _ => None,
            },
        });
    }
    authority.put_registration(Registration {
        id: RegistrationId::parse(&format!("reg_{number:022}"))?,
        client_id: client_id.clone(),
        environment: environment.clone(),
        issuer_mode: IssuerMode::Own,
        disabled: false,
        token_generation: 0,
        methods: AuthMethods::default(),
        scopes: Scopes::parse(&["read".to_owned(), "write".to_owned()]).map_err(|_| "no scopes")?,
        audience: None,
        ttl: TokenTtl::default(),
        may_introspect: false,
        allowed_networks: None,
        learns: false,
        secrets,
    });
    let value = values.into_iter().next().ok_or("no secret")?;
    let run = move |authority: &Authority, environment: &Environment, count| {
        for n in 0..count {
            let credentials = Credentials {
                client_id: client_id.as_str(),
                secret: value.reveal(),
                further_readings: &[],
                method: AuthMethod::ClientSecretBasic,
                source: source(n),
                sender: None,
            };
            let client = authority.authenticate(environment, &credentials).map_err(|_| "refused")?;
            let issued = authority.issue(environment, &client, None).map_err(|_| "no token")?;
            std::hint::black_box(issued.access_token().map_err(|_| "no token")?);
        }
        Ok(())
    };
    Ok(Case { name, run: Box::new(run) })
}

/// Returns the case of only the recording of each of these tokens.
fn recording(number: usize) -> Result<Case, Failure> {
    let secret = secret_id(number * 10)?;
    let run = move |authority: &Authority, _: &Environment, count| {
        for n in 0..count {
            authority.evidence().used(&secret, &source(n), now());
        }
        Ok(())
    };
    Ok(Case { name: "only the recording", run: Box::new(run) })
}

fn source(n: u32) -> Source<'static> {
    Source { ip: IpAddr::V4(Ipv4Addr::from(0x7f00_0001 + n % CALLERS)), user_agent: "bench/1", instance: "" }
}

fn secret_id(number: usize) -> Result<SecretId, Failure> {
    Ok(SecretId::parse(&format!("sec_{number:022}"))?)
}

/// Returns a drill with the maximum number of windows, none of them open now.
fn drill() -> Result<DrillSlot, Failure> {
    let minute = |minutes: u64| now().after(Duration::from_secs(60 * minutes));
    let windows = (1..=WINDOWS).map(|n| Window { from: minute(n * 20), to: minute(n * 20 + 5) });
    Ok(DrillSlot { id: DrillId::parse(&format!("drill_{WINDOWS:022}"))?, windows: windows.collect() })
}
