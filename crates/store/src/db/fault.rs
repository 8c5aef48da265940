//! Meaning of a database failure: a kind that a response can name, and a cause for the log.

use sqlx::{
    error::DatabaseError,
    postgres::{PgDatabaseError, PgSeverity},
};

/// The kind of a failure of the database.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// No space is left where the database is stored.
    Full,
    /// The database accepts no changes.
    ReadOnly,
    /// Another transaction or program holds what this transaction needs.
    Busy,
    /// No connection can be opened, or the connection was lost.
    Unreachable,
    /// The role of this program is not allowed to do this.
    Denied,
    /// The disk, the schema or the engine failed in another way.
    Failed,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Full, Self::ReadOnly, Self::Busy, Self::Unreachable, Self::Denied, Self::Failed];

    /// Returns the word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ReadOnly => "read_only",
            Self::Busy => "busy",
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }

    pub(super) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(inner) => match inner.try_downcast_ref::<PgDatabaseError>() {
                Some(postgres) => of_sqlstate(postgres.code()),
                None => of_sqlite(sqlite_code(&**inner)),
            },
            _ if of_tls(error).is_some() => Self::Failed,
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Self::Unreachable,
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) => Self::Unreachable,
            // sqlx reports an answer that ends in the middle as a breach of the protocol.
            sqlx::Error::Protocol(_) => Self::Unreachable,
            _ => Self::Failed,
        }
    }
}

/// Returns the kind for a PostgreSQL class or code (Appendix A of its manual).
fn of_sqlstate(code: &str) -> Fault {
    match code {
        "53100" => Fault::Full,
        "25006" => Fault::ReadOnly,
        // Too many connections, lock_timeout, serialization failure, deadlock, statement_timeout.
        "53300" | "55P03" | "40001" | "40P01" | "57014" => Fault::Busy,
        "42501" => Fault::Denied,
        // 57P01 to 57P05 end a session or refuse a new one.
        _ if code.starts_with("08") || code.starts_with("57P") => Fault::Unreachable,
        _ if code.starts_with("28") => Fault::Denied,
        _ => Fault::Failed,
    }
}

/// Returns the kind of an SQLite error. The primary result code is the low byte of the extended one.
fn of_sqlite(code: u32) -> Fault {
    match code & 0xff {
        13 => Fault::Full,
        8 => Fault::ReadOnly,
        5 | 6 => Fault::Busy,
        3 | 23 => Fault::Denied,
        14 => Fault::Unreachable,
        _ => Fault::Failed,
    }
}

pub(super) fn sqlite_code(error: &dyn DatabaseError) -> u32 {
    error.code().and_then(|code| code.parse().ok()).unwrap_or_default()
}

/// Whether another process holds the lock on a SQLite file.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| sqlite_code(error) & 0xff == 5)
}

/// Whether a COMMIT that failed like this has certainly stored nothing.
pub(super) fn is_rolled_back(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(inner) = error else { return false };
    match inner.try_downcast_ref::<PgDatabaseError>() {
        // FATAL ends the session, possibly after the commit was written.
        Some(postgres) => postgres.severity() == PgSeverity::Error,
        // SQLite writes the frame that makes a commit valid last. After a failed flush that frame may be on the disk.
        None => {
            let code = sqlite_code(&**inner);
            matches!(code & 0xff, 5 | 6 | 8 | 13 | 19) || code == SQLITE_IOERR_WRITE
        }
    }
}

const SQLITE_IOERR_WRITE: u32 = 778;

/// What PostgreSQL says of a prepared statement of another session: `duplicate_prepared_statement` and
/// `invalid_sql_statement_name`.
const DUPLICATE_STATEMENT: &str = "42P05";
const UNKNOWN_STATEMENT: &str = "26000";
const POOLS_TRANSACTIONS: &str = "a pooler mixes the sessions of its clients; set database_direct_url to a URL that leads past it, or let it pool sessions";

