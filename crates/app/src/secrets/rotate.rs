//! Rotates the secret of a registration.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        idempotency::Repeatable,
        request::{Input, Request},
        targets::{RegistrationPath, Site, check_value},
    },
    registrations::registration::{NewSecret, tokens_end},
    upstream::issuer::own_tokens_only,
};
use crossfade_core::{
    Code, Operation, Problem, Random, RotationId, SecretId, TransitionHours,
    api::{
        Enforced, NotRotated, PreviousSecret, RotateSecret, RotateSecretAnswer, RotateSecretReply,
        RotationSummary, YoungSecret,
    },
    audit::Event,
    drill::StoppedAs,
    rotation::{self, EndedAs, Refusal, RotationPlan, RotationRequest, state_at},
    text::Reason,
};
use crossfade_store::{Environment, Rotation};
use std::time::Duration;

/// Longest age that a rotation can require, in seconds: 10 years.
const MAX_LEAST_AGE: u64 = 315_360_000;

impl Repeatable for RotateSecretAnswer {
    fn is_change(&self) -> bool {
        matches!(self, Self::Rotated(_))
    }

    fn secrets(&self) -> Vec<SecretId> {
        match self {
            Self::Rotated(reply) => vec![reply.secret.id.clone()],
            Self::NotRotated(_) => Vec::new(),
        }
    }

    fn take_values(&mut self) -> Vec<String> {
        match self {
            Self::Rotated(reply) => reply.secret.value.take().into_iter().collect(),
            Self::NotRotated(_) => Vec::new(),
        }
    }

    fn put_values(&mut self, values: Vec<String>) {
        if let Self::Rotated(reply) = self {
            reply.secret.value = values.into_iter().next();
        }
    }

    fn set_enforced(&mut self, enforced: Enforced) {
        if let Self::Rotated(reply) = self {
            reply.enforced = Some(enforced);
        }
    }

    fn mark_delivered(&mut self) {
        if let Self::Rotated(reply) = self {
            reply.secret_already_delivered = true;
        }
    }
}

