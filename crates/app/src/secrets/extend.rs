//! Extends the deadline of a retiring secret.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        request::{Input, Request},
        targets::{RegistrationPath, Site},
    },
    secrets::list::secret_of,
};
use crossfade_core::{
    Operation, Problem, RegistrationId, Timestamp,
    api::{ExtendSecret, SecretChanged},
    audit::Event,
    rotation::{self, Refusal},
    text::Reason,
};
use crossfade_store::{PageStart, Secret};

impl App {
    /// Extends the deadline of a retiring secret, to at most 168 hours after its rotation.
    pub async fn extend_secret(
        &self,
        request: &Request<'_>,
        path: RegistrationPath<'_>,
        secret: &str,
        input: Input<'_, ExtendSecret>,
    ) -> Result<SecretChanged, Error> {
        self.change(Operation::ExtendSecret, request, path, async |act, _, site: Site| {
            let mut secret = secret_of(act.tx, &site.registration.id, secret).await?;
            act.matches(site.registration.version)?;
            let body = input.read()?;
            let reason = Reason::required(body.reason.as_deref())?;
            let expires_at = Timestamp::parse(&body.expires_at)
                .map_err(|error| Problem::invalid("expires_at", &format!("is {error}")))?;
            // A retiring secret is the outgoing one of the latest rotation: there is no other way to retire.
            let latest = PageStart { after: None, limit: 1 };
            let rotation = act.tx.rotations(&site.registration.id, &latest).await?.pop();
            let rotated_at = rotation
                .filter(|rotation| rotation.outgoing == secret.rule.id)
                .map(|rotation| rotation.rotated_at)
                .ok_or_else(|| Refusal::NotRetiring.problem(None))?;
            let event = extend(act, &site.registration.id, &mut secret, rotated_at, expires_at).await?;
            act.tell(self.random.as_ref(), &event, &site, secret.rule.id.as_str(), reason.as_str()).await?;
            Ok(SecretChanged {
                secret: self.shown_secret(&secret, act.now),
                tokens_valid_offline_until: None,
                enforced: None,
            })
        })
        .await
    }
}

/// Extends the deadline of a retiring secret within a transaction, for a person or for the policy of an environment.
/// Returns the event to record.
pub(crate) async fn extend(
    act: &mut Act<'_>,
    registration: &RegistrationId,
    secret: &mut Secret,
    rotated_at: Timestamp,
    expires_at: Timestamp,
) -> Result<Event, Error> {
    rotation::extend(&secret.rule, rotated_at, expires_at, act.now)
        .map_err(|refusal| refusal.problem(None))?;
    let expires_at_before = secret.rule.expires_at.replace(expires_at);
    let id = &secret.rule.id;
    act.tx.set_secret_end(id, secret.rule.expires_at, None).await?;
    // Whoever has seen the earlier deadline has not seen this one.
    act.tx.forget_seen(id).await?;
    act.secrets_kept(registration).await?;
    Ok(Event::SecretExtended { secret_id: id.clone(), expires_at, expires_at_before })
}
