//! The place of a database, as a copy of it has another one.

use super::{Db, Location, ServerRun, StoreError, servers::Servers};
use crossfade_core::sending_place::SendingPlace;
use std::{
    os::unix::fs::MetadataExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

impl Db {
    /// Returns the place of this database behind a public URL. `server` is the PostgreSQL server it is on.
    pub fn sending_place(
        &self,
        public_url: &str,
        server: Option<&ServerRun>,
    ) -> Result<SendingPlace, StoreError> {
        let public_url = public_url.to_owned();
        match &self.location {
            Location::File(path) => Ok(of_file(path, public_url)),
            Location::Postgres(url) => {
                let servers = Servers::of(url)?;
                let (name, places) = servers.database();
                Ok(SendingPlace {
                    public_url,
                    database: format!("{places}/{name}"),
                    // As PostgreSQL shows it.
                    number: server.map(|server| (server.id.system as u64).to_string()),
                    created: None,
                    timeline: server.map(|server| server.id.timeline),
                    started: server.and_then(|server| server.started),
                })
            }
        }
    }
}

fn of_file(path: &Path, public_url: String) -> SendingPlace {
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let found = std::fs::metadata(&real).ok();
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs());
    SendingPlace {
        public_url,
        database: real.display().to_string(),
        number: found.as_ref().map(|found| found.ino().to_string()),
        created: found.and_then(|found| found.created().ok()).and_then(seconds),
        timeline: None,
        started: None,
    }
}
