//! Ends a retiring secret before its deadline.

use crate::{
    app::App,
    error::Error,
    history::secret_of,
    idempotency::Reply,
    registrations::tokens_end,
    request::{Input, Request},
    targets::{RegistrationPath, Site},
};
use crossfade_core::{
    Operation,
    api::{RevokeSecret, SecretChanged},
    audit::Event,
    drill::StoppedAs,
    rotation::{self, EndedAs},
    text::Reason,
};

impl Reply for SecretChanged {}

impl App {
    /// Revokes a retiring secret now.
    pub async fn revoke_secret(
        &self,
        request: &Request<'_>,
        path: RegistrationPath<'_>,
        secret: &str,
        input: Input<'_, RevokeSecret>,
    ) -> Result<SecretChanged, Error> {
        self.change(Operation::RevokeSecret, request, path, async |act, site: Site| {
            let mut secret = secret_of(act.tx, &site.registration.id, secret).await?;
            act.matches(site.registration.version)?;
            let body = input.read()?;
            let reason = Reason::required(body.reason.as_deref())?;
            rotation::revoke(&secret.rule, act.now).map_err(|refusal| refusal.problem(None))?;
            secret.rule.revoked_at = Some(act.now);
            let id = &secret.rule.id;
            act.tx.set_secret_end(id, secret.rule.expires_at, secret.rule.revoked_at).await?;
            act.tx.decide_rotation(&site.registration.id, id, EndedAs::Revoked, act.now).await?;
            act.stop_drill_of(id, StoppedAs::Revoked, site.about()).await?;
            act.end_tokens(id, body.compromised, body.revoke_tokens).await?;
            act.secrets_changed(&site).await?;
            let event = Event::SecretRevoked {
                secret_id: id.clone(),
                compromised: body.compromised,
                revoke_tokens: body.revoke_tokens,
            };
            act.tell(self, &event, &site, id.as_str(), reason.as_str()).await?;
            let until =
                (body.compromised || body.revoke_tokens).then(|| tokens_end(&site.registration, act.now));
            Ok(SecretChanged {
                secret: self.shown_secret(&secret, act.now),
                tokens_valid_offline_until: until,
            })
        })
        .await
    }
}
