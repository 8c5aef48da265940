//! The database URL: where it may be set, and where its password is seen.

use crate::{failure::Failure, output, variables::leaf};
use clap::{ArgMatches, CommandFactory, parser::ValueSource};
use crossfade_store::Location;
use std::path::PathBuf;

/// The database URL of one source of settings: itself, or the file that holds it.
pub(super) struct DatabaseUrl {
    pub(super) url: Option<String>,
    pub(super) file: Option<PathBuf>,
}

impl DatabaseUrl {
    /// Whether this source names a database.
    pub(super) fn is_set(&self) -> bool {
        self.url.is_some() || self.file.is_some()
    }

    /// Returns the URL, from the file if one is named.
    pub(super) fn read(&self) -> Result<Option<String>, Failure> {
        match (&self.url, &self.file) {
            (Some(_), Some(_)) => Err(Failure::usage(
                "database_url and database_url_file must not both be set. Nothing was changed. Remove one of them.",
            )),
            (url, None) => Ok(url.clone()),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Failure::failed(format!("Cannot read the database URL file {}: {error}.", path.display()))
                })?;
                match text.trim() {
                    "" => Err(Failure::usage(format!("The database URL file {} is empty.", path.display()))),
                    url => Ok(Some(url.to_owned())),
                }
            }
        }
    }
}

/// Adds what only PostgreSQL has to the location of the database.
pub(super) fn on_postgres(
    location: Location,
    direct_url: Option<String>,
    password_file: Option<&PathBuf>,
) -> Result<Location, Failure> {
    let only = |name: &str| Failure::usage(format!("{name} must be set only with a PostgreSQL database."));
    match location {
        Location::File(_) if password_file.is_some() => Err(only("database_password_file")),
        Location::File(_) if direct_url.is_some() => Err(only("database_direct_url")),
        Location::File(_) => Ok(location),
        Location::Postgres(url) => {
            if let Some(direct) = &direct_url {
                if !matches!(Location::parse(direct), Some(Location::Postgres(_))) {
                    return Err(Failure::usage("database_direct_url must start with postgres://."));
                }
                if password_file.is_some() && has_password(direct) {
                    return Err(contains_password("database_direct_url"));
                }
            }
            Ok(Location::Postgres(url.with_direct(direct_url).with_password_file(password_file.cloned())))
        }
    }
}

pub(super) fn contains_password(name: &str) -> Failure {
    Failure::usage(format!("{name} must not contain a password if database_password_file is set."))
}

/// Warns of the password of a database or a mail server among the arguments of this process.
pub(crate) fn warn_of_typed_password(matches: &ArgMatches) {
    let program = crate::cli::Cli::command();
    let (command, matches) = leaf(&program, matches);
    for (id, flag, instead) in [
        ("database_url", "--database-url", "CROSSFADE_DATABASE_URL or --database-url-file"),
        (
            "database_direct_url",
            "--database-direct-url",
            "CROSSFADE_DATABASE_DIRECT_URL or --database-password-file",
        ),
        ("smtp_url", "--smtp-url", "CROSSFADE_SMTP_URL or --smtp-password-file"),
    ] {
        if command.get_arguments().all(|argument| argument.get_id() != id)
            || matches.value_source(id) != Some(ValueSource::CommandLine)
        {
            continue;
        }
        if matches.get_one::<String>(id).is_some_and(|url| has_password(url)) {
            output::note(&format!(
                "Warning: other users of this machine can read the password in {flag}. Set {instead} instead."
            ));
        }
    }
}

/// Whether `url` contains a password.
pub(super) fn has_password(url: &str) -> bool {
    reqwest::Url::parse(&with_one_host(url)).is_ok_and(|url| {
        url.password().is_some_and(|password| !password.is_empty())
            || url.query_pairs().any(|(name, value)| name == "password" && !value.is_empty())
    })
}

/// Returns a database URL with the first of its hosts, because other URLs have one.
fn with_one_host(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let hosts = authority.rfind('@').map_or(0, |at| at + 1);
    let end = authority[hosts..].find(',').map_or(authority.len(), |at| hosts + at);
    format!("{scheme}://{}{rest}", &authority[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_postgres_has_a_password_file_and_a_direct_url() {
        let file = PathBuf::from("/run/password");
        let add = |url: &str, direct: Option<&str>, file| {
            on_postgres(Location::parse(url).unwrap(), direct.map(str::to_owned), file)
                .map_err(|failure| failure.sentence().to_owned())
        };
        assert!(add("postgres://a/x", Some("postgres://b,c/x"), Some(&file)).is_ok());
        for (url, direct, file, said) in [
            (
                "sqlite:x",
                None,
                Some(&file),
                "database_password_file must be set only with a PostgreSQL database.",
            ),
            (
                "sqlite:x",
                Some("postgres://b/x"),
                None,
                "database_direct_url must be set only with a PostgreSQL database.",
            ),
            ("postgres://a/x", Some("canary"), None, "database_direct_url must start with postgres://."),
            (
                "postgres://a/x",
                Some("postgres://u:canary@b/x"),
                Some(&file),
                "database_direct_url must not contain a password if database_password_file is set.",
            ),
        ] {
            assert_eq!(add(url, direct, file).unwrap_err(), said);
        }
    }

    #[test]
    fn a_password_is_seen_in_a_url_with_several_hosts() {
        for url in [
            "postgres://u:p@a/db",
            "postgres://u:p,q@a:1,b:2/db",
            "postgres://u:p@a,[::1]:5432",
            "postgres://a,b/db?password=p",
            "smtp://u:p@mail.example.com",
        ] {
            assert!(has_password(url), "{url}");
        }
        for url in ["postgres://u@a:1,b:2/db", "postgres://a,b", "postgres:///db?host=/run", "sqlite:x"] {
            assert!(!has_password(url), "{url}");
        }
    }
}
