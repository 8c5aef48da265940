//! Waiting for a PostgreSQL server that is still starting.

use crate::{failure::Failure, output};
use crossfade_store::{Db, Fault, Location, StoreError};
use std::{pin::pin, time::Duration};
use tokio::time::{sleep, timeout};

/// Seconds before each further attempt, 30 seconds in total.
const PAUSES: [u64; 9] = [1, 1, 2, 2, 3, 4, 5, 6, 6];
/// How long an attempt may take before a line is written.
const SILENT_FOR: Duration = Duration::from_millis(700);

/// Waits until the database server can be reached, and writes to stderr why it cannot. A failure that does not go away
/// on its own, such as a wrong password, is left to opening the database.
pub(crate) async fn wait_for(location: &Location) -> Result<(), Failure> {
    let Some(server) = location.server().ok().flatten() else { return Ok(()) };
    let tries = PAUSES.len() + 1;
    for (number, pause) in (1..).zip(PAUSES.map(Some).into_iter().chain([None])) {
        let Err(error) = reach(location, &server).await else { return Ok(()) };
        if !matches!(error.fault(), Fault::Busy | Fault::Unreachable) {
            return Ok(());
        }
        let cause = match error {
            StoreError::NoConnection { cause, .. } => cause,
            other => other.to_string(),
        };
        let sentence = format!("Cannot reach PostgreSQL at {server}: {cause}.");
        let Some(pause) = pause else {
            return Err(Failure::failed(format!(
                "{sentence} Gave up after {tries} attempts. Nothing was changed. Start the database server, \
                or correct the database URL."
            )));
        };
        output::note(&format!("{sentence} Attempt {number} of {tries}. Retrying in {pause} s."));
        sleep(Duration::from_secs(pause)).await;
    }
    Ok(())
}

/// Tries once. Names a server that does not answer before waiting for it.
async fn reach(location: &Location, server: &str) -> Result<(), StoreError> {
    let mut reached = pin!(Db::reach(location));
    if let Ok(done) = timeout(SILENT_FOR, reached.as_mut()).await {
        return done;
    }
    output::note(&format!("Waiting for PostgreSQL at {server} to respond."));
    reached.await
}
