//! Rotates the signing keys of environments that have a schedule.

use crate::{app::App, error::Error, frame::entry::About};
use crossfade_core::{
    Timestamp,
    audit::{Actor, Event},
    environment::Slug,
    signing_key::is_due,
};
use crossfade_store::{ChangeKind, Environment, StoreError, Tx};

impl App {
    /// Creates a signing key in each environment whose schedule is due. Each key is published before it signs, as one
    /// that a person asks for.
    pub(crate) async fn rotate_due_signing_keys(&self) -> Result<(), Error> {
        let now = self.clock.now();
        // Usually none is due, and then the lock is not needed.
        let due = self.db.read::<_, Error>(async |tx| {
            let mut due = Vec::new();
            for slug in tx.environment_slugs().await? {
                if due_environment(tx, &slug, now).await?.is_some() {
                    due.push(slug);
                }
            }
            Ok(due)
        });
        for slug in due.await? {
            self.change_as(Actor::policy("signing_key_schedule", "Signing key schedule"), async |act| {
                let Some(environment) = due_environment(act.tx, &slug, act.now).await? else { return Ok(()) };
                self.replace_signing_key(act, &environment, false, false).await?;
                act.changed(ChangeKind::Environment(slug.clone())).await?;
                let event = Event::SigningKeyRotated {
                    alg: environment.signing_alg,
                    immediate: false,
                    compromised: false,
                };
                act.audit(&event, About::environment(&slug)).await
            })
            .await?;
        }
        Ok(())
    }
}

/// Returns an environment whose schedule is due. One that cannot be read is left alone, and reported elsewhere.
async fn due_environment(tx: &mut Tx, slug: &Slug, now: Timestamp) -> Result<Option<Environment>, Error> {
    let environment = match tx.environment(slug).await {
        Ok(Some(environment)) => environment,
        Ok(None) | Err(StoreError::Corrupt { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if environment.upstream.is_some() {
        return Ok(None);
    }
    let Some(days) = environment.signing_key_rotation_days else { return Ok(None) };
    let keys = tx.read_signing_keys(slug).await?;
    let times = keys.iter().flatten().map(|key| key.times);
    Ok(is_due(times, days, now).then_some(environment))
}