/// Returns why no protected session can be opened, with what to do; `None` if something else failed. None of these causes
/// goes away while somebody waits.
fn of_tls(error: &sqlx::Error) -> Option<String> {
    // From TLS as part of another failure, as that of a connection.
    const REFUSED: &str = "invalid peer certificate: ";
    match error {
        sqlx::Error::Tls(inner) => Some(match inner.to_string() {
            what if what == "server does not support TLS" => {
                "the server speaks no TLS, which the database URL needs for a server that is not on this machine; set \
                ssl to on in postgresql.conf, or set sslmode in the URL"
                    .to_owned()
            }
            what => format!("the session cannot be encrypted ({what})"),
        }),
        sqlx::Error::Io(inner) => {
            let text = inner.to_string();
            let what = text.strip_prefix(REFUSED)?;
            let mend = match what {
                // Another authority of the same name has another key.
                _ if what.contains("UnknownIssuer") || what.contains("BadSignature") => {
                    "its authority is unknown; set sslrootcert in the database URL to the file of its certificate"
                }
                _ if what.contains("not valid for name") || what.contains("NotValidForName") => {
                    "it is for another name than the host in the database URL; use a name that the certificate has"
                }
                _ => "renew it",
            };
            Some(format!("the certificate of the server is refused ({what}): {mend}"))
        }
        _ => None,
    }
}

/// Returns the cause for the log: the engine's code and message on one line.
pub(super) fn describe(error: &sqlx::Error) -> String {
    if let Some(cause) = of_tls(error) {
        return cause.replace('\n', " ");
    }
    let text = match error {
        sqlx::Error::Database(inner) => match inner.try_downcast_ref::<PgDatabaseError>() {
            Some(postgres) => {
                let cause = format!("SQLSTATE {}: {}", postgres.code(), postgres.message());
                match postgres.code() {
                    DUPLICATE_STATEMENT | UNKNOWN_STATEMENT => format!("{cause} ({POOLS_TRANSACTIONS})"),
                    _ => cause,
                }
            }
            None => {
                let code = sqlite_code(&**inner);
                format!("{} ({code}): {}", sqlite_name(code), inner.message())
            }
        },
        sqlx::Error::Configuration(inner) => inner.to_string(),
        // Without the engine's words around it, as part of a sentence: "connection refused (os error 111)".
        sqlx::Error::Io(inner) => {
            let text = inner.to_string();
            let mut letters = text.chars();
            letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
        }
        other => other.to_string(),
    };
    text.replace('\n', " ")
}

fn sqlite_name(code: u32) -> &'static str {
    match code {
        SQLITE_IOERR_WRITE => "SQLITE_IOERR_WRITE",
        266 => "SQLITE_IOERR_READ",
        1034 => "SQLITE_IOERR_FSYNC",
        1546 => "SQLITE_IOERR_TRUNCATE",
        4874 => "SQLITE_IOERR_SHMSIZE",
        5386 => "SQLITE_IOERR_SHMMAP",
        _ => match code & 0xff {
            3 => "SQLITE_PERM",
            5 => "SQLITE_BUSY",
            6 => "SQLITE_LOCKED",
            7 => "SQLITE_NOMEM",
            8 => "SQLITE_READONLY",
            10 => "SQLITE_IOERR",
            11 => "SQLITE_CORRUPT",
            13 => "SQLITE_FULL",
            14 => "SQLITE_CANTOPEN",
            19 => "SQLITE_CONSTRAINT",
            26 => "SQLITE_NOTADB",
            _ => "SQLITE_ERROR",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlstate_names_the_kind_of_its_fault() {
        for (code, fault) in [
            ("53100", Fault::Full),
            ("25006", Fault::ReadOnly),
            ("55P03", Fault::Busy),
            ("57014", Fault::Busy),
            ("53300", Fault::Busy),
            ("57P01", Fault::Unreachable),
            ("57P03", Fault::Unreachable),
            ("08006", Fault::Unreachable),
            ("28P01", Fault::Denied),
            ("42501", Fault::Denied),
            ("42P01", Fault::Failed),
        ] {
            assert_eq!(of_sqlstate(code), fault, "{code}");
        }
    }

    #[test]
    fn an_extended_sqlite_code_names_the_kind_of_its_fault() {
        for (code, fault) in [
            (13, Fault::Full),
            (8, Fault::ReadOnly),
            (1032, Fault::ReadOnly),
            (5, Fault::Busy),
            (517, Fault::Busy),
            (778, Fault::Failed),
            (14, Fault::Unreachable),
            (1, Fault::Failed),
        ] {
            assert_eq!(of_sqlite(code), fault, "{code}");
        }
    }
}
