//! Settings: built-in defaults, then a TOML file, then `CROSSFADE_*`, then flags. Read once, into final types.

mod addresses;
mod database_url;
mod file;
mod mail;
mod outbound;
mod values;

pub(crate) use self::database_url::warn_of_typed_password;

use self::{
    addresses::{Reached, address, rename},
    database_url::{DatabaseUrl, contains_password, has_password, on_postgres},
    mail::Mail,
    outbound::{authorities, poster},
    values::{audit_sinks, drain, key_command, networks, node, non_empty, retention, tls_files, within},
};
use crate::{connections::Policy, failure::Failure, log::checked, tls};
use clap::{Args, ValueEnum};
use crossfade_app::{
    AddressPolicy, AuditSink, KeySource, Mailer, NodeOptions, Poster, RelayLimits, doctor::Instance,
};
use crossfade_authority::Clock;
use crossfade_store::Location;
use ipnet::IpNet;
use serde::Deserialize;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// What can be set. The same keys stand in the file, with underscores.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[command(next_help_heading = "Settings")]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// TOML file to read settings from.
    #[arg(long, env = "CROSSFADE_CONFIG", hide_env_values = true)]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// Address and port to listen on for the Console, the API and the OAuth endpoints. [default:
    /// 127.0.0.1:8080]
    #[arg(long, env = "CROSSFADE_LISTEN", hide_env_values = true)]
    pub(crate) listen: Option<String>,
    /// Address and port for the Console, the API, the documentation and the metrics. With it, the address of
    /// --listen answers only the OAuth endpoints and health checks. [default: none]
    #[arg(long, env = "CROSSFADE_ADMIN_LISTEN", hide_env_values = true)]
    pub(crate) admin_listen: Option<String>,
    /// Base URL of the Console and of links to it, without a path, if --admin-listen is set. [default:
    /// https://ADMIN_LISTEN or http://ADMIN_LISTEN, if that is on this machine]
    #[arg(long, env = "CROSSFADE_ADMIN_URL", hide_env_values = true)]
    pub(crate) admin_url: Option<String>,
    /// Directory for the embedded database and the master key. [default: ./crossfade-data]
    #[arg(long, env = "CROSSFADE_DATA_DIR", hide_env_values = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// PostgreSQL URL (postgres://…) without a password, because other users of this machine can read
    /// command-line arguments. Set a URL with a password in the variable or in a file. [default: SQLite in
    /// the data directory]
    #[arg(long, env = "CROSSFADE_DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,
    /// File that holds the database URL.
    #[arg(long, env = "CROSSFADE_DATABASE_URL_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) database_url_file: Option<PathBuf>,
    /// URL of the same PostgreSQL database past a pooler of transactions, to which the other URL leads. For the lock,
    /// announcements and migrations, which need a session of their own. [default: none]
    #[arg(long, env = "CROSSFADE_DATABASE_DIRECT_URL", hide_env_values = true)]
    pub(crate) database_direct_url: Option<String>,
    /// File that holds the password of the database, which the URL then must not contain. Read at each connection.
    /// [default: none]
    #[arg(long, env = "CROSSFADE_DATABASE_PASSWORD_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) database_password_file: Option<PathBuf>,
    /// Public base URL of issuers and links, without a path. [default: http://LISTEN, or https://LISTEN with
    /// TLS]
    #[arg(long, env = "CROSSFADE_PUBLIC_URL", hide_env_values = true)]
    pub(crate) public_url: Option<String>,
    /// File that holds the master key. [default: DATA_DIR/master.key]
    #[arg(long, env = "CROSSFADE_MASTER_KEY_FILE", hide_env_values = true)]
    pub(crate) master_key_file: Option<PathBuf>,
    /// File in which every end of a secret, token, role, account or client is noted before its reply, so that no
    /// older copy of the database can revive it. Outside the database and its backups. [default: none]
    #[arg(long, env = "CROSSFADE_JOURNAL_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) journal_file: Option<PathBuf>,
    /// Program and arguments of a command whose output has the format of the master key file. Only in the
    /// settings file, because whoever sets a variable or a flag must not choose what runs.
    #[arg(skip)]
    pub(crate) master_key_command: Option<Vec<String>>,
    /// PEM file with the TLS certificate, followed by the certificates that lead to its issuer. With it and the
    /// key, the server speaks only TLS. A new certificate is used without a restart. [default: none]
    #[arg(long, env = "CROSSFADE_TLS_CERT_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) tls_cert_file: Option<PathBuf>,
    /// PEM file with the private key of the TLS certificate. [default: none]
    #[arg(long, env = "CROSSFADE_TLS_KEY_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) tls_key_file: Option<PathBuf>,
    /// Networks of trusted proxies, whose forwarded headers are used. Comma-separated. [default: none]
    #[arg(long, env = "CROSSFADE_TRUSTED_PROXIES", hide_env_values = true, value_delimiter = ',')]
    pub(crate) trusted_proxies: Option<Vec<String>>,
    /// Maximum number of open connections, 1 to 1000000. [default: as many as the open-file limit allows, at
    /// most 16384]
    #[arg(long, env = "CROSSFADE_MAX_CONNECTIONS", hide_env_values = true, value_name = "NUMBER")]
    pub(crate) max_connections: Option<u32>,
    /// Maximum number of open connections from one IPv4 address or IPv6 /64, 1 to 1000000. Does not apply to
    /// trusted proxies.
    /// [default: a quarter of max-connections]
    #[arg(long, env = "CROSSFADE_MAX_CONNECTIONS_PER_SOURCE", hide_env_values = true, value_name = "NUMBER")]
    pub(crate) max_connections_per_source: Option<u32>,
    /// Seconds before an idle connection is closed, 1 to 3600. A load balancer in front must use a shorter
    /// time. [default: 75]
    #[arg(long, env = "CROSSFADE_IDLE_SECONDS", hide_env_values = true, value_name = "SECONDS")]
    pub(crate) idle_seconds: Option<u32>,
    /// Seconds for which the server continues to serve requests after SIGTERM, while /readyz answers 503, 0 to 3600. A
    /// second signal ends that time. [default: 15]
    #[arg(long, env = "CROSSFADE_DRAIN_SECONDS", hide_env_values = true, value_name = "SECONDS")]
    pub(crate) drain_seconds: Option<u64>,
    /// Name of this node for people. [default: the name of the host]
    #[arg(long, env = "CROSSFADE_NODE_NAME", hide_env_values = true, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// Seconds for which this node verifies secrets without hearing from PostgreSQL, 2 to 120. [default: 15]
    #[arg(long, env = "CROSSFADE_LEASE_SECONDS", hide_env_values = true, value_name = "SECONDS")]
    pub(crate) lease_seconds: Option<u64>,
    /// Minutes before the Console asks for the password again to rotate, reveal, revoke, grant or delete. 1
    /// to 720. [default: 10]
    #[arg(long, env = "CROSSFADE_FRESH_SIGN_IN_MINUTES", hide_env_values = true)]
    pub(crate) fresh_sign_in_minutes: Option<u64>,
    /// Log filter, such as info or crossfade_web=debug. [default: info,sqlx=warn]
    #[arg(long, env = "CROSSFADE_LOG", hide_env_values = true)]
    pub(crate) log: Option<String>,
    /// Log format: text for people or json for programs. One line per event. [default: text]
    #[arg(long, env = "CROSSFADE_LOG_FORMAT", hide_env_values = true, value_enum)]
    pub(crate) log_format: Option<LogFormat>,
    /// How evidence of use, sessions and the audit trail store addresses: full, truncated (to /24 and /48) or
    /// hashed. [default: full]
    #[arg(long, env = "CROSSFADE_EVIDENCE_ADDRESSES", hide_env_values = true, value_enum)]
    pub(crate) evidence_addresses: Option<AddressWord>,
    /// Days to keep audit events. [default: forever]
    #[arg(long, env = "CROSSFADE_AUDIT_RETENTION_DAYS", hide_env_values = true, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub(crate) audit_retention_days: Option<u32>,
    /// File that every audit event is appended to, as a line of JSON. The file can be rotated by renaming it.
    /// [default: none]
    #[arg(long, env = "CROSSFADE_AUDIT_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) audit_file: Option<PathBuf>,
    /// Syslog server that every audit event is sent to (RFC 5424): udp://HOST:PORT, tcp://HOST:PORT or
    /// unix:PATH. [default: none]
    #[arg(long, env = "CROSSFADE_AUDIT_SYSLOG", hide_env_values = true, value_name = "ADDRESS")]
    pub(crate) audit_syslog: Option<String>,
    /// Mail server for messages to owners: smtp://HOST:PORT, with STARTTLS unless the host is this machine, or
    /// smtps://HOST:PORT. User and password can be in the URL, but other users of this machine can read
    /// command-line arguments. [default: none, and owners are not notified]
    #[arg(long, env = "CROSSFADE_SMTP_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) smtp_url: Option<String>,
    /// File that holds the password of the mail server. Read at each connection. [default: none]
    #[arg(long, env = "CROSSFADE_SMTP_PASSWORD_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) smtp_password_file: Option<PathBuf>,
    /// Sender of mail, such as Crossfade <crossfade@example.com>. Required with --smtp-url.
    #[arg(long, env = "CROSSFADE_MAIL_FROM", hide_env_values = true, value_name = "ADDRESS")]
    pub(crate) mail_from: Option<String>,
    /// Private networks that webhooks and upstream issuers can be in, also without TLS. Comma-separated.
    /// [default: none, and only public addresses are reached, with TLS]
    #[arg(long, env = "CROSSFADE_OUTBOUND_PRIVATE_NETWORKS", hide_env_values = true, value_delimiter = ',')]
    pub(crate) outbound_private_networks: Option<Vec<String>>,
    /// PEM file with certificate authorities of the mail server, webhooks and upstream issuers, in addition to those of the system.
    /// [default: none]
    #[arg(long, env = "CROSSFADE_OUTBOUND_CA_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) outbound_ca_file: Option<PathBuf>,
    /// Seconds to connect to an upstream issuer, with TLS, 1 to 30. [default: 2]
    #[arg(long, env = "CROSSFADE_UPSTREAM_CONNECT_SECONDS", hide_env_values = true, value_name = "SECONDS")]
    pub(crate) upstream_connect_seconds: Option<u32>,
    /// Seconds that a request to an upstream issuer can take, with all attempts, 1 to 300. [default: 30]
    #[arg(long, env = "CROSSFADE_UPSTREAM_SECONDS", hide_env_values = true, value_name = "SECONDS")]
    pub(crate) upstream_seconds: Option<u32>,
    /// Seconds before an idle connection to an upstream issuer is closed, 1 to 3600. Must be shorter than the issuer's own
    /// time. [default: 4]
    #[arg(long, env = "CROSSFADE_UPSTREAM_IDLE_SECONDS", hide_env_values = true, value_name = "SECONDS")]
    pub(crate) upstream_idle_seconds: Option<u32>,
    /// Number of requests that wait for one upstream issuer at the same time, 1 to 100000. One client can have half of them.
    /// [default: 200]
    #[arg(long, env = "CROSSFADE_UPSTREAM_REQUESTS", hide_env_values = true, value_name = "NUMBER")]
    pub(crate) upstream_requests: Option<u32>,
}