impl App {
    /// Replaces the current secret of a registration, which stays valid for the transition period. Changes nothing if
    /// the secret is younger than the request requires.
    pub async fn rotate_secret(
        &self,
        request: &Request<'_>,
        path: RegistrationPath<'_>,
        input: Input<'_, RotateSecret>,
    ) -> Result<RotateSecretAnswer, Error> {
        self.change(Operation::RotateSecret, request, path, async |act, principal, site: Site| {
            let needs_value = input.clone().read().is_ok_and(|body| body.require_value);
            check_value(principal, needs_value && !principal.may_receive(site.object()), site.object())?;
            act.matches(site.registration.version)?;
            let out_of_range = |error: &dyn std::fmt::Display| {
                let text = format!("{error}. It has no default. Nothing was changed.");
                Problem::new(Code::TransitionOutOfRange, text).with_field("transition_hours")
            };
            let body = input.read().map_err(|problem| {
                match (problem.field.as_deref(), TransitionHours::from_json(None)) {
                    // A number beyond the range of floats, which has no JSON value.
                    (Some("transition_hours"), Err(error)) => out_of_range(&error),
                    _ => problem,
                }
            })?;
            let reason = Reason::parse(body.reason.as_deref())?;
            let transition = TransitionHours::from_json(body.transition_hours.as_ref())
                .map_err(|error| out_of_range(&error))?;
            site.confirm(body.confirm_client_name.as_deref())?;
            let least_age = least_age(&body)?;
            own_tokens_only(&site.environment, body.revoke_tokens)?;
            let asked = RotationRequest {
                transition,
                expected_current: body.expected_current_secret_id,
                end_running_transition: body.end_running_transition,
                compromised: body.compromised,
            };
            if body.revoke_tokens && !asked.may_end_secret() {
                return Err(Refusal::EndsNoSecret.problem(None).into());
            }
            let mut open = act.tx.open_secrets(&site.registration.id, act.now).await?;
            let is_first = open.is_empty() && act.tx.adoption(&site.registration.id).await?.is_some();
            if is_first && least_age.is_some() {
                let text = "The client has no secret yet: the one that its callers have is still to be learned. Nothing was \
                    changed. Rotate without an age to give it its first secret.";
                return Err(Problem::new(Code::RotationConflict, text).with_field("if_older_than_seconds").into());
            }
            let is_learning = site.environment.adopt_until.is_some_and(|until| act.now < until);
            if is_first && is_learning && transition.hours() > 0 {
                let text = "transition_hours must be 0 while the secret that the callers have is still to be learned: Crossfade \
                    does not know it, and refuses it from then on. Nothing was changed.";
                return Err(Problem::new(Code::TransitionOutOfRange, text).with_field("transition_hours").into());
            }
            if is_first {
                open.push(self.add_nobodys_secret(act, &site).await?);
            }
            // Before the refusals of the rules: of two jobs at the same time, the later one finds a young secret.
            if let (Some(least_age), Some(current)) = (least_age, rotation::current(&open, act.now))
                && let Some(old_enough_at) = rotation::old_enough_at(current.created_at, least_age, act.now)
            {
                let secret = YoungSecret {
                    id: current.id.clone(),
                    state: current.state(act.now),
                    created_at: current.created_at,
                };
                return Ok(RotateSecretAnswer::NotRotated(NotRotated {
                    rotated: false,
                    secret,
                    old_enough_at,
                }));
            }
            let plan = match rotation::rotate(&open, &asked, act.now) {
                // Nobody has what is replaced.
                Ok(plan) if is_first => RotationPlan { outgoing_expires_at: act.now, ..plan },
                Ok(plan) => plan,
                Err(refusal) => return Err(self.refused(act, &site, refusal).await?.into()),
            };
            let ending = plan.ends_now(act.now);
            if body.revoke_tokens && ending.is_empty() {
                return Err(Refusal::EndsNoSecret.problem(None).into());
            }
            let made = Made {
                transition,
                reason: &reason,
                compromised: body.compromised,
                revoke_tokens: body.revoke_tokens,
            };
            let (rotation, incoming) = self.carry_out(act, &site, &plan, &made).await?;

            let may_reveal = principal.may_receive(site.object());
            Ok(RotateSecretAnswer::Rotated(Box::new(RotateSecretReply {
                rotated: true,
                secret: incoming.shown(may_reveal),
                previous_secret: PreviousSecret {
                    id: plan.outgoing,
                    state: state_at(Some(plan.outgoing_expires_at), plan.outgoing_revoked_at, act.now),
                    expires_at: plan.outgoing_expires_at,
                },
                superseded_secret_id: plan.superseded,
                rotation: RotationSummary {
                    id: rotation.id,
                    environment: site.environment.slug.to_string(),
                    initiated_by: rotation.actor,
                    rotated_at: rotation.rotated_at,
                    transition_hours: transition.hours(),
                    reason: rotation.reason,
                },
                tokens_valid_offline_until: (body.compromised || body.revoke_tokens)
                    .then(|| tokens_end(&site.registration, act.now)),
                secret_already_delivered: false,
                enforced: None,
            })))
        })
        .await
    }

    /// Adds a secret that nobody has to a registration that has learned none, for a rotation to replace.
    async fn add_nobodys_secret(&self, act: &mut Act<'_>, site: &Site) -> Result<rotation::Secret, Error> {
        let hidden = Environment { show_once: true, ..site.environment.clone() };
        let secret = self.add_secret(act, &site.registration, &hidden).await?;
        let (id, created_at) = (secret.id, secret.created_at);
        Ok(rotation::Secret { id, created_at, expires_at: None, revoked_at: None })
    }

    /// Returns the problem for a refusal of the rules, with the last use of the secret that it names.
    pub(crate) async fn refused(
        &self,
        act: &mut Act<'_>,
        site: &Site,
        refusal: Refusal,
    ) -> Result<Problem, Error> {
        let last_used_at = match &refusal {
            Refusal::TransitionInProgress { retiring, .. } => {
                let secret = act.tx.secret(&site.registration.id, retiring).await?;
                let stored = secret.and_then(|secret| secret.usage).map(|usage| usage.last_used_at);
                // To the moment, without waiting for a flush.
                stored.max(self.node.unflushed_use(retiring))
            }
            _ => None,
        };
        Ok(refusal.problem(last_used_at))
    }
}

