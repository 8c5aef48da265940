//! Failed authentications: their rows, and the first ones of an hour in the trail.

use crate::{
    error::Error,
    frame::{
        act::Act,
        entry::{About, Author},
    },
    node::{addresses::Addresses, evidence::usage},
};
use crossfade_authority::FailureCount;
use crossfade_core::audit::{Event, Origin};
use crossfade_store::FailureRow;

/// Maximum number of rows of failed authentications per hour.
const MOST_FAILURES: i64 = 5000;
/// Maximum number of failed authentications of one client recorded individually in the trail within an hour; their
/// total follows.
const MOST_TOLD: i64 = 20;

/// Stores failed authentications, and records the first ones of an hour in the trail.
pub(crate) async fn write_failures(
    act: &mut Act<'_>,
    failures: &[FailureCount],
    addresses: &Addresses,
) -> Result<(), Error> {
    let rows: Vec<FailureRow> = failures.iter().map(|failure| failure_row(failure, addresses)).collect();
    let kinds = act.tx.add_failures(&rows, MOST_FAILURES).await?;
    for (failure, kinds) in failures.iter().zip(kinds) {
        if kinds.is_some_and(|kinds| kinds <= MOST_TOLD) {
            tell_failure(act, failure, addresses).await?;
        }
    }
    Ok(())
}

async fn tell_failure(act: &mut Act<'_>, failure: &FailureCount, addresses: &Addresses) -> Result<(), Error> {
    let stored = failure.ip.map(|ip| addresses.kept(ip));
    let place = match &failure.registration {
        Some(id) => act.tx.place_of_registration(id).await?,
        None => None,
    };
    let event = Event::AuthenticationFailed {
        reason: failure.failure.as_str().to_owned(),
        secret_id: failure.secret.clone(),
        source_ip: stored.clone(),
        count: usage(failure.counter).use_count,
    };
    let client = Author::client(place.as_ref()).at(&Origin { stored, ..Origin::default() });
    let target = failure.secret.as_ref().map(ToString::to_string);
    act.on_behalf_of(client).audit_refused(&event, About { target, ..About::place(place.as_ref()) }).await
}

fn failure_row(failure: &FailureCount, addresses: &Addresses) -> FailureRow {
    FailureRow {
        registration_id: failure.registration.clone(),
        secret_id: failure.secret.clone(),
        reason: failure.failure.as_str(),
        source_ip: failure.ip.map(|ip| addresses.kept(ip)).unwrap_or_default(),
        usage: usage(failure.counter),
    }
}