/// How long a kept connection may be idle. Balancers keep theirs for a minute at most, and must end them first.
pub(crate) const IDLE: Duration = Duration::from_secs(75);

/// Log format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// How addresses are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AddressWord {
    /// The full address.
    #[default]
    Full,
    /// The network only: IPv4 /24, IPv6 /48.
    Truncated,
    /// A keyed hash.
    Hashed,
}

impl AddressWord {
    /// Returns the matching [`AddressPolicy`].
    pub(crate) fn policy(self) -> AddressPolicy {
        match self {
            Self::Full => AddressPolicy::Full,
            Self::Truncated => AddressPolicy::Truncated,
            Self::Hashed => AddressPolicy::Hashed,
        }
    }
}

/// An address of its own for administration.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) listen: SocketAddr,
    /// Base of the Console and of links to it.
    pub(crate) url: String,
}

/// Settings in their final types.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: Option<Admin>,
    pub(crate) data_dir: PathBuf,
    pub(crate) location: Location,
    /// The file that holds the database URL, or the settings file if there is a password in it.
    pub(crate) database_url_file: Option<PathBuf>,
    pub(crate) database_password_file: Option<PathBuf>,
    pub(crate) public_url: String,
    pub(crate) master_key: KeySource,
    pub(crate) journal: Option<PathBuf>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) tls: Option<tls::Files>,
    pub(crate) connections: Policy,
    /// How long requests are served after SIGTERM.
    pub(crate) drain: Duration,
    pub(crate) node: NodeOptions,
    pub(crate) fresh_sign_in: Duration,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
    pub(crate) evidence_addresses: AddressWord,
    pub(crate) audit_retention_days: Option<u32>,
    pub(crate) audit_sinks: Vec<AuditSink>,
    pub(crate) mailer: Option<Arc<Mailer>>,
    pub(crate) poster: Arc<Poster>,
    pub(crate) relay: RelayLimits,
}