/// A rotation that the rules allow, as it was asked for.
pub(crate) struct Made<'a> {
    pub(crate) transition: TransitionHours,
    pub(crate) reason: &'a Reason,
    pub(crate) compromised: bool,
    pub(crate) revoke_tokens: bool,
}

impl App {
    /// Stores a rotation: ends secrets, adds the new one, records it, and notifies the owners.
    pub(crate) async fn carry_out(
        &self,
        act: &mut Act<'_>,
        site: &Site,
        plan: &RotationPlan,
        made: &Made<'_>,
    ) -> Result<(Rotation, NewSecret), Error> {
        let id = RotationId::generate(self.random.as_ref());
        end_secrets(act, self.random.as_ref(), site, plan).await?;
        let incoming = self.add_secret(act, &site.registration, &site.environment).await?;
        for secret in &plan.ends_now(act.now) {
            act.end_tokens(secret, made.compromised, made.revoke_tokens).await?;
        }
        let rotation = Rotation {
            id,
            registration_id: site.registration.id.clone(),
            number: act.tx.newest_rotation_number(&site.registration.id).await? + 1,
            actor: act.by.actor.clone(),
            rotated_at: act.now,
            transition: made.transition,
            reason: made.reason.as_str().to_owned(),
            compromised: made.compromised,
            outgoing: plan.outgoing.clone(),
            incoming: incoming.id.clone(),
            decided: None,
        };
        act.tx.insert_rotation(&rotation).await?;
        act.secrets_changed(&site.registration.id).await?;
        let event = Event::SecretRotated {
            rotation_id: rotation.id.clone(),
            transition_hours: made.transition,
            compromised: made.compromised,
            revoke_tokens: made.revoke_tokens,
            outgoing_secret_id: plan.outgoing.clone(),
            outgoing_expires_at: plan.outgoing_expires_at,
            incoming_secret_id: incoming.id.clone(),
            superseded_secret_id: plan.superseded.clone(),
        };
        act.tell(self.random.as_ref(), &event, site, rotation.id.as_str(), made.reason.as_str()).await?;
        Ok((rotation, incoming))
    }
}

/// Returns the age that the current secret must have, if the request requires one.
fn least_age(body: &RotateSecret) -> Result<Option<Duration>, Problem> {
    let invalid = |must: &str| Problem::invalid("if_older_than_seconds", must);
    match body.if_older_than_seconds {
        None => Ok(None),
        // A leaked secret ends whatever its age.
        Some(_) if body.compromised => Err(invalid("must be omitted when compromised is set")),
        Some(seconds) if !(1..=MAX_LEAST_AGE).contains(&seconds) => {
            Err(invalid(&format!("must be a whole number of seconds from 1 to {MAX_LEAST_AGE}")))
        }
        Some(seconds) => Ok(Some(Duration::from_secs(seconds))),
    }
}

async fn end_secrets(
    act: &mut Act<'_>,
    random: &dyn Random,
    site: &Site,
    plan: &RotationPlan,
) -> Result<(), Error> {
    if let Some(superseded) = &plan.superseded {
        // Revoked, but the deadline that it had stays on record.
        let had =
            act.tx.secret(&site.registration.id, superseded).await?.and_then(|secret| secret.rule.expires_at);
        act.tx.set_secret_end(superseded, had, Some(act.now)).await?;
        act.tx.decide_rotation(&site.registration.id, superseded, EndedAs::Superseded, act.now).await?;
        act.stop_drill_of(random, superseded, StoppedAs::Superseded, &site.client, &site.environment.slug)
            .await?;
    }
    Ok(act
        .tx
        .set_secret_end(&plan.outgoing, Some(plan.outgoing_expires_at), plan.outgoing_revoked_at)
        .await?)
}
