//! The processes under test, each pinned to the server's CPU.

use crate::{
    Alg, Failure,
    api::Api,
    cpu, fill,
    identity::{Identity, NAME},
    wire::Dialer,
};
use reqwest::Method;
use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Timeout for a server to answer. Includes loading a million registrations.
const READY_WITHIN: Duration = Duration::from_secs(300);

/// A running server, stopped when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) dialer: Dialer,
    pub(crate) name: &'static str,
}

/// Where a server keeps its data, and whether it speaks TLS.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) directory: &'a Path,
    /// PostgreSQL URL; `None` for SQLite in the directory.
    pub(crate) database: Option<&'a str>,
    /// Directory of the journal; `None` for no journal.
    pub(crate) journal: Option<&'a Path>,
    pub(crate) identity: Option<&'a Identity>,
    /// The program; `None` for the one beside this one.
    pub(crate) program: Option<&'a Path>,
    /// Whether it is in front of an issuer on this machine.
    pub(crate) front: bool,
}

impl<'a> Place<'a> {
    /// SQLite, without a journal and without TLS.
    pub(crate) fn new(directory: &'a Path) -> Self {
        Self { directory, database: None, journal: None, identity: None, program: None, front: false }
    }

    /// Returns a command of the released product with these settings.
    pub(crate) fn command(&self, words: &[&str]) -> Result<Command, Failure> {
        let mut command = crossfade(self.program)?;
        command.args(words).env("CROSSFADE_DATA_DIR", self.directory);
        if let Some(url) = self.database {
            command.env("CROSSFADE_DATABASE_URL", url);
        }
        if let Some(directory) = self.journal {
            command.env("CROSSFADE_JOURNAL_FILE", directory.join("ends.journal"));
        }
        if self.front {
            command.env("CROSSFADE_OUTBOUND_PRIVATE_NETWORKS", "127.0.0.0/8");
        }
        Ok(command)
    }

    /// Creates an instance with an Owner. Returns a token of the Owner.
    pub(crate) fn initialise(&self) -> Result<String, Failure> {
        let mut init = self.command(&["init", "--owner-email", fill::OWNER.0, "--password-stdin"])?;
        let mut child = init.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        child.stdin.take().ok_or("no stdin")?.write_all(format!("{}\n", fill::OWNER.1).as_bytes())?;
        if !child.wait()?.success() {
            return Err("crossfade init failed".into());
        }
        self.token_of(fill::OWNER.0)
    }

