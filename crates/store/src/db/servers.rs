//! The servers that a database URL names, and how a session with one of them is opened.

use super::{
    StoreError,
    fault::Fault,
    identity::{Identity, ServerId, connected, is_standby},
    pool::{cause_of, timed_out},
};
use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgConnection, PgSslMode},
};
use std::{
    fmt,
    fs::{File, read_to_string},
    net::IpAddr,
    ops::Deref,
    path::PathBuf,
    time::Duration,
};
use tokio::time::timeout;

/// Time limit for opening a connection.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Parameter of the drivers of PostgreSQL that says which of several servers is wanted.
const WANTED: &str = "target_session_attrs";
/// Its values for a server that can be written to.
const WRITABLE: [&str; 2] = ["read-write", "primary"];

/// URL of a PostgreSQL database. It can name several servers: `postgres://HOST1,HOST2:5433/DATABASE`.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    url: String,
    /// File that holds the password; `None` if the URL contains it, or none is needed.
    password_file: Option<PathBuf>,
    /// URL that leads past a pooler of transactions; `None` if the other one leads to none.
    direct: Option<String>,
}

impl PostgresUrl {
    /// Reads the password from this file, again for each session.
    pub fn with_password_file(self, password_file: Option<PathBuf>) -> Self {
        Self { password_file, ..self }
    }

    /// Adds a URL that leads to the same database past a pooler of transactions, for what needs a session of its own: the
    /// lock with the lease, announcements, and migrations.
    pub fn with_direct(self, direct: Option<String>) -> Self {
        Self { direct, ..self }
    }
}

impl From<String> for PostgresUrl {
    fn from(url: String) -> Self {
        Self { url, password_file: None, direct: None }
    }
}

impl From<&str> for PostgresUrl {
    fn from(url: &str) -> Self {
        Self::from(url.to_owned())
    }
}

impl Deref for PostgresUrl {
    type Target = str;

    fn deref(&self) -> &str {
        &self.url
    }
}

/// Without the URL, which may hold a password.
impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresUrl")
    }
}

/// How a session is protected on its way to the database server, the weakest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Transit {
    /// Not encrypted.
    Plain,
    /// Encrypted if the server offers it. Nothing is verified.
    Offered,
    /// Encrypted. The server is not verified.
    Unverified,
    /// Encrypted. The certificate of the server is verified, but not its name.
    AnyName,
    /// Encrypted. The certificate and the name of the server are verified.
    Verified,
    /// The session does not leave this machine.
    Local,
}

/// What a server must be for a session to be opened on it. Of several servers, a standby is never one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Any server.
    Any,
    /// One that has the instance and can be written to.
    Instance,
    /// The one that is served.
    Served,
}

/// The servers of a database URL, in its order, with what a session on each is opened with.
#[derive(Clone)]
pub(super) struct Servers {
    each: Vec<PgConnectOptions>,
    password_file: Option<PathBuf>,
    /// The servers past a pooler of transactions; `None` if there is no such pooler.
    direct: Option<Box<Servers>>,
}

impl Servers {
    /// Reads the URL, and adds the settings that every session has.
    pub(super) fn of(from: &PostgresUrl) -> Result<Self, StoreError> {
        let direct = from.direct.as_deref().map(|direct| Self::read(direct, from));
        let direct = direct.transpose()?.map(Box::new);
        let mut servers = Self::read(from, from)?;
        if direct.is_some() {
            // Another session would find statements that this one has prepared, or would not.
            servers.each =
                servers.each.into_iter().map(|options| options.statement_cache_capacity(0)).collect();
        }
        Ok(Self { direct, ..servers })
    }

    /// Reads the URL for sessions that are kept.
    pub(super) fn direct(from: &PostgresUrl) -> Result<Self, StoreError> {
        Self::read(from.direct.as_deref().unwrap_or(from), from)
    }

    fn read(url: &str, from: &PostgresUrl) -> Result<Self, StoreError> {
        let mut each = Vec::new();
        for url in split(url)? {
            let options: PgConnectOptions = url.parse().map_err(|error| not_valid(&error))?;
            let options = options
                // A server that is set to acknowledge before it has written could lose a revocation.
                .options([("synchronous_commit", "on"), ("lock_timeout", "5s"), ("statement_timeout", "60s")])
                .application_name("crossfade")
                .disable_statement_logging();
            each.push(with_tls(options, &url)?);
        }
        Ok(Self { each, password_file: from.password_file.clone(), direct: None })
    }

