//! Shows the stored value of a secret.

use crate::{
    app::App,
    error::Error,
    frame::{
        entry::About,
        idempotency::Repeatable,
        request::{Input, Request},
        targets::{RegistrationPath, Site},
    },
    keys::place::SealPlace,
    secrets::list::secret_of,
};
use crossfade_core::{
    Code, Operation, Problem, SecretId,
    api::{RevealReply, RevealSecret},
    audit::Event,
    text::Reason,
};

impl Repeatable for RevealReply {
    fn secrets(&self) -> Vec<SecretId> {
        vec![self.id.clone()]
    }

    fn take_values(&mut self) -> Vec<String> {
        self.value.take().into_iter().collect()
    }

    fn put_values(&mut self, values: Vec<String>) {
        self.value = values.into_iter().next();
    }

    fn mark_delivered(&mut self) {
        self.secret_already_delivered = true;
    }
}

impl App {
    /// Reveals the value of a secret, and records who saw it.
    pub async fn reveal_secret(
        &self,
        request: &Request<'_>,
        path: RegistrationPath<'_>,
        secret: &str,
        input: Input<'_, RevealSecret>,
    ) -> Result<RevealReply, Error> {
        self.change(Operation::RevealSecret, request, path, async |act, _, site: Site| {
            let secret = secret_of(act.tx, &site.registration.id, secret).await?;
            act.matches(site.registration.version)?;
            let reason = Reason::parse(input.read()?.reason.as_deref())?;
            let sealed = secret.sealed.as_deref().ok_or_else(|| {
                Problem::new(
                    Code::SecretNotStored,
                    "The value of this secret is not stored. It was shown only once, or wiped after the \
                    secret ended. If nobody has the value, rotate the secret.",
                )
            })?;
            let place = SealPlace::Secret { registration: &site.registration.id, secret: &secret.rule.id };
            let value = self.vault.open(&place, sealed)?;
            let about = About {
                client: Some(&site.client.id),
                environment: Some(&site.environment.slug),
                target: Some(secret.rule.id.to_string()),
                reason: Some(reason.as_str()),
            };
            let event = Event::SecretRevealed {
                secret_id: secret.rule.id.clone(),
                state: Some(secret.rule.state(act.now)),
                replayed: None,
            };
            act.audit(&event, about).await?;
            let value = String::from_utf8(value.to_vec())
                .map_err(|_| Error::internal("a stored value is corrupt"))?;
            Ok(RevealReply { id: secret.rule.id, value: Some(value), secret_already_delivered: false })
        })
        .await
    }
}