    /// Creates an API token of an account.
    pub(crate) fn token_of(&self, user: &str) -> Result<String, Failure> {
        let mut create = self.command(&["token", "create", "--user", user, "--name", "bench"])?;
        let output = create.stderr(Stdio::null()).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

impl Server {
    /// Starts the released product.
    pub(crate) async fn crossfade(place: &Place<'_>) -> Result<Self, Failure> {
        let address = free_address()?;
        let mut command = place.command(&["serve", "--log", "error", "--listen", &address.to_string()])?;
        if let Some(Identity { certificate, key, .. }) = place.identity {
            command.env("CROSSFADE_TLS_CERT_FILE", certificate).env("CROSSFADE_TLS_KEY_FILE", key);
        }
        let child = start(command.stdout(Stdio::null()).stdin(Stdio::null()))?;
        let dialer = Dialer::new(address, place.identity)?;
        let server = Self { child, address, dialer, name: "crossfade" };
        server.ready("/readyz").await?;
        Ok(server)
    }

    /// Starts the bare server.
    pub(crate) async fn bare(
        alg: Alg,
        registrations: usize,
        identity: Option<&Identity>,
    ) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bare", alg.name(), &registrations.to_string()]);
        if let Some(Identity { certificate, key, .. }) = identity {
            command.args([certificate, key]);
        }
        Self::own(start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?, identity, "bare")
    }

    /// Starts the bare relay to an issuer, for callers with this secret.
    pub(crate) fn bare_relay(issuer: SocketAddr, secret: &str) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["relay", &issuer.to_string(), secret]);
        Self::own(start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?, None, "bare relay")
    }

    /// Starts the stub issuer, on the CPU of the load.
    pub(crate) fn stub_issuer() -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let child = command.arg("issuer").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        Self::own(child, None, "issuer")
    }

    /// Returns a server of this program, which prints its address.
    fn own(mut child: Child, identity: Option<&Identity>, name: &'static str) -> Result<Self, Failure> {
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        let address = line.trim().parse()?;
        Ok(Self { child, address, dialer: Dialer::new(address, identity)?, name })
    }

    /// Starts nginx as one process that forwards everything to an issuer with this authentication.
    pub(crate) async fn nginx(
        directory: &Path,
        issuer: SocketAddr,
        authorization: &str,
    ) -> Result<Self, Failure> {
        let address = free_address()?;
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", directory.display()))
            .concat();
        let configuration = format!(
            "daemon off; master_process off; pid {0}/pid; error_log stderr;\nevents {{ }}\nhttp {{\naccess_log off;\n\
             {temporary}keepalive_requests 1000000;\n\
             upstream issuer {{ server {issuer}; keepalive 64; keepalive_requests 1000000; }}\n\
             server {{\nlisten {address};\nlocation = /readyz {{ return 200; }}\nlocation / {{\n\
             proxy_pass http://issuer/token;\nproxy_http_version 1.1;\nproxy_set_header Connection \"\";\n\
             proxy_set_header Authorization \"{authorization}\";\n}}\n}}\n}}\n",
            directory.display(),
        );
        let file = directory.join("nginx.conf");
        std::fs::write(&file, configuration)?;
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(directory).args(["-e", "stderr", "-c"]).arg(&file);
        let child = start(command.stdin(Stdio::null()).stdout(Stdio::null()))
            .map_err(|error| format!("/usr/sbin/nginx does not start: {error}"))?;
        let server = Self { child, address, dialer: Dialer::new(address, None)?, name: "nginx" };
        server.ready("/readyz").await?;
        Ok(server)
    }

    /// Returns its process id.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    async fn ready(&self, path: &str) -> Result<(), Failure> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\n\r\n");
        let begun = std::time::Instant::now();
        while begun.elapsed() < READY_WITHIN {
            if let Ok(mut wire) = self.dialer.dial().await
                && wire.ask(request.as_bytes(), &mut Vec::new()).await.is_ok_and(|status| status == 200)
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(format!("{} is not ready", self.name).into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A benchmark needs no orderly shutdown.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Creates an instance and its two environments through the product's own command line and API.
pub(crate) async fn initialise(directory: &Path) -> Result<String, Failure> {
    let place = Place::new(directory);
    let token = place.initialise()?;
    let server = Server::crossfade(&place).await?;
    let api = Api::new(&server, token.clone())?;
    for alg in Alg::ALL {
        let body = serde_json::json!({
            "slug": alg.environment(), "name": alg.name(), "kind": "live", "signing_alg": alg.name(),
        });
        api.call(Method::POST, "/environments", Some(body)).await?;
    }
    Ok(token)
}

/// Returns this program, or the one next to this one.
fn crossfade(program: Option<&Path>) -> Result<Command, Failure> {
    let path = match program {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("crossfade"),
    };
    if !path.exists() {
        return Err(format!("{} is not there; build it first: cargo build --release", path.display()).into());
    }
    let mut command = Command::new(path);
    // Settings of the benchmark itself, which the program refuses as unknown.
    command.env_remove("CROSSFADE_TEST_POSTGRES");
    Ok(command)
}

fn start(command: &mut Command) -> Result<Child, Failure> {
    cpu::keep_to(cpu::SERVER)?;
    let child = command.spawn();
    cpu::keep_to(cpu::GENERATOR)?;
    Ok(child?)
}

fn free_address() -> Result<SocketAddr, Failure> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