    /// Adds settings of a session.
    pub(super) fn with(self, settings: &[(&str, &str)]) -> Self {
        let each = self.each.iter().cloned().map(|options| options.options(settings.iter().copied()));
        let direct = self.direct.map(|direct| Box::new(direct.with(settings)));
        Self { each: each.collect(), direct, ..self }
    }

    /// Returns the servers past a pooler of transactions; `None` if there is no such pooler.
    pub(super) fn past_pooler(&self) -> Option<&Self> {
        self.direct.as_deref()
    }

    /// Returns what a session on each server is opened with now.
    pub(super) fn now(&self) -> Result<Vec<PgConnectOptions>, StoreError> {
        let Some(path) = &self.password_file else { return Ok(self.each.clone()) };
        let failed = |what: &dyn fmt::Display| {
            let text = format!("the database password file {} {what}", path.display());
            StoreError::NoConnection { fault: Fault::Denied, cause: text }
        };
        let text = read_to_string(path).map_err(|error| failed(&format!("cannot be read: {error}")))?;
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(failed(&"is empty")),
            password => Ok(self.each.iter().map(|options| options.clone().password(password)).collect()),
        }
    }

    /// Returns the database's name, and the locations of its servers: `host:port`, or the directory of a socket.
    pub(super) fn database(&self) -> (&str, String) {
        let name = self.each.first().map(|options| options.get_database().unwrap_or(options.get_username()));
        (name.unwrap_or_default(), self.to_string())
    }

    /// Returns how the least protected session is protected.
    pub(super) fn transit(&self) -> Transit {
        let direct = self.direct.iter().flat_map(|direct| &direct.each);
        self.each.iter().chain(direct).map(transit).min().unwrap_or(Transit::Local)
    }

    /// Opens a session on the first server that is wanted. Returns the server too, if the instance was wanted and the
    /// server reveals its identity.
    pub(super) async fn connect(
        &self,
        identity: &Identity,
        wanted: Wanted,
    ) -> Result<(PgConnection, Option<ServerId>), StoreError> {
        let each = self.now()?;
        let mut failures = Failures::default();
        for options in &each {
            let opened = async {
                let mut session = options.connect().await?;
                let server = check(&mut session, identity, wanted, each.len() > 1).await?;
                Ok((session, server))
            };
            match failures.within(each.len(), opened).await {
                Ok(opened) => return Ok(opened),
                Err(error) => failures.add(options, error),
            }
        }
        Err(failures.into())
    }
}

/// The locations, for people.
impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<String> = self.each.iter().map(location).collect();
        f.write_str(&each.join(","))
    }
}

/// Checks that a session leads where it is wanted.
pub(super) async fn check(
    session: &mut PgConnection,
    identity: &Identity,
    wanted: Wanted,
    is_one_of_many: bool,
) -> Result<Option<ServerId>, StoreError> {
    // Not noted as a connection that leads elsewhere: the next server is asked.
    if is_one_of_many && is_standby(session).await? {
        return Err(StoreError::Elsewhere("the server is a standby".to_owned()));
    }
    match wanted {
        Wanted::Any => Ok(None),
        Wanted::Instance => {
            identity.check_postgres_instance(session).await?;
            let server = connected(session).await?;
            identity.check_timeline(server.as_ref())?;
            Ok(server)
        }
        Wanted::Served => identity.check_postgres(session).await.map(|()| None),
    }
}

/// Why no session could be opened, by server.
#[derive(Default)]
pub(super) struct Failures(Vec<(String, StoreError)>);

impl Failures {
    /// Waits for one of so many servers, so that one that does not answer leaves time for the others.
    pub(super) async fn within<T>(
        &self,
        servers: usize,
        opened: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let share = match u32::try_from(servers) {
            Ok(servers) if servers > 1 => CONNECT_WITHIN / (servers + 1),
            _ => CONNECT_WITHIN,
        };
        timeout(share, opened).await.unwrap_or_else(|_| Err(timed_out(share).into()))
    }

    pub(super) fn add(&mut self, options: &PgConnectOptions, error: StoreError) {
        self.0.push((location(options), error));
    }
}

