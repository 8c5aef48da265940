//! Ends a retiring secret before its deadline.

use crate::{
    app::App,
    error::Error,
    frame::{
        idempotency::Repeatable,
        request::{Input, Request},
        targets::{RegistrationPath, Site},
    },
    registrations::registration::tokens_end,
    secrets::{change_over::QUIET_SECONDS_ARE, list::secret_of, transition::Transition},
    upstream::issuer::own_tokens_only,
};
use crossfade_core::{
    Code, Operation, Problem, Timestamp,
    api::{Enforced, RevokeSecret, SecretChanged},
    audit::Event,
    change_over::{Verdict, Why, quiet_time},
    drill::StoppedAs,
    rotation::{self, EndedAs},
    text::Reason,
};
use crossfade_store::Tx;
use std::time::Duration;

impl Repeatable for SecretChanged {
    fn set_enforced(&mut self, enforced: Enforced) {
        self.enforced = Some(enforced);
    }
}

impl App {
    /// Revokes a retiring secret now.
    pub async fn revoke_secret(
        &self,
        request: &Request<'_>,
        path: RegistrationPath<'_>,
        secret: &str,
        input: Input<'_, RevokeSecret>,
    ) -> Result<SecretChanged, Error> {
        self.revoke(request, path, secret, None, input).await
    }

    /// Revokes a retiring secret for a person who typed the client's name, because ending it is not known to be safe.
    pub async fn revoke_secret_confirmed(
        &self,
        request: &Request<'_>,
        path: RegistrationPath<'_>,
        secret: &str,
        typed: &str,
        input: Input<'_, RevokeSecret>,
    ) -> Result<SecretChanged, Error> {
        self.revoke(request, path, secret, Some(typed), input).await
    }

    async fn revoke(
        &self,
        request: &Request<'_>,
        path: RegistrationPath<'_>,
        secret: &str,
        typed: Option<&str>,
        input: Input<'_, RevokeSecret>,
    ) -> Result<SecretChanged, Error> {
        if input.clone().read().is_ok_and(|body| is_conditional(&body)) {
            // Evidence must be stored before it is judged, and storing it takes the lock that the change holds.
            self.judge_evidence(Operation::RevokeSecret, request.principal, path, async |_, _, _: Site| {
                Ok(())
            })
            .await?;
        }
        self.change(Operation::RevokeSecret, request, path, async |act, _, site: Site| {
            let mut secret = secret_of(act.tx, &site.registration.id, secret).await?;
            act.matches(site.registration.version)?;
            let body = input.read()?;
            let reason = Reason::required(body.reason.as_deref())?;
            let quiet = quiet(&body)?;
            if typed.is_some() {
                site.confirm(typed)?;
            }
            own_tokens_only(&site.environment, body.revoke_tokens)?;
            rotation::revoke(&secret.rule, act.now).map_err(|refusal| refusal.problem(None))?;
            if is_conditional(&body) {
                self.must_be_safe(act.tx, &site, quiet, act.now).await?;
            }
            secret.rule.revoked_at = Some(act.now);
            let id = &secret.rule.id;
            act.tx.set_secret_end(id, secret.rule.expires_at, secret.rule.revoked_at).await?;
            act.tx.decide_rotation(&site.registration.id, id, EndedAs::Revoked, act.now).await?;
            act.stop_drill_of(
                self.random.as_ref(),
                id,
                StoppedAs::Revoked,
                &site.client,
                &site.environment.slug,
            )
            .await?;
            act.end_tokens(id, body.compromised, body.revoke_tokens).await?;
            act.secrets_changed(&site.registration.id).await?;
            let event = Event::SecretRevoked {
                secret_id: id.clone(),
                compromised: body.compromised,
                revoke_tokens: body.revoke_tokens,
            };
            act.tell(self.random.as_ref(), &event, &site, id.as_str(), reason.as_str()).await?;
            let until =
                (body.compromised || body.revoke_tokens).then(|| tokens_end(&site.registration, act.now));
            Ok(SecretChanged {
                secret: self.shown_secret(&secret, act.now),
                tokens_valid_offline_until: until,
                enforced: None,
            })
        })
        .await
    }

    /// Refuses if it is not known to be safe to end the old secret of the latest rotation, which is the only retiring
    /// one.
    async fn must_be_safe(
        &self,
        tx: &mut Tx,
        site: &Site,
        quiet: Option<Duration>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let missing = || Error::internal("a retiring secret has no rotation");
        let transition = Transition::latest(tx, &site.registration.id, now).await?.ok_or_else(missing)?;
        // Who came since the evidence was written counts, too.
        let tried = self.node.unflushed_try(&transition.old.rule.id);
        let assessed = transition.assess(&site.registration, quiet, tried, now);
        if assessed.verdict == Verdict::SafeToEnd {
            return Ok(());
        }
        let text = format!(
            "{} Nothing was changed. {}, or revoke without the condition; callers that still use the secret \
            will fail.",
            assessed.summary(),
            next_step(&assessed.reasons)
        );
        let problem = Problem::new(Code::NotSafeToEnd, text).with_field("only_if_safe");
        let reasons: Vec<Why> = assessed.reasons.iter().copied().filter(|why| why.is_obstacle()).collect();
        let problem = problem.with("verdict", assessed.verdict.as_str()).with("reasons", reasons);
        Err(problem.with("callers_left", assessed.callers.left()).into())
    }
}

/// Returns what a person can do about the reasons. Waiting alone does not help against all of them.
fn next_step(reasons: &[Why]) -> &'static str {
    match reasons {
        _ if reasons.contains(&Why::Disabled) => "Enable the registration and wait",
        _ if reasons.contains(&Why::NewSilent) || reasons.contains(&Why::NewNeverUsed) => {
            "Make sure that callers reach this server with the new secret"
        }
        _ => "Check the change-over and wait",
    }
}

/// Whether to revoke only if it is safe. A quiet time implies that.
fn is_conditional(body: &RevokeSecret) -> bool {
    body.only_if_safe || body.quiet_seconds.is_some()
}

fn quiet(body: &RevokeSecret) -> Result<Option<Duration>, Problem> {
    let must = || Problem::invalid("quiet_seconds", QUIET_SECONDS_ARE);
    body.quiet_seconds.map(|seconds| quiet_time(seconds).ok_or_else(must)).transpose()
}
