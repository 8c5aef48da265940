//! A PostgreSQL server that is not there yet: it may be starting at the same time.

use crate::{failure::Failure, output};
use crossfade_store::{Db, Fault, Location, StoreError};
use std::{pin::pin, time::Duration};
use tokio::time::{sleep, timeout};

/// Seconds before each further try: half a minute in all.
const PAUSES: [u64; 9] = [1, 1, 2, 2, 3, 4, 5, 6, 6];
/// How long a try is waited for in silence.
const SILENT_FOR: Duration = Duration::from_millis(700);

/// Waits until the database server can be reached, and says on stderr why it cannot. What does not pass by itself, such
/// as a wrong password, is left to whoever opens the database.
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
        let sentence = format!("PostgreSQL at {server} cannot be reached: {cause}.");
        let Some(pause) = pause else {
            return Err(Failure::failed(format!(
                "{sentence} It was tried {tries} times. Nothing was changed. Start the database server, or correct the database URL."
            )));
        };
        output::note(&format!("{sentence} Try {number} of {tries}; the next one follows in {pause} s."));
        sleep(Duration::from_secs(pause)).await;
    }
    Ok(())
}

/// Tries once. A server that does not even refuse is named before it has been waited for.
async fn reach(location: &Location, server: &str) -> Result<(), StoreError> {
    let mut reached = pin!(Db::reach(location));
    if let Ok(done) = timeout(SILENT_FOR, reached.as_mut()).await {
        return done;
    }
    output::note(&format!("Waiting for an answer of PostgreSQL at {server}."));
    reached.await
}
