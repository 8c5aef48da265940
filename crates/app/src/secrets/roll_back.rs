//! Rolls back the latest rotation: the retiring secret is current again, and the new one is revoked.

use crate::{
    app::App,
    error::Error,
    frame::{
        request::{Input, Request},
        targets::{RegistrationPath, Site},
    },
    registrations::registration::tokens_end,
    upstream::issuer::own_tokens_only,
};
use crossfade_core::{
    Operation, Problem, RotationId,
    api::{RollBackRotation, SecretChanged},
    audit::Event,
    drill::StoppedAs,
    rotation::{self, EndedAs, RollbackRequest},
    text::Reason,
};

impl App {
    /// Rolls back the latest rotation of a registration.
    pub async fn rollback_secret(
        &self,
        request: &Request<'_>,
        path: RegistrationPath<'_>,
        rotation: &str,
        input: Input<'_, RollBackRotation>,
    ) -> Result<SecretChanged, Error> {
        self.node.hear_other_nodes().await?;
        self.change(Operation::RollbackSecret, request, path, async |act, _, site: Site| {
            let registration = &site.registration.id;
            let id = RotationId::parse(rotation).map_err(|_| Problem::not_found())?;
            let rotation = act.tx.rotation(registration, &id).await?.ok_or_else(Problem::not_found)?;
            act.matches(site.registration.version)?;
            let body = input.read()?;
            let reason = Reason::required(body.reason.as_deref())?;
            let missing = || Error::internal("a rotation names a secret that is not there");
            let mut outgoing = act.tx.secret(registration, &rotation.outgoing).await?.ok_or_else(missing)?;
            let incoming = act.tx.secret(registration, &rotation.incoming).await?.ok_or_else(missing)?;
            let asked = RollbackRequest {
                is_latest: act.tx.newest_rotation_number(registration).await? == rotation.number,
                decided: rotation.decided,
                outgoing: &outgoing.rule,
                incoming: &incoming.rule,
                // What is not flushed yet counts, too.
                incoming_last_used_at: incoming
                    .usage
                    .map(|usage| usage.last_used_at)
                    .max(self.node.unflushed_use(&incoming.rule.id)),
                acknowledge_in_use: body.acknowledge_in_use,
            };
            own_tokens_only(&site.environment, body.revoke_tokens)?;
            rotation::roll_back(&asked, act.now).map_err(|refusal| refusal.problem(None))?;
            // The newer one first: at no moment are there two without a deadline.
            act.tx.set_secret_end(&rotation.incoming, Some(act.now), Some(act.now)).await?;
            act.tx.set_secret_end(&rotation.outgoing, None, None).await?;
            act.tx.decide_rotation(registration, &rotation.outgoing, EndedAs::RolledBack, act.now).await?;
            act.stop_drill_of(
                self.random.as_ref(),
                &rotation.outgoing,
                StoppedAs::RolledBack,
                &site.client,
                &site.environment.slug,
            )
            .await?;
            act.end_tokens(&rotation.incoming, body.compromised, body.revoke_tokens).await?;
            act.secrets_changed(&site.registration.id).await?;
            let event = Event::SecretRolledBack {
                rotation_id: rotation.id.clone(),
                current_secret_id: rotation.outgoing.clone(),
                revoked_secret_id: rotation.incoming.clone(),
                acknowledge_in_use: body.acknowledge_in_use,
                compromised: body.compromised,
                revoke_tokens: body.revoke_tokens,
            };
            act.tell(self.random.as_ref(), &event, &site, rotation.id.as_str(), reason.as_str()).await?;
            outgoing.rule.expires_at = None;
            let until =
                (body.compromised || body.revoke_tokens).then(|| tokens_end(&site.registration, act.now));
            Ok(SecretChanged {
                secret: self.shown_secret(&outgoing, act.now),
                tokens_valid_offline_until: until,
                enforced: None,
            })
        })
        .await
    }
}
