//! Records in the trail the deadlines that have passed.

use crate::{app::App, error::Error, frame::entry::About};
use crossfade_core::audit::{Actor, Event};

/// Maximum number of deadlines recorded in one transaction.
const MOST_EXPIRED: i64 = 500;

impl App {
    /// Records in the trail the deadlines that have passed since the last check.
    pub(crate) async fn note_expiries(&self) -> Result<(), Error> {
        loop {
            let noted = self
                .change_as(Actor::policy("deadline", "Deadline"), async |act| {
                    let expired = act.tx.expired_secrets(act.now, MOST_EXPIRED).await?;
                    for secret in &expired {
                        act.tx.note_expiry(&secret.secret_id, act.now).await?;
                        let about = About {
                            client: Some(&secret.client_id),
                            environment: Some(&secret.environment),
                            target: Some(secret.secret_id.to_string()),
                            reason: None,
                        };
                        let (secret_id, expires_at) = (secret.secret_id.clone(), secret.expires_at);
                        let event = Event::SecretExpired { secret_id, expires_at };
                        // The event has the time of the deadline, not of this check.
                        act.tell_at(secret.expires_at, self.random.as_ref(), &event, about).await?;
                    }
                    Ok(expired.len() as i64)
                })
                .await?;
            if noted < MOST_EXPIRED {
                return Ok(());
            }
        }
    }
}