impl From<Failures> for StoreError {
    fn from(Failures(mut failures): Failures) -> Self {
        if failures.len() <= 1 {
            let only = failures.pop().map(|(_, error)| error);
            return only.unwrap_or_else(|| Self::Open("the database URL names no server".to_owned()));
        }
        let told: Vec<String> =
            failures.iter().map(|(server, error)| format!("{server}: {}", cause_of(error))).collect();
        let cause = told.join("; ");
        let others = || failures.iter().map(|(_, error)| error).filter(|error| !is_elsewhere(error));
        let passing = [Fault::Busy, Fault::Unreachable];
        match others().map(Self::fault).find(|fault| passing.contains(fault)) {
            Some(fault) => Self::NoConnection { fault, cause },
            None => match others().next() {
                Some(error) => Self::NoConnection { fault: error.fault(), cause },
                None => Self::Elsewhere(cause),
            },
        }
    }
}

fn is_elsewhere(error: &StoreError) -> bool {
    matches!(error, StoreError::Elsewhere(_))
}

/// Returns the location of a server: `host:port`, or the directory of its socket.
fn location(options: &PgConnectOptions) -> String {
    let host = bare_host(options);
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None if host.starts_with('/') => host.to_owned(),
        None if host.contains(':') => format!("[{host}]:{}", options.get_port()),
        None => format!("{host}:{}", options.get_port()),
    }
}

/// Requires TLS and verifies the server if the session leaves this machine and nothing else is said. Refuses a file that
/// cannot be read, which the driver does not name.
fn with_tls(options: PgConnectOptions, url: &str) -> Result<PgConnectOptions, StoreError> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mut is_said = false;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "sslmode" | "ssl-mode" => is_said = true,
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" | "sslcert" | "ssl-cert" | "sslkey" | "ssl-key" => {
                File::open(&*value)
                    .map_err(|error| not_valid(&format!("{name} cannot be read ({error})")))?;
            }
            _ => {}
        }
    }
    let is_default = !is_said && matches!(options.get_ssl_mode(), PgSslMode::Prefer);
    let options = match is_default && !is_local(&options) {
        true => options.ssl_mode(PgSslMode::VerifyFull),
        false => options,
    };
    Ok(options)
}

fn transit(options: &PgConnectOptions) -> Transit {
    if is_local(options) {
        return Transit::Local;
    }
    match options.get_ssl_mode() {
        // The driver treats both alike.
        PgSslMode::Disable | PgSslMode::Allow => Transit::Plain,
        PgSslMode::Prefer => Transit::Offered,
        PgSslMode::Require => Transit::Unverified,
        PgSslMode::VerifyCa => Transit::AnyName,
        PgSslMode::VerifyFull => Transit::Verified,
    }
}

/// Returns the host without the brackets that a URL has around an IPv6 address.
fn bare_host(options: &PgConnectOptions) -> &str {
    options.get_host().trim_matches(['[', ']'])
}

/// Whether a session with this server stays on this machine.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = bare_host(options);
    let is_loopback = || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    options.get_socket().is_some() || host.starts_with('/') || host == "localhost" || is_loopback()
}

/// Returns a URL for each server that the URL names.
fn split(url: &str) -> Result<Vec<String>, StoreError> {
    let Some((scheme, rest)) = url.split_once("://") else { return Ok(vec![url.to_owned()]) };
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, hosts) =
        authority.rsplit_once('@').map_or((None, authority), |(user, hosts)| (Some(user), hosts));
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    let hosts: Vec<&str> = hosts.split(',').collect();
    if hosts.len() > 1 && hosts.iter().any(|host| host.is_empty() || host.starts_with(':')) {
        return Err(not_valid(&"one of its hosts is empty"));
    }
    let rest = without_wanted(rest)?;
    Ok(hosts.into_iter().map(|host| format!("{scheme}://{user}{host}{rest}")).collect())
}

/// Returns the path and the query of a URL without [`WANTED`], which the driver does not know.
fn without_wanted(rest: &str) -> Result<String, StoreError> {
    let Some((path, query)) = rest.split_once('?') else { return Ok(rest.to_owned()) };
    let mut kept = Vec::new();
    for parameter in query.split('&') {
        match parameter.split_once('=') {
            Some((WANTED, value)) if WRITABLE.contains(&value) => {}
            Some((WANTED, _)) => {
                return Err(not_valid(&"target_session_attrs must be read-write or primary"));
            }
            _ => kept.push(parameter),
        }
    }
    let mark = if kept.is_empty() { "" } else { "?" };
    Ok(format!("{path}{mark}{}", kept.join("&")))
}