impl Settings {
    /// Reads the file and settles every setting.
    pub(crate) fn resolve(self) -> Result<Resolved, Failure> {
        let file = match &self.config {
            None => Settings::default(),
            Some(path) => file::read(path)?,
        };
        let listen = self.listen.or(file.listen).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
        let listen = address("listen", &listen)?;
        let admin_listen = self.admin_listen.or(file.admin_listen);
        let admin_listen = admin_listen.map(|text| address("admin_listen", &text)).transpose()?;
        let data_dir = self.data_dir.or(file.data_dir).unwrap_or_else(|| PathBuf::from("crossfade-data"));
        let data_dir = non_empty("data_dir", data_dir)?;
        let typed = DatabaseUrl { url: self.database_url, file: self.database_url_file };
        let written = DatabaseUrl { url: file.database_url, file: file.database_url_file };
        let is_written = !typed.is_set();
        let database = if is_written { written } else { typed };
        let url = database.read()?;
        let holder = match url.as_deref().is_some_and(has_password) {
            true if is_written => database.file.or_else(|| self.config.clone()),
            _ => database.file,
        };
        let password_file = self.database_password_file.or(file.database_password_file);
        let password_file =
            password_file.map(|path| non_empty("database_password_file", path)).transpose()?;
        if password_file.is_some() && url.as_deref().is_some_and(has_password) {
            return Err(contains_password("database_url"));
        }
        let location = match url {
            None => Location::File(data_dir.join("crossfade.db")),
            // Not quoted: a database URL may hold a password.
            Some(url) => Location::parse(&url).ok_or_else(|| {
                Failure::usage("database_url must start with postgres:// or sqlite:.".to_owned())
            })?,
        };
        let direct_url = self.database_direct_url.or(file.database_direct_url);
        let location = on_postgres(location, direct_url, password_file.as_ref())?;
        let trusted_proxies = networks("trusted_proxies", self.trusted_proxies.or(file.trusted_proxies))?;
        let private = self.outbound_private_networks.or(file.outbound_private_networks);
        let private = outbound::private(networks("outbound_private_networks", private)?)?;
        let ca_file = self.outbound_ca_file.or(file.outbound_ca_file);
        let authorities = authorities(ca_file)?;
        let tls =
            tls_files(self.tls_cert_file.or(file.tls_cert_file), self.tls_key_file.or(file.tls_key_file))?;
        let reached = Reached { speaks_tls: tls.is_some(), behind_proxy: !trusted_proxies.is_empty() };
        let public_url = reached.url("public_url", self.public_url.or(file.public_url), listen)?;
        let admin_url = self.admin_url.or(file.admin_url);
        let admin = match admin_listen {
            Some(listen) => Some(Admin { listen, url: reached.url("admin_url", admin_url, listen)? }),
            None if admin_url.is_some() => {
                return Err(Failure::usage("admin_url must be set together with admin_listen."));
            }
            None => None,
        };
        if admin.as_ref().is_some_and(|admin| admin.listen == listen && listen.port() != 0) {
            return Err(Failure::usage("admin_listen must not be the address of listen."));
        }
        let minutes = self.fresh_sign_in_minutes.or(file.fresh_sign_in_minutes).unwrap_or(10);
        if !(1..=720).contains(&minutes) {
            return Err(Failure::usage(format!(
                "fresh_sign_in_minutes must be a whole number from 1 to 720, not {minutes}."
            )));
        }
        let master_key = match (self.master_key_file, file.master_key_file, file.master_key_command) {
            (None, Some(_), Some(_)) => {
                return Err(Failure::usage(
                    "master_key_file and master_key_command must not both be set. Nothing was changed. Remove one of them.",
                ));
            }
            (None, None, Some(words)) => key_command(words, self.config.as_deref())?,
            (path, written, _) => {
                let path = path.or(written).unwrap_or_else(|| data_dir.join("master.key"));
                KeySource::File(non_empty("master_key_file", path)?)
            }
        };
        let log = self.log.or(file.log).unwrap_or_else(|| "info,sqlx=warn".to_owned());
        if log.trim().is_empty() {
            return Err(Failure::usage("log must not be empty. Set it to off to write no log."));
        }
        let lease = self.lease_seconds.or(file.lease_seconds);
        Ok(Resolved {
            node: node(self.node_name.or(file.node_name), lease, &location)?,
            fresh_sign_in: Duration::from_secs(minutes * 60),
            listen,
            admin,
            location,
            database_url_file: holder,
            database_password_file: password_file,
            public_url,
            master_key,
            journal: self
                .journal_file
                .or(file.journal_file)
                .map(|path| non_empty("journal_file", path))
                .transpose()?,
            connections: Policy {
                most: within("max_connections", self.max_connections.or(file.max_connections), 1_000_000)?,
                most_per_source: within(
                    "max_connections_per_source",
                    self.max_connections_per_source.or(file.max_connections_per_source),
                    1_000_000,
                )?,
                idle: within("idle_seconds", self.idle_seconds.or(file.idle_seconds), 3_600)?
                    .map_or(IDLE, |seconds| Duration::from_secs(seconds.into())),
            },
            drain: drain(self.drain_seconds.or(file.drain_seconds))?,
            trusted_proxies,
            tls,
            log: checked(log)?,
            log_format: self.log_format.or(file.log_format).unwrap_or_default(),
            evidence_addresses: self.evidence_addresses.or(file.evidence_addresses).unwrap_or_default(),
            audit_retention_days: self
                .audit_retention_days
                .or(file.audit_retention_days)
                .map(retention)
                .transpose()?,
            audit_sinks: audit_sinks(
                self.audit_file.or(file.audit_file),
                self.audit_syslog.or(file.audit_syslog),
            )?,
            mailer: Mail {
                url: self.smtp_url.or(file.smtp_url),
                password_file: self.smtp_password_file.or(file.smtp_password_file),
                from: self.mail_from.or(file.mail_from),
                authorities: authorities.as_deref(),
            }
            .mailer()?,
            poster: poster(private, authorities.as_deref())?,
            relay: outbound::relay(
                self.upstream_connect_seconds.or(file.upstream_connect_seconds),
                self.upstream_seconds.or(file.upstream_seconds),
                self.upstream_idle_seconds.or(file.upstream_idle_seconds),
                self.upstream_requests.or(file.upstream_requests),
            )?,
            data_dir,
        })
    }
}

