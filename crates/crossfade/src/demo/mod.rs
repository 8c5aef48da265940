//! `crossfade demo`: a real server on throwaway data, and a rotation played against it over HTTP. The story
//! knows nothing but what the server answers: every value that it prints was received a moment before.

mod callers;
mod fill;
mod story;

use crate::{
    cli::Demo,
    failure::Failure,
    output,
    remote::Api,
    serve::{Server, bind, open, start_log, stop_signal},
    settings::{AddressWord, LogFormat, Resolved},
};
use crossfade_app::{App, NewToken};
use crossfade_authority::SystemRandom;
use crossfade_core::{Random, base62};
use crossfade_store::Location;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// The Owner of the throwaway instance.
const OWNER: &str = "ada@example.com";
/// How long a reader gets for each step.
const PACE: Duration = Duration::from_millis(900);

/// Plays the demo and, unless it is to be quick, serves on.
pub(crate) async fn demo(args: Demo) -> Result<(), Failure> {
    if !args.listen.ip().is_loopback() {
        return Err(Failure::usage(
            "The demo serves on a loopback address only, because it prints a token that may do everything.",
        ));
    }
    start_log("warn", LogFormat::Text)?;
    let listener = bind(args.listen)?;
    let address = listener.local_addr().map_err(|error| Failure::failed(error.to_string()))?;
    let directory = tempfile::tempdir()
        .map_err(|error| Failure::failed(format!("No temporary directory can be made: {error}.")))?;
    let settings = throwaway(address, directory.path());
    let app = open(&settings, true).await?;
    let Owner { password, token } = create_owner(&app).await?;
    let server = Server::start(app, listener, Vec::new())?;

    let pace = if args.quick { Duration::ZERO } else { PACE };
    // Whatever the story comes to, the server stops in order and the directory is taken away.
    let told = tokio::select! {
        told = tell(&settings.public_url, &token, pace) => told.map(|()| true),
        () = stop_signal() => Ok(false),
    };
    let served = match told {
        Ok(true) if !args.quick => serve_on(&settings.public_url, &password, &token).await,
        Ok(_) => Ok(()),
        Err(failure) => Err(failure),
    };
    let stopped = server.stop().await;
    drop(directory);
    served.and(stopped)
}

/// Settings of an instance that leaves nothing behind. No file and no variable has a say in them.
fn throwaway(listen: SocketAddr, directory: &std::path::Path) -> Resolved {
    Resolved {
        listen,
        data_dir: directory.to_owned(),
        location: Location::File(directory.join("crossfade.db")),
        public_url: format!("http://{listen}"),
        master_key_file: directory.join("master.key"),
        trusted_proxies: Vec::new(),
        evidence_addresses: AddressWord::Full,
        fresh_sign_in: Duration::from_secs(600),
        log: "warn".to_owned(),
        log_format: LogFormat::Text,
        audit_retention_days: None,
    }
}

/// What lets a reader in.
struct Owner {
    password: String,
    token: String,
}

/// Creates the Owner and a token, as `init` and `token create` do on a machine.
async fn create_owner(app: &Arc<App>) -> Result<Owner, Failure> {
    let mut bytes = [0; 16];
    SystemRandom.fill(&mut bytes);
    let password = base62::encode_fixed(&bytes, 22);
    app.create_owner(OWNER, &password).await?;
    let new = NewToken {
        user: OWNER.to_owned(),
        name: "demo".to_owned(),
        expires_days: Some(1),
        scope: Vec::new(),
    };
    let token = app.create_token(&new).await?.reveal().to_owned();
    Ok(Owner { password, token })
}

async fn tell(url: &str, token: &str, pace: Duration) -> Result<(), Failure> {
    let api = Api::connect(url, token.to_owned())?;
    output::data(&format!("Crossfade serves {url} on data that is thrown away at the end.\n"))?;
    let registered = fill::fill(&api).await?;
    story::change_over(&api, url, registered, pace).await
}

async fn serve_on(url: &str, password: &str, token: &str) -> Result<(), Failure> {
    // As it was started, so that the commands can be pasted also where it is not on the PATH.
    let crossfade = std::env::args().next().unwrap_or_else(|| "crossfade".to_owned());
    let client = fill::CLIENT;
    output::data(&format!(
        "\nThe server goes on, until Ctrl-C. Look around in a browser:\n\n  \
         {url}/console\n  Email     {OWNER}\n  Password  {password}\n\n\
         Or from another terminal:\n\n  \
         export CROSSFADE_URL={url}\n  export CROSSFADE_TOKEN={token}\n  \
         {crossfade} client list\n  {crossfade} secret history \"{client}\" --env production\n  \
         {crossfade} secret rotate \"{client}\" --env staging --transition 24h --show\n"
    ))?;
    stop_signal().await;
    Ok(())
}
