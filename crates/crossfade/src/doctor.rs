//! `crossfade doctor`: the settings, a running server, and the report.

use crate::{
    cli::Doctor,
    core_dumps,
    failure::Failure,
    loopback::is_loopback,
    output,
    progress::while_waiting,
    settings::{Resolved, Settings},
    tls,
};
use crossfade_app::doctor::{Check, Outcome, examine};
use crossfade_authority::Clock;
use crossfade_core::Timestamp;
use serde::Serialize;
use std::{
    fmt::Write,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};

/// Timeout for a server to say whether it is ready.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Report<'a> {
    checks: &'a [Check],
    failed: usize,
    warned: usize,
}

/// Runs `crossfade doctor`.
pub(crate) async fn doctor(args: Doctor) -> Result<(), Failure> {
    let checks = while_waiting("Checking the instance", check(args.settings)).await;
    let number = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
    let (failed, warned) = (number(Outcome::Fail), number(Outcome::Warn));
    match args.json {
        true => output::json(&Report { checks: &checks, failed, warned })?,
        false => output::data(&lines(&checks))?,
    }
    match failed {
        0 => Ok(()),
        _ => Err(Failure::failed(format!("{failed} of {} checks failed, {warned} warned.", checks.len()))),
    }
}

async fn check(settings: Settings) -> Vec<Check> {
    let settings = match settings.resolve() {
        Ok(settings) => settings,
        Err(failure) => {
            let mend =
                "Correct the setting. crossfade serve --help lists all settings. No other checks were run.";
            return vec![Check::fail("settings", failure.sentence(), mend)];
        }
    };
    let clock = Clock::system();
    let mut checks = check_settings(&settings, clock.now());
    let instance = settings.instance(&clock);
    let found = examine(&instance).await;
    checks.extend(found.checks);
    checks.extend(found.machine_clock);
    match found.served {
        Some(true) => checks.push(ready(settings.listen, settings.tls.is_some()).await),
        Some(false) => {
            checks.push(listen(settings.listen));
            checks.extend(settings.admin.as_ref().map(|admin| listen(admin.listen)));
        }
        // The database cannot be read, which was already reported.
        None => {}
    }
    checks
}

/// Checks the settings of an instance, without reading anything of it.
pub(crate) fn check_settings(settings: &Resolved, now: Timestamp) -> Vec<Check> {
    let mut checks = vec![core_dumps::check(), public_url(settings), trusted_proxies(settings)];
    checks.extend(settings.tls.as_ref().map(|files| tls(files, settings, now)));
    for (name, path) in [
        ("database_url_file", &settings.database_url_file),
        ("database_password_file", &settings.database_password_file),
    ] {
        checks.extend(path.as_deref().and_then(|path| password_holder(name, path)));
    }
    checks
}

/// Checks whether secrets are sent where others can read them.
fn public_url(settings: &Resolved) -> Check {
    const NAME: &str = "public_url";
    let url = &settings.public_url;
    let proxied = !settings.trusted_proxies.is_empty();
    let https = url.starts_with("https://");
    let mend = "Set --tls-cert-file and --tls-key-file. Or put a TLS proxy in front, add its address to \
        --trusted-proxies, and set --public-url to its https address.";
    if !settings.listen.ip().is_loopback() && !proxied && settings.tls.is_none() {
        let sentence = format!(
            "{} accepts requests from other machines, but without TLS and without a trusted proxy it refuses them.",
            settings.listen
        );
        return Check::warn(NAME, sentence, mend);
    }
    if !https && !reqwest::Url::parse(url).is_ok_and(|url| is_loopback(&url)) {
        return Check::warn(
            NAME,
            format!("{url} does not use https, so secrets are sent unencrypted to the proxy."),
            mend,
        );
    }
    Check::ok(NAME, format!("Issuers and links start with {url}."))
}

/// Checks whether the addresses in the evidence are those of the callers.
fn trusted_proxies(settings: &Resolved) -> Check {
    const NAME: &str = "trusted_proxies";
    let networks = &settings.trusted_proxies;
    if let Some(everybody) = networks.iter().find(|network| network.prefix_len() == 0) {
        return Check::fail(
            NAME,
            format!(
                "Forwarded headers are trusted from every address ({everybody}), so any caller can fake its \
                address."
            ),
            "List only the addresses of your proxies.",
        );
    }
    if networks.is_empty() && settings.tls.is_none() && settings.public_url.starts_with("https://") {
        return Check::warn(
            NAME,
            "Callers connect through a proxy that is not in --trusted-proxies, so all appear with the \
            proxy's address.",
            "Add its address to --trusted-proxies.",
        );
    }
    match networks.len() {
        0 => Check::ok(NAME, "Forwarded headers are not trusted from any address."),
        number => Check::ok(NAME, format!("Forwarded headers are trusted from {number} networks.")),
    }
}

