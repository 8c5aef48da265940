//! Rotating the signing secret of a webhook.

use super::{
    shown::{about, shown},
    subject::{Loaded, WebhookPath},
};
use crate::{
    app::App,
    error::Error,
    frame::{
        request::{Input, Request},
        versioned::Versioned,
    },
};
use crossfade_core::{
    Code, Operation, Problem,
    api::{self, RotateWebhookSecret},
    audit::Event,
    webhook::{MAX_OVERLAP_HOURS, still_signs},
};
use crossfade_outbound::SigningSecret;
use std::time::Duration;

impl App {
    /// Generates a new signing secret. The earlier one signs as well for the chosen hours. One that is even earlier ends, if
    /// the request says so. The reply has the new one.
    pub async fn rotate_webhook_secret(
        &self,
        request: &Request<'_>,
        path: WebhookPath<'_>,
        input: Input<'_, RotateWebhookSecret>,
    ) -> Result<Versioned<api::Webhook>, Error> {
        self.change(Operation::RotateWebhookSecret, request, path, async |act, principal, loaded: Loaded| {
            let Loaded { mut webhook, subject } = loaded;
            act.matches(webhook.version)?;
            let body = input.read()?;
            let hours = body.overlap_hours.as_ref().and_then(serde_json::Value::as_u64);
            let hours = hours.filter(|hours| *hours <= MAX_OVERLAP_HOURS).ok_or_else(|| {
                Problem::invalid("overlap_hours", "is required, and must be a whole number from 0 to 168")
            })?;
            // The receivers may still verify with the earlier secret only.
            if still_signs(webhook.previous_until, act.now) && !body.end_running_overlap {
                let text = "The earlier signing secret still signs, and another rotation ends it. Nothing was changed. Wait until \
                    the overlap ends, or let this rotation end it (end_running_overlap).";
                return Err(Problem::new(Code::OverlapInProgress, text).with_field("end_running_overlap").into());
            }
            let secret = SigningSecret::generate(self.random.as_ref());
            let sealed = self.seal_of_webhook(&webhook.id, "signing", secret.bytes())?;
            let earlier = std::mem::replace(&mut webhook.signing_secret, sealed);
            let until = act.now.after(Duration::from_secs(hours * 3600));
            // An earlier secret that signs no more is not kept.
            let signs = still_signs(Some(until), act.now);
            (webhook.previous_secret, webhook.previous_until) = match signs {
                true => (Some(earlier), Some(until)),
                false => (None, None),
            };
            act.tx.set_signing_secrets(&webhook).await?;
            act.audit(&Event::WebhookSecretRotated { overlap_hours: hours }, about(&webhook)).await?;
            webhook.version += 1;
            let mut reply = shown(&webhook, subject.name_for(principal), act.now);
            reply.object.signing_secret = Some(secret.text());
            Ok(reply)
        })
        .await
    }
}
