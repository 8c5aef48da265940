//! Ends a retiring secret before its deadline.

use crate::{
    act::{About, Input, Reply, Request},
    app::App,
    error::Error,
    history::secret_of,
    registrations::tokens_end,
    targets::{RegistrationPath, Site},
};
use crossfade_core::{
    api::{RevokeSecret, SecretChanged},
    audit::Action,
    roles::Permission,
    rotation::{self, EndedAs},
    text::Reason,
};
use serde_json::json;

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
        self.change(request, Permission::SecretRevoke, path, async |act, site: Site| {
            let mut secret = secret_of(act.tx, &site.registration.id, secret).await?;
            act.matches(site.registration.version)?;
            let body = input.read()?;
            let reason = Reason::required(body.reason.as_deref())?;
            rotation::revoke(&secret.rule, act.now).map_err(|refusal| refusal.problem(None))?;
            secret.rule.revoked_at = Some(act.now);
            let id = &secret.rule.id;
            act.tx.set_secret_end(id, secret.rule.expires_at, secret.rule.revoked_at).await?;
            act.tx.decide_rotation(&site.registration.id, id, EndedAs::Revoked, act.now).await?;
            act.end_tokens(id, body.compromised, body.revoke_tokens).await?;
            act.secrets_changed(&site).await?;
            let details = json!({"secret_id": id, "compromised": body.compromised, "revoke_tokens": body.revoke_tokens});
            let about = About {
                client: Some(&site.client.id),
                environment: Some(&site.environment.slug),
                target: Some(id.to_string()),
                reason: Some(reason.as_str()),
                details: details.clone(),
            };
            act.audit(Action::SecretRevoked, about).await?;
            act.notify(self, Action::SecretRevoked, &site.client, Some(&site.environment.slug), details).await?;
            let until = (body.compromised || body.revoke_tokens).then(|| tokens_end(&site.registration, act.now));
            Ok(SecretChanged { secret: self.shown_secret(&secret, act.now), tokens_valid_offline_until: until })
        })
        .await
    }
}