/// Checks whether clients can verify the TLS certificate for the next two weeks.
fn tls(files: &tls::Files, settings: &Resolved, now: Timestamp) -> Check {
    const NAME: &str = "tls";
    let shown = files.certificate.display();
    let renew = format!("Renew the certificate. The server uses the new files in {shown} within 10 seconds.");
    let pair = match files.pair() {
        Ok(pair) => pair,
        Err(problem) => {
            return Check::fail(NAME, problem, "Correct the file. The server uses it within 10 seconds.");
        }
    };
    if let Some(why) = pair.unusable(now) {
        return Check::fail(NAME, format!("The certificate in {shown} {why}."), renew);
    }
    if let Some(mode) = mode_for_others(&files.key) {
        let key = files.key.display();
        let sentence =
            format!("Every user of this machine has access to the private key in {key} (mode {mode:o}).");
        return Check::fail(NAME, sentence, format!("Run chmod 600 {key}."));
    }
    for url in [&settings.public_url, settings.admin_url()] {
        let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
        if let Some(host) = host.filter(|host| !pair.names(host)) {
            return Check::warn(
                NAME,
                format!("The certificate in {shown} does not name {host}, the host of {url}."),
                "Get a certificate with this host among its names, or correct the URL.",
            );
        }
    }
    if now >= pair.not_after.before(tls::SOON) {
        return Check::warn(
            NAME,
            format!("The certificate in {shown} expires at {}.", tls::to_the_second(pair.not_after)),
            renew,
        );
    }
    Check::ok(
        NAME,
        format!("The certificate in {shown} is valid until {}.", tls::to_the_second(pair.not_after)),
    )
}

/// Checks whether others can read a file that may contain the database password; `None` if that cannot be determined.
fn password_holder(name: &'static str, path: &Path) -> Option<Check> {
    std::fs::metadata(path).ok()?;
    let shown = path.display();
    Some(match mode_for_others(path) {
        None => Check::ok(name, format!("{shown} is not readable by every user of this machine.")),
        Some(mode) => Check::warn(
            name,
            format!(
                "Every user of this machine has access to {shown} (mode {mode:o}), which may contain the \
                database password."
            ),
            format!("Run chmod 600 {shown}, or mount the file with mode 0440."),
        ),
    })
}

/// Returns the mode of a file to which every user of this machine has access.
fn mode_for_others(path: &Path) -> Option<u32> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    (mode & 0o007 != 0).then_some(mode)
}

/// Checks whether the running server can verify secrets.
async fn ready(address: SocketAddr, speaks_tls: bool) -> Check {
    const NAME: &str = "server";
    let elsewhere = "If the server listens on another address, pass the same --listen to doctor. Otherwise \
        check its log and restart it.";
    if address.port() == 0 {
        return Check::warn(NAME, "A server is running on the database, on an unknown port.", elsewhere);
    }
    let scheme = if speaks_tls { "https" } else { "http" };
    let url = format!("{scheme}://{}/readyz", reachable(address));
    // Past every proxy: this is about the server itself. Its certificate names another host, and has its own check.
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .timeout(ANSWERS_WITHIN)
        .build();
    let answer = match client {
        Ok(client) => client.get(&url).send().await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) if answer.status().is_success() => {
            let text = answer.text().await.unwrap_or_default();
            match text.trim() {
                "ready" => {
                    Check::ok(NAME, format!("A server is running on the database and is ready at {address}."))
                }
                more => Check::warn(
                    NAME,
                    format!("A server is running on the database. {url} reports: {more}."),
                    "Check the server log for the cause.",
                ),
            }
        }
        Ok(answer) => Check::fail(
            NAME,
            format!(
                "A server is running on the database, but {url} returns {}, so it cannot authenticate \
                clients.",
                answer.status()
            ),
            elsewhere,
        ),
        Err(_) => Check::fail(
            NAME,
            format!(
                "A server is running on the database, but {url} does not respond within {} s.",
                ANSWERS_WITHIN.as_secs()
            ),
            elsewhere,
        ),
    }
}

/// Returns the local address of a server that listens on all addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

/// Checks whether a server could listen on an address.
fn listen(address: SocketAddr) -> Check {
    const NAME: &str = "server";
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(NAME, format!("No server is running on the database, and {address} is free.")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Check::fail(
            NAME,
            format!("No server is running on the database, but another process listens on {address}."),
            "Stop that process, or choose another address with --listen.",
        ),
        Err(error) => Check::fail(
            NAME,
            format!(
                "No server is running on the database, and it is not possible to listen on {address}: \
                {error}."
            ),
            "Choose another address with --listen.",
        ),
    }
}

fn lines(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for check in checks {
        let word = match check.outcome {
            Outcome::Ok => "ok",
            Outcome::Warn => "warn",
            Outcome::Fail => "FAIL",
        };
        // What a database says may have line ends in it.
        let sentence = check.sentence.replace('\n', " ");
        let _ = write!(text, "{word:4}  {:width$}  {sentence}", check.name);
        if let Some(mend) = &check.mend {
            let _ = write!(text, " Fix: {mend}");
        }
        text.push('\n');
    }
    text
}
