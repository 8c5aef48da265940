//! `crossfade demo`: a real server with temporary data, filled with months of work, and a rotation run against it over
//! HTTP. The story uses only the server's responses: every value that it prints was just received.

mod callers;
mod cast;
mod check;
mod movers;
mod past;
mod story;

use crate::{
    cli::Demo,
    connections::Policy,
    failure::Failure,
    output,
    remote::Api,
    serve::{Listeners, Server, bind, open_at, start_log},
    settings::{AddressWord, IDLE, LogFormat, Resolved},
    signals::stop_or_hang_up,
};
use cast::{CLIENTS, PEOPLE};
use crossfade_app::{App, Creation, DEFAULT_LEASE, KeySource, NewToken, NodeOptions, Visitor};
use crossfade_authority::{Clock, SystemRandom};
use crossfade_core::{
    Random,
    api::{CreateLink, OneTimeLink, User},
    base62,
    roles::Role,
};
use crossfade_store::Location;
use crossfade_web::Transport;
use past::Past;
use reqwest::Method;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use story::CLIENT;

/// Owner of the temporary instance.
const OWNER: &str = "ada@example.com";
/// Pause for the reader after each step.
const PACE: Duration = Duration::from_millis(900);

/// Runs the demo and, unless `--quick` is set, keeps serving.
pub(crate) async fn demo(args: Demo) -> Result<(), Failure> {
    if !args.listen.ip().is_loopback() {
        return Err(Failure::usage(
            "The demo listens on a loopback address only, because it prints a token with all permissions.",
        ));
    }
    let _pace = start_log("warn", LogFormat::Text)?;
    let listener = bind(args.listen, "--listen")?;
    let address = listener.local_addr().map_err(|error| Failure::failed(error.to_string()))?;
    let directory = tempfile::tempdir()
        .map_err(|error| Failure::failed(format!("Cannot create a temporary directory: {error}.")))?;
    let settings = throwaway(address, directory.path());
    let clock = Arc::new(Clock::set_back(past::SPAN));
    let app = open_at(&settings, true, Creation::WithNewKey, clock.clone()).await?;
    let listeners = Listeners { main: listener, admin: None };
    let server = Server::start(app.clone(), listeners, &settings, Transport::default(), None)?;

    // Whatever the outcome of the demo, the server stops in an orderly way and the directory is removed.
    let played = tokio::select! {
        played = play(&app, &clock, &settings.public_url, args.quick) => played,
        () = stop_or_hang_up() => Ok(()),
    };
    let stopped = server.stop().await;
    drop(directory);
    played.and(stopped)
}

async fn play(app: &Arc<App>, clock: &Clock, url: &str, quick: bool) -> Result<(), Failure> {
    output::data(&format!("Crossfade is serving {url} with temporary data, deleted on exit.\n"))?;
    let password = random_text();
    app.create_owner(OWNER, &password).await?;
    let owner = Api::connect(url, owner_token(app, None).await?)?;
    let past = Past { app, clock, url, owner: &owner };
    let present = past.play().await?;
    output::data(&format!("It has {} clients with 200 days of history.\n", CLIENTS.len()))?;
    set_passwords(app, &owner, &password).await?;
    let pace = if quick { Duration::ZERO } else { PACE };
    story::change_over(&owner, url, &present, pace).await?;
    if quick {
        output::data("\nChecking the demo data\n")?;
        return check::check(&owner, url, &password, &present).await;
    }
    let working = movers::begin(&owner, url, &present).await?;
    invite(url, &password, &owner_token(app, Some(1)).await?)?;
    tokio::select! {
        () = working => stop_or_hang_up().await,
        () = stop_or_hang_up() => {}
    }
    Ok(())
}

/// Returns the settings of an instance that leaves nothing behind. They depend on no file and no variable.
fn throwaway(listen: SocketAddr, directory: &std::path::Path) -> Resolved {
    Resolved {
        listen,
        data_dir: directory.to_owned(),
        location: Location::File(directory.join("crossfade.db")),
        database_url_file: None,
        database_password_file: None,
        public_url: format!("http://{listen}"),
        master_key: KeySource::File(directory.join("master.key")),
        drain: Duration::ZERO,
        connections: Policy { most: None, most_per_source: None, idle: IDLE },
        trusted_proxies: Vec::new(),
        tls: None,
        admin: None,
        evidence_addresses: AddressWord::Full,
        node: NodeOptions { name: "demo".to_owned(), lease: DEFAULT_LEASE },
        fresh_sign_in: Duration::from_secs(600),
        log: "warn".to_owned(),
        log_format: LogFormat::Text,
        audit_retention_days: None,
        audit_sinks: Vec::new(),
        mailer: None,
        poster: Arc::default(),
        relay: Default::default(),
        journal: None,
    }
}

fn random_text() -> String {
    let mut bytes = [0; 16];
    SystemRandom.fill(&mut bytes);
    base62::encode_fixed(&bytes, 22)
}

/// Creates a token of the Owner, as `token create` does on the server machine.
async fn owner_token(app: &Arc<App>, expires_days: Option<u32>) -> Result<String, Failure> {
    let new = NewToken {
        user: OWNER.to_owned(),
        name: "demo".to_owned(),
        expires_days,
        scope: Vec::new(),
        only: None,
    };
    Ok(app.create_token(&new).await?.reveal().to_owned())
}

/// Sets the password of every account, using its link. All have the same password, because there is nothing to protect
/// here.
async fn set_passwords(app: &Arc<App>, owner: &Api, password: &str) -> Result<(), Failure> {
    let users: Vec<User> = owner.list("/users", usize::MAX).await?;
    for user in users.iter().filter(|user| user.email.as_deref().is_some_and(|email| email != OWNER)) {
        let path = format!("/users/{}/link", user.id);
        let link: OneTimeLink = owner.send(Method::POST, &path, &CreateLink::default()).await?;
        let url = link.url.unwrap_or_default();
        let value = url.rsplit('#').next().unwrap_or_default();
        let visitor = Visitor {
            origin: app.origin(Ipv4Addr::LOCALHOST.into()),
            user_agent: "crossfade demo".to_owned(),
            devices: Vec::new(),
        };
        app.use_link(value, None, password, &visitor).await?;
    }
    Ok(())
}

fn invite(url: &str, password: &str, token: &str) -> Result<(), Failure> {
    // As it was started, so that the commands can be pasted also where it is not on the PATH.
    let crossfade = std::env::args().next().unwrap_or_else(|| "crossfade".to_owned());
    let watched = movers::WATCHED;
    let mut accounts = format!("  {:<20} {OWNER}\n", Role::Owner.name());
    for (name, role) in PEOPLE {
        accounts.push_str(&format!("  {:<20} {}\n", role.name(), past::email(name)));
    }
    output::data(&format!(
        "\nThe server runs until you press Ctrl-C. Sign in to the Console with any of these accounts:\n\n  \
        {url}/console\n\n{accounts}\n  Password for all       {password}\n\nThe secret of {watched} was just \
        rotated. Watch its callers move, in the Console or from\nanother terminal:\n\n  export \
        CROSSFADE_URL={url}\n  export CROSSFADE_TOKEN={token}\n  {crossfade} secret watch \"{watched}\" \
        --env production\n  {crossfade} client list\n  {crossfade} secret history \"{CLIENT}\" --env \
        production\n  {crossfade} secret rotate \"{CLIENT}\" --env staging --transition 24h --show\n"
    ))
}
