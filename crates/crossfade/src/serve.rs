//! `crossfade serve`: opens the database, locks it, listens, and stops without dropping a request.

use crate::{
    connections::{How, Serving},
    database::wait_for,
    doctor::check_settings,
    failure::Failure,
    log,
    log_pace::LogPace,
    output,
    settings::{LogFormat, Resolved, Settings},
    signals::{Asked, Ignored, Stop},
    tls::{Files, Tls},
};
use crossfade_app::{
    App, Creation, FileReplaced, Options, PasswordCost, Worker,
    doctor::{Check, Outcome, examine_at_start},
};
use crossfade_authority::{Clock, SystemRandom};
use crossfade_store::Location;
use crossfade_web::{Routers, Transport, TrustedProxies};
use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tokio::time::timeout;
use tracing_subscriber::{Registry, layer::SubscriberExt, util::SubscriberInitExt};

/// How long evidence data is reused.
pub(crate) const READINGS_KEPT: Duration = Duration::from_secs(1);

/// Serves until it is asked to stop.
pub(crate) async fn serve(settings: Settings) -> Result<(), Failure> {
    let settings = settings.resolve()?;
    let pace = start_log(&settings.log, settings.log_format)?;
    let listeners = Listeners::bind(&settings)?;
    let settings = listeners.named(settings)?;
    let (mut stop, mut ignored) = (Stop::new(), Ignored::new());
    let transport =
        Transport { proxies: TrustedProxies(settings.trusted_proxies.clone()), ..Transport::default() };
    let tls = open_tls(&settings, &transport)?;
    tokio::select! {
        reached = wait_for(&settings.location) => reached?,
        _ = stop.asked() => return Ok(()),
    }
    let app = open(&settings, true, Creation::WithNewKey).await?;
    app.open_connections().await;
    app.begin_serving().await;
    warn_of_findings(&settings, &app).await;
    if !app.has_owner().await? {
        let link = app.create_set_up_link().await?;
        output::note(
            "This instance has no Owner yet. To create one, open this one-time link within 24 hours:",
        );
        output::data(&format!("{}\n", link.url))?;
    }
    let server = Server::start(app, listeners, &settings, transport, tls.clone())?;
    output::note(&format!("Serving {} on {}.", settings.public_url, settings.listen));
    if let Some(admin) = &settings.admin {
        output::note(&format!("Serving the Console and the API at {} on {}.", admin.url, admin.listen));
    }
    tokio::select! {
        () = server.leave(&mut stop, settings.drain) => server.stop().await,
        never = ignored.log(|| tls.iter().for_each(|tls| tls.look())) => match never {},
        never = watch(tls.as_deref()) => match never {},
        () = pace.tell() => Ok(()),
        stopped = server.must_stop() => {
            server.stop().await?;
            stopped
        }
    }
}

/// Reads the certificate, if the settings name one.
fn open_tls(settings: &Resolved, transport: &Transport) -> Result<Option<Arc<Tls>>, Failure> {
    let open = |files: &Files| Tls::open(files.clone(), Clock::system(), transport.certificate.clone());
    settings.tls.as_ref().map(open).transpose().map(|tls| tls.map(Arc::new))
}

/// Replaces the certificate when its files change.
async fn watch(tls: Option<&Tls>) -> Infallible {
    match tls {
        Some(tls) => tls.watch().await,
        None => std::future::pending().await,
    }
}

/// Logs what `crossfade doctor` would find, before it causes a problem.
async fn warn_of_findings(settings: &Resolved, app: &App) {
    let clock = Clock::system();
    let instance = settings.instance(&clock);
    let mut found = check_settings(settings, clock.now());
    found.retain(|check| check.outcome != Outcome::Ok);
    found.extend(examine_at_start(&instance, app.db()).await);
    for Check { name, outcome, sentence, mend } in found {
        let mend = mend.unwrap_or_default();
        match outcome {
            Outcome::Fail => tracing::error!(check = name, mend, "{sentence}"),
            _ => tracing::warn!(check = name, mend, "{sentence}"),
        }
    }
}

/// Opens the application that the settings name.
pub(crate) async fn open(
    settings: &Resolved,
    decides: bool,
    creation: Creation,
) -> Result<Arc<App>, Failure> {
    open_at(settings, decides, creation, Arc::new(Clock::system())).await
}

/// Opens the application that the settings name, with the given clock.
pub(crate) async fn open_at(
    settings: &Resolved,
    decides: bool,
    creation: Creation,
    clock: Arc<Clock>,
) -> Result<Arc<App>, Failure> {
    create_data_dir(settings)?;
    let options = Options {
        location: settings.location.clone(),
        master_key: settings.master_key.clone(),
        public_url: settings.public_url.clone(),
        admin_url: settings.admin_url().to_owned(),
        clock,
        random: Arc::new(SystemRandom),
        audit_retention_days: settings.audit_retention_days,
        audit_sinks: settings.audit_sinks.clone(),
        mailer: decides.then(|| settings.mailer.clone()).flatten(),
        poster: settings.poster.clone(),
        relay: settings.relay,
        journal: settings.journal.clone(),
        evidence_addresses: settings.evidence_addresses.policy(),
        node: settings.node.clone(),
        fresh_sign_in: settings.fresh_sign_in,
        password_cost: PasswordCost::RECOMMENDED,
        readings_kept: READINGS_KEPT,
        decides,
        creation,
    };
    Ok(App::open(options).await?)
}

/// Opens an existing application, so that a command in the wrong directory does not create one.
pub(crate) async fn open_existing(settings: &Resolved) -> Result<Arc<App>, Failure> {
    match &settings.location {
        Location::File(path) if !path.exists() => Err(Failure::failed(format!(
            "The database {} does not exist. Run this command where the server runs, or set --data-dir.",
            path.display()
        ))),
        _ => open(settings, false, Creation::Never).await,
    }
}