impl Resolved {
    /// The instance of these settings, for the checks of `doctor`.
    pub(crate) fn instance<'a>(&self, clock: &'a Clock) -> Instance<'a> {
        Instance {
            location: self.location.clone(),
            data_dir: self.data_dir.clone(),
            master_key: self.master_key.clone(),
            journal: self.journal.clone(),
            public_url: self.public_url.clone(),
            audit_sinks: self.audit_sinks.clone(),
            mailer: self.mailer.clone(),
            clock,
        }
    }

    /// Base of the Console and of links to it.
    pub(crate) fn admin_url(&self) -> &str {
        self.admin.as_ref().map_or(&self.public_url, |admin| &admin.url)
    }

    /// The settings once the listeners are bound: port 0 has become a real one, also in the default base.
    pub(crate) fn listening_on(mut self, address: SocketAddr, admin: Option<SocketAddr>) -> Self {
        rename(&mut self.public_url, self.listen, address);
        self.listen = address;
        if let (Some(own), Some(address)) = (&mut self.admin, admin) {
            rename(&mut own.url, own.listen, address);
            own.listen = address;
        }
        self
    }

    /// Whether anything is stored in the data directory.
    pub(crate) fn uses_data_dir(&self) -> bool {
        let database = match &self.location {
            Location::File(path) => Some(path),
            Location::Postgres(_) => None,
        };
        database
            .map(PathBuf::as_path)
            .into_iter()
            .chain(self.master_key.file())
            .any(|path| path.starts_with(&self.data_dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection, prelude::*, sample::select};

    #[test]
    fn defaults_are_the_contract_s() {
        let resolved = Settings::default().resolve().unwrap();
        assert_eq!(resolved.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(resolved.public_url, "http://127.0.0.1:8080");
        assert_eq!(resolved.location, Location::File("crossfade-data/crossfade.db".into()));
        assert_eq!(resolved.master_key, KeySource::File("crossfade-data/master.key".into()));
        assert!(resolved.trusted_proxies.is_empty());
        assert_eq!(resolved.connections.idle, Duration::from_secs(75));
        assert_eq!(resolved.drain, Duration::from_secs(15));
    }

    #[test]
    fn the_drain_has_bounds() {
        let with = |seconds| Settings { drain_seconds: Some(seconds), ..Settings::default() }.resolve();
        for seconds in [0, 3_600] {
            assert_eq!(with(seconds).unwrap().drain, Duration::from_secs(seconds));
        }
        let said = with(3_601).unwrap_err();
        assert_eq!(said.sentence(), "drain_seconds must be a whole number from 0 to 3600, not 3601.");
    }

    #[test]
    fn a_flag_beats_the_file_and_unknown_keys_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("crossfade.toml");
        std::fs::write(&path, "listen = \"127.0.0.1:1\"\ndata_dir = \"/d\"\n").unwrap();
        let settings = Settings {
            config: Some(path.clone()),
            listen: Some("127.0.0.1:2".into()),
            ..Settings::default()
        };
        let resolved = settings.resolve().unwrap();
        assert_eq!((resolved.listen.port(), resolved.data_dir), (2, PathBuf::from("/d")));
        std::fs::write(&path, "lisen = \"127.0.0.1:1\"\n").unwrap();
        assert!(Settings { config: Some(path), ..Settings::default() }.resolve().is_err());
    }

    #[test]
    fn the_commented_settings_file_has_every_setting_and_changes_none() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/crossfade.toml");
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(toml::from_str::<toml::Table>(&text).unwrap().len(), 0, "every line is a comment");
        // A comment begins with "# ", a setting with "#".
        let lines = text.lines().filter_map(|line| line.strip_prefix('#'));
        let settings: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with(' ')).collect();
        let settings = settings.join("\n");
        toml::from_str::<Settings>(&settings).unwrap();
        let mut found: Vec<String> =
            toml::from_str::<toml::Table>(&settings).unwrap().into_iter().map(|(key, _)| key).collect();
        let command = Settings::augment_args(clap::Command::new("crossfade"));
        let arguments = command.get_arguments().map(|argument| argument.get_id().to_string());
        let mut known: Vec<String> = arguments.filter(|name| name != "config").collect();
        found.sort();
        known.sort();
        assert_eq!(found, known);
    }

    #[test]
    fn the_file_with_a_database_password_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let (config, file) = (dir.path().join("crossfade.toml"), dir.path().join("url"));
        std::fs::write(&file, "postgres://u:p@db/x").unwrap();
        let holder = |text: &str| {
            std::fs::write(&config, text).unwrap();
            let settings = Settings { config: Some(config.clone()), ..Settings::default() };
            settings.resolve().unwrap().database_url_file
        };
        assert_eq!(holder("database_url = \"postgres://u:p@db/x\""), Some(config.clone()));
        assert_eq!(holder("database_url = \"postgres://u@db/x\""), None);
        assert_eq!(holder(&format!("database_url_file = {file:?}")), Some(file.clone()));
    }

    #[test]
    fn limits_of_connections_have_bounds() {
        let with = |most, idle| Settings { max_connections: most, idle_seconds: idle, ..Settings::default() };
        assert_eq!(with(Some(1), Some(3_600)).resolve().unwrap().connections.most, Some(1));
        for (most, idle) in [(Some(0), None), (Some(1_000_001), None), (None, Some(0)), (None, Some(3_601))] {
            assert!(with(most, idle).resolve().is_err(), "{most:?} {idle:?}");
        }
    }

    /// A line of a settings file: a known key or any text, with a value of any shape.
    fn line() -> impl Strategy<Value = String> {
        let command = Settings::augment_args(clap::Command::new("crossfade"));
        let known: Vec<String> = command.get_arguments().map(|it| it.get_id().to_string()).collect();
        let key = prop_oneof![4 => select(known), 1 => "[a-z_.\"\\[ ]{0,12}"];
        let others = ["true", "[]", "[\"10.0.0.0/8\", 7]", "{}", "1e400", "'''", "\"\\u0000\""];
        let urls = [
            "database_url = \"postgres://u:canary@db/x\"",
            "database_url = \"mysql://u:canary@db/x\"",
            "database_url = \"postgres://u:canary@db/x",
            "database_url = postgres://u:canary@db/x",
            "database_url postgres://u:canary@db/x?sslmode=require",
            "idle_seconds = \"postgres://u:canary@db/x\"",
            "listen = \"postgres://u:canary@db/x\"",
            "trusted_proxies = [\"10.0.0.0/8\", \"postgres://u:canary@db/x\"]",
            "log = \"postgres://u:canary@db/x\"",
            "audit_syslog = \"postgres://u:canary@db/x\"",
            "public_url = \"https://u:canary@a.example\"",
            "admin_url = \"u:canary@a.example\"",
        ];
        let value = prop_oneof![
            "\"[^\"\\p{Cc}]{0,30}\"",
            "\\PC{0,20}",
            any::<i64>().prop_map(|number| number.to_string()),
            select(others.map(str::to_owned).to_vec()),
        ];
        let others = (key, value).prop_map(|(key, value)| format!("{key} = {value}"));
        prop_oneof![3 => others, 1 => select(urls.map(str::to_owned).to_vec())]
    }

    proptest! {
        #[test]
        fn any_settings_file_is_read_or_refused_in_one_line_without_its_passwords(
            lines in collection::vec(line(), 0..6), cut in 0..400_usize,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("crossfade.toml");
            std::fs::write(&path, lines.join("\n").chars().take(cut).collect::<String>()).unwrap();
            if let Err(failure) = (Settings { config: Some(path), ..Settings::default() }).resolve() {
                let said = failure.sentence();
                prop_assert!(!said.contains("canary"), "{}", said);
                prop_assert_eq!(said.lines().count(), 1, "{}", said);
            }
        }
    }

    #[test]
    fn public_urls() {
        for good in [
            "https://auth.example.com",
            "http://127.0.0.1:8080",
            "http://localhost:1",
            "http://[::1]:8080",
            "https://a.example:8443/",
        ] {
            let settings = Settings { public_url: Some(good.into()), ..Settings::default() };
            assert_eq!(settings.resolve().unwrap().public_url, good.trim_end_matches('/'), "{good}");
        }
        for bad in [
            "http://auth.example.com",
            "https://a.example/path",
            "https://a.example?x",
            "ftp://a.example",
            "auth.example.com",
            "https://u:p@a.example",
        ] {
            assert!(
                Settings { public_url: Some(bad.into()), ..Settings::default() }.resolve().is_err(),
                "{bad}"
            );
        }
        let proxied = Settings {
            public_url: Some("http://auth.internal".into()),
            trusted_proxies: Some(vec!["10.0.0.1".into()]),
            ..Settings::default()
        };
        assert!(proxied.resolve().is_ok());
    }
}
