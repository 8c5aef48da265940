//! The processes under test, each pinned to the server's CPU.

use crate::{Alg, Failure, cpu, fill};
use reqwest::StatusCode;
use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Timeout for a server to answer. Includes loading a million registrations.
const READY_WITHIN: Duration = Duration::from_secs(300);

/// A running server, stopped when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) name: &'static str,
}

impl Server {
    /// Starts the released product on this data directory.
    pub(crate) async fn crossfade(directory: &Path) -> Result<Self, Failure> {
        let address = free_address()?;
        let mut command = crossfade()?;
        command
            .args(["serve", "--log", "error", "--listen", &address.to_string(), "--data-dir"])
            .arg(directory);
        let child = start(command.stdout(Stdio::null()).stdin(Stdio::null()))?;
        let server = Self { child, address, name: "crossfade" };
        server.ready("/readyz").await?;
        Ok(server)
    }

    /// Starts the bare server.
    pub(crate) async fn bare(alg: Alg, registrations: usize) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bare", alg.name(), &registrations.to_string()]);
        let mut child = start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        let address = line.trim().parse()?;
        Ok(Self { child, address, name: "bare" })
    }

    /// Returns its process id.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Returns its resident memory.
    pub(crate) fn resident_megabytes(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? / 1024)
    }

    async fn ready(&self, path: &str) -> Result<(), Failure> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
        let begun = std::time::Instant::now();
        while begun.elapsed() < READY_WITHIN {
            let answer = http.get(format!("http://{}{path}", self.address)).send().await;
            if answer.is_ok_and(|answer| answer.status() == StatusCode::OK) {
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

/// Creates the two environments through the product's own command line and API.
pub(crate) async fn initialise(directory: &Path) -> Result<String, Failure> {
    let mut init = crossfade()?;
    init.args(["init", "--owner-email", fill::OWNER.0, "--password-stdin", "--data-dir"]).arg(directory);
    let mut child = init.stdin(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    child.stdin.take().ok_or("no stdin")?.write_all(format!("{}\n", fill::OWNER.1).as_bytes())?;
    if !child.wait()?.success() {
        return Err("crossfade init failed".into());
    }
    let token = token_of(directory, fill::OWNER.0)?;
    let server = Server::crossfade(directory).await?;
    for alg in Alg::ALL {
        let body = serde_json::json!({
            "slug": alg.environment(), "name": alg.name(), "kind": "live", "signing_alg": alg.name(),
        });
        let answer = reqwest::Client::builder()
            .build()?
            .post(format!("http://{}/api/v1/environments", server.address))
            .bearer_auth(&token)
            .json(&body)
            .send()
            .await?;
        if answer.status() != StatusCode::CREATED {
            return Err(format!("no environment: {}", answer.text().await?).into());
        }
    }
    Ok(token)
}

/// Creates an API token of an account.
pub(crate) fn token_of(directory: &Path, user: &str) -> Result<String, Failure> {
    let mut create = crossfade()?;
    create.args(["token", "create", "--user", user, "--name", "bench", "--data-dir"]).arg(directory);
    let output = create.stderr(Stdio::null()).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Returns the binary next to this one.
fn crossfade() -> Result<Command, Failure> {
    let path: PathBuf = std::env::current_exe()?.with_file_name("crossfade");
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