/// Says that a command has changed what the journal notes, and knows no journal.
pub(crate) fn note_unnoted(app: &App) {
    if app.is_unnoted() {
        output::note(
            "No journal is set for this command, so the command did not wait until the journal contains the change. The \
            server notes the change while it runs. To wait, set --journal-file as for the server.",
        );
    }
}

/// A running server.
pub(crate) struct Server {
    app: Arc<App>,
    worker: Worker,
    /// One of each address.
    serving: Vec<Serving>,
}

/// The sockets of a server.
pub(crate) struct Listeners {
    pub(crate) main: TcpListener,
    /// The one for administration, if it is another.
    pub(crate) admin: Option<TcpListener>,
}

impl Listeners {
    fn bind(settings: &Resolved) -> Result<Self, Failure> {
        let admin = settings.admin.as_ref().map(|admin| bind(admin.listen, "--admin-listen")).transpose()?;
        Ok(Self { main: bind(settings.listen, "--listen")?, admin })
    }

    /// Returns the settings with the addresses that were bound.
    fn named(&self, settings: Resolved) -> Result<Resolved, Failure> {
        let address = |listener: &TcpListener| {
            listener.local_addr().map_err(|error| Failure::failed(format!("Cannot listen: {error}.")))
        };
        Ok(settings.listening_on(address(&self.main)?, self.admin.as_ref().map(address).transpose()?))
    }
}

impl Server {
    /// Starts to serve.
    pub(crate) fn start(
        app: Arc<App>,
        listeners: Listeners,
        settings: &Resolved,
        transport: Transport,
        tls: Option<Arc<Tls>>,
    ) -> Result<Self, Failure> {
        let how = How {
            idle: settings.connections.idle,
            proxies: transport.proxies.clone(),
            counts: transport.connections.clone(),
            tls,
        };
        let routers = Routers::new(app.clone(), transport)
            .map_err(|error| Failure::failed(format!("Cannot start the server: {error}.")))?;
        let (policy, url) = (&settings.connections, settings.public_url.as_str());
        let serving = match listeners {
            Listeners { main, admin: None } => {
                let [bounds] = policy.bounds()?;
                vec![Serving::start(main, routers.everything(), url, bounds, &how)?]
            }
            Listeners { main, admin: Some(admin) } => {
                let [for_clients, for_admin] = policy.bounds()?;
                vec![
                    Serving::start(main, routers.clients(), url, for_clients, &how)?,
                    Serving::start(admin, routers.admin(), settings.admin_url(), for_admin, &how)?,
                ]
            }
        };
        Ok(Self { worker: Worker::start(app.clone()), app, serving })
    }

    /// Returns when this process must stop, with the reason.
    async fn must_stop(&self) -> Result<(), Failure> {
        let FileReplaced = self.app.keep_serving().await;
        Err(Failure::failed(
            "The database file or its lock file was replaced while this server was running. The server is \
            stopping, because further changes would be lost. Put the database file back and start the server \
            again.",
        ))
    }

    /// Returns once this process was asked to stop, is drained, and has finished the messages under way. Requests are still
    /// served: a load balancer needs time to notice, and a slow mail server delays no token.
    async fn leave(&self, stop: &mut Stop, drain: Duration) {
        let asked = stop.asked().await;
        self.app.begin_leaving();
        if asked == Asked::Drain && !drain.is_zero() {
            output::note(&format!(
                "Stopping: /readyz answers 503, and requests are served for another {} s.",
                drain.as_secs()
            ));
            let _ = timeout(drain, stop.asked()).await;
        }
        self.worker.end_sending();
        self.worker.messages_end().await;
    }

    /// Lets running requests finish, flushes and closes.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        // All at the same time: each waits for its running requests.
        let forwarded = self.app.longest_wait_for_issuers();
        let ended = self.serving.into_iter().map(|serving| serving.stop(forwarded));
        let ended = futures_util::future::try_join_all(ended);
        tokio::pin!(ended);
        let ended = tokio::select! {
            ended = &mut ended => ended,
            // They are decided by the lease, which is renewed meanwhile.
            _ = self.app.keep_serving() => ended.await,
        };
        self.worker.stop().await;
        self.app.close().await;
        ended.map(drop)
    }
}

/// Binds the address, before anything else is changed.
pub(crate) fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => Failure::failed(format!(
            "{address} is already in use. Stop the process that listens there, or choose another address \
            with {flag}."
        )),
        _ => Failure::failed(format!("Cannot listen on {address}: {error}.")),
    })
}

/// Creates the data directory, if anything is stored in it.
pub(crate) fn create_data_dir(settings: &Resolved) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    if !settings.uses_data_dir() {
        return Ok(());
    }
    let path = &settings.data_dir;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
        Failure::failed(format!("Cannot create the data directory {}: {error}.", path.display()))
    })
}

/// Starts the log on stderr, at a rate that unknown sources cannot drive up.
pub(crate) fn start_log(directives: &str, format: LogFormat) -> Result<LogPace, Failure> {
    let filter = log::filter(directives)?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // By default it reports write errors to stderr and panics during a request if stderr is closed.
        .log_internal_errors(false);
    let pace = LogPace::default();
    let log = Registry::default().with(filter).with(pace.clone());
    let started = match format {
        LogFormat::Text => log.with(lines).try_init(),
        LogFormat::Json => log.with(lines.json().flatten_event(true).with_current_span(false)).try_init(),
    };
    started.map_err(|error| Failure::failed(format!("Cannot start the log: {error}.")))?;
    Ok(pace)
}
