//! Checks of single settings, each of which names its setting when it refuses.

use crate::{failure::Failure, tls, variables};
use crossfade_app::{
    AuditSink, DEFAULT_LEASE, KeyCommand, KeySource, LEASE_SECONDS, NodeOptions, other_writer,
};
use crossfade_core::text;
use crossfade_store::Location;
use ipnet::IpNet;
use rustix::system::uname;
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// Maximum length of the name of a node, in characters.
const MAX_NODE_NAME: usize = 100;

/// A path that names something: an empty one would be the working directory.
pub(super) fn non_empty(name: &str, path: PathBuf) -> Result<PathBuf, Failure> {
    match path.as_os_str().is_empty() {
        true => Err(Failure::usage(format!("{name} must not be empty."))),
        false => Ok(path),
    }
}

/// Returns the command of the settings file. It runs as the user of this process, so no other user may be able to
/// choose it.
pub(super) fn key_command(words: Vec<String>, config: Option<&Path>) -> Result<KeySource, Failure> {
    let Some(config) = config else { return Err(Failure::usage("master_key_command requires --config.")) };
    let shown = config.display();
    if variables::is_config(config) {
        return Err(Failure::usage(format!(
            "master_key_command in {shown} is not run, because CROSSFADE_CONFIG names that file. Nothing was changed. Unset the variable, and set --config {shown}."
        )));
    }
    let found = std::fs::metadata(config)
        .map_err(|error| Failure::failed(format!("Cannot read the settings file {shown}: {error}.")))?;
    if !found.is_file() {
        return Err(Failure::usage(format!("master_key_command is not run, because {shown} is not a file.")));
    }
    if let Some(who) = other_writer(&found) {
        return Err(Failure::failed(format!(
            "master_key_command is not run, because {who} can change {shown}. Nothing was changed. Run chmod go-w {shown}, and give the file to root or to the user of the server."
        )));
    }
    let command = KeyCommand::new(words);
    command.map(KeySource::Command).map_err(|what| Failure::usage(format!("master_key_command {what}.")))
}

/// Networks and addresses.
pub(super) fn networks(name: &str, list: Option<Vec<String>>) -> Result<Vec<IpNet>, Failure> {
    let read = |(at, text): (usize, String)| {
        let text = text.trim();
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map_err(|_| {
            // Not quoted, like an address.
            Failure::usage(format!(
                "{name} must contain networks such as 10.0.0.0/8, and number {} is none.",
                at + 1
            ))
        })
    };
    list.unwrap_or_default().into_iter().enumerate().map(read).collect()
}

/// A number from 1 to `most`.
pub(super) fn within(name: &str, value: Option<u32>, most: u32) -> Result<Option<u32>, Failure> {
    match value {
        Some(value) if !(1..=most).contains(&value) => {
            Err(Failure::usage(format!("{name} must be a whole number from 1 to {most}, not {value}.")))
        }
        _ => Ok(value),
    }
}

/// How long requests are served after SIGTERM: 15 seconds, in which load balancers notice twice that the server is not
/// ready.
pub(super) fn drain(seconds: Option<u64>) -> Result<Duration, Failure> {
    const MOST: u64 = 3_600;
    match seconds.unwrap_or(15) {
        seconds if seconds <= MOST => Ok(Duration::from_secs(seconds)),
        seconds => Err(Failure::usage(format!(
            "drain_seconds must be a whole number from 0 to {MOST}, not {seconds}."
        ))),
    }
}

/// The name of this node, and how long its leases last.
pub(super) fn node(
    name: Option<String>,
    lease_seconds: Option<u64>,
    location: &Location,
) -> Result<NodeOptions, Failure> {
    let name = match name {
        Some(name) => text::line("node_name", &name, MAX_NODE_NAME)
            .map_err(|problem| Failure::usage(problem.detail.clone()))?,
        None => uname().nodename().to_string_lossy().chars().take(MAX_NODE_NAME).collect(),
    };
    let lease = match lease_seconds {
        None => DEFAULT_LEASE,
        // On SQLite only one process decides, however long it does not hear from anybody.
        Some(_) if matches!(location, Location::File(_)) => {
            return Err(Failure::usage("lease_seconds must be set only with a PostgreSQL database."));
        }
        Some(seconds) if LEASE_SECONDS.contains(&seconds) => Duration::from_secs(seconds),
        Some(seconds) => {
            return Err(Failure::usage(format!(
                "lease_seconds must be a whole number from {} to {}, not {seconds}.",
                LEASE_SECONDS.start(),
                LEASE_SECONDS.end()
            )));
        }
    };
    Ok(NodeOptions { name, lease })
}

/// Days from 1 on: 0 would delete every event of the trail.
pub(super) fn retention(days: u32) -> Result<u32, Failure> {
    match days {
        1..=36500 => Ok(days),
        _ => Err(Failure::usage("audit_retention_days must be a whole number of days from 1 to 36500.")),
    }
}

/// The files of the certificate, if both are set.
pub(super) fn tls_files(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<tls::Files>, Failure> {
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(tls::Files {
            certificate: non_empty("tls_cert_file", certificate)?,
            key: non_empty("tls_key_file", key)?,
        })),
        (Some(_), None) => Err(Failure::usage("tls_key_file must be set together with tls_cert_file.")),
        (None, Some(_)) => Err(Failure::usage("tls_cert_file must be set together with tls_key_file.")),
    }
}

/// Returns where the audit trail is shipped to.
pub(super) fn audit_sinks(file: Option<PathBuf>, syslog: Option<String>) -> Result<Vec<AuditSink>, Failure> {
    let file = file.map(|path| non_empty("audit_file", path).map(AuditSink::File)).transpose()?;
    let syslog = syslog.map(|text| {
        AuditSink::parse_syslog(&text).ok_or_else(|| {
            Failure::usage("audit_syslog must be udp://HOST:PORT, tcp://HOST:PORT or unix:PATH.")
        })
    });
    Ok(file.into_iter().chain(syslog.transpose()?).collect())
}