fn not_valid(what: &dyn fmt::Display) -> StoreError {
    StoreError::Open(format!("the database URL is not valid: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(url: &str) -> Servers {
        Servers::of(&url.into()).unwrap()
    }

    fn refused(url: &str) -> String {
        Servers::of(&url.into()).err().unwrap().to_string()
    }

    #[test]
    fn each_host_of_a_url_is_a_server_with_its_own_port() {
        for (url, shown) in [
            ("postgres://u:p@a/db", "a:5432"),
            ("postgres://u:p,q@a:1,b,c:3/db?sslmode=disable", "a:1,b:5432,c:3"),
            ("postgres://[::1]:7,127.0.0.1/db", "[::1]:7,127.0.0.1:5432"),
            ("postgres:///db?host=/run/postgresql", "/run/postgresql"),
        ] {
            let servers = servers(url);
            assert_eq!(servers.to_string(), shown, "{url}");
            assert_eq!(servers.database().0, "db", "{url}");
        }
        for url in ["postgres://a,/db", "postgres://u@,b", "postgres://a,:5433/db"] {
            assert!(refused(url).ends_with("one of its hosts is empty"), "{url}");
        }
    }

    #[test]
    fn only_a_server_that_can_be_written_is_wanted() {
        for url in [
            "postgres://a,b/db?target_session_attrs=read-write&sslmode=disable",
            "postgres://a/db?target_session_attrs=primary",
        ] {
            assert_eq!(servers(url).database().0, "db");
        }
        let said = refused("postgres://a,b/db?target_session_attrs=any");
        assert!(said.contains("target_session_attrs must be read-write or primary"), "{said}");
    }

    #[test]
    fn a_server_over_a_network_is_verified_unless_the_url_says_otherwise() {
        for (url, expected) in [
            ("postgres://db.example.com/x", Transit::Verified),
            ("postgres://10.0.0.7/x", Transit::Verified),
            ("postgres://u:p@db.example.com/x?application_name=a", Transit::Verified),
            ("postgres://db.example.com/x?sslmode=verify-ca", Transit::AnyName),
            ("postgres://db.example.com/x?sslmode=require", Transit::Unverified),
            ("postgres://db.example.com/x?sslmode=prefer", Transit::Offered),
            ("postgres://db.example.com/x?sslmode=allow", Transit::Plain),
            ("postgres://db.example.com/x?ssl-mode=disable", Transit::Plain),
            ("postgres://localhost/x", Transit::Local),
            ("postgres://127.0.0.2/x", Transit::Local),
            ("postgres://[::1]/x", Transit::Local),
            ("postgres:///x?host=/run/postgresql", Transit::Local),
            ("postgres://localhost,db.example.com/x", Transit::Verified),
        ] {
            assert_eq!(servers(url).transit(), expected, "{url}");
        }
        let said = refused("postgres://db.example.com/x?sslrootcert=/nowhere/ca.pem");
        assert!(said.contains("sslrootcert cannot be read"), "{said}");
    }

    #[test]
    fn the_password_file_is_read_for_each_session() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let url = PostgresUrl::from("postgres://u@a,b/db").with_password_file(Some(path.clone()));
        let servers = Servers::of(&url).unwrap();
        let passwords = || {
            let each = servers.now()?;
            Ok::<_, StoreError>(
                each.iter()
                    .map(|options| options.to_url_lossy().password().map(str::to_owned))
                    .collect::<Vec<_>>(),
            )
        };
        assert!(passwords().unwrap_err().to_string().contains("cannot be read"));
        for password in ["first", "second"] {
            std::fs::write(&path, format!("{password}\n")).unwrap();
            assert_eq!(passwords().unwrap(), vec![Some(password.to_owned()); 2]);
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(passwords().unwrap_err().to_string().contains("is empty"));
    }

    #[test]
    fn a_failure_of_several_servers_names_each() {
        let servers = servers("postgres://a,b/db");
        let failed = |errors: [StoreError; 2]| {
            let mut failures = Failures::default();
            for (options, error) in servers.each.iter().zip(errors) {
                failures.add(options, error);
            }
            StoreError::from(failures)
        };
        let standby = || StoreError::Elsewhere("the server is a standby".to_owned());
        let down = || StoreError::from(timed_out(CONNECT_WITHIN));
        let both = failed([down(), standby()]);
        assert_eq!(both.fault(), Fault::Unreachable);
        let said = both.to_string();
        assert!(said.contains("a:5432: no response within 5 s; b:5432: the server is a standby"), "{said}");
        assert!(matches!(failed([standby(), standby()]), StoreError::Elsewhere(_)));
    }

    #[test]
    fn a_url_is_not_shown() {
        let url = PostgresUrl::from("postgres://u:hunter2@a/db");
        assert!(!format!("{url:?}").contains("hunter2"));
    }
}
