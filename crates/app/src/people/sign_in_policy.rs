//! The policy that asks people for a second factor.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::{Act, message_id},
        entry::About,
        idempotency::Repeatable,
        principal::{Principal, asked},
        request::{Input, Request},
        targets::Platform,
        versioned::Versioned,
    },
};
use crossfade_core::{
    Code, Operation, Problem, Timestamp,
    account::Passwords,
    api::{SignInPolicy, UpdateSignInPolicy, UserKind},
    audit::Event,
    messages::Class,
    second_factor::{AskedFor, FactorPolicy, TOKENS_WORK_FOR},
    text::Reason,
};
use crossfade_store::{Notification, Tx, WithoutFactor};

impl Repeatable for Versioned<SignInPolicy> {}

/// Returns the email addresses of the people whom a policy asks and who have no factor.
async fn missing(tx: &mut Tx, policy: &FactorPolicy) -> Result<Vec<String>, Error> {
    if policy.asked_for == AskedFor::Optional {
        return Ok(Vec::new());
    }
    let people = tx.people_without_factor().await?;
    let grants = tx.grants_of(&people.iter().map(|person| &person.id).collect::<Vec<_>>()).await?;
    let passwords = tx.password_policy().await?;
    let accepts_password = |person: &WithoutFactor| {
        person.has_password
            && (passwords.passwords == Passwords::Everyone || passwords.break_glass.contains(&person.id))
    };
    let is_asked = |person: &WithoutFactor| {
        if person.has_identity && !accepts_password(person) {
            return false;
        }
        let held = grants.get(&person.id).map_or(&[][..], Vec::as_slice);
        policy.asked_since(&asked(UserKind::Person, person.created_at, held)).is_some()
    };
    Ok(people.into_iter().filter(is_asked).map(|person| person.email).collect())
}

async fn shown(tx: &mut Tx, policy: &FactorPolicy) -> Result<SignInPolicy, Error> {
    Ok(SignInPolicy {
        second_factor: policy.asked_for,
        told_at: policy.told_at,
        tokens_refused_from: policy.told_at.map(|at| at.after(TOKENS_WORK_FOR)),
        missing_count: missing(tx, policy).await?.len() as u64,
    })
}

impl App {
    /// Returns whom the instance asks for a second factor, and the version of the policy.
    pub async fn read_sign_in_policy(&self, principal: &Principal) -> Result<Versioned<SignInPolicy>, Error> {
        self.view(Operation::ReadSignInPolicy, principal, Platform, async |tx, _, ()| {
            let (policy, version) = tx.factor_policy().await?;
            Ok(Versioned::new(shown(tx, &policy).await?, version))
        })
        .await
    }

    /// Sets whom the instance asks for a second factor. People who must add one are told in the same transaction.
    pub async fn update_sign_in_policy(
        &self,
        request: &Request<'_>,
        input: Input<'_, UpdateSignInPolicy>,
    ) -> Result<Versioned<SignInPolicy>, Error> {
        let operation = Operation::UpdateSignInPolicy;
        self.change(operation, request, Platform, async |act, principal, ()| {
            let (before, version) = act.tx.factor_policy().await?;
            act.matches(version)?;
            let body = input.read()?;
            let reason = Reason::parse(body.reason.as_deref())?;
            let after = before.set(body.second_factor.unwrap_or(before.asked_for), act.now);
            if after == before {
                return Ok(Versioned::new(shown(act.tx, &before).await?, version));
            }
            let is_raised = after.asked_for > before.asked_for;
            let person = act.tx.user(&principal.user).await?.filter(|user| user.kind == UserKind::Person);
            if is_raised && person.is_some() && !principal.has_factor() {
                let text = "Your own account has no second factor, so you would lock yourself out. Nothing was changed. Add \
                    one on your account page of the Console first.";
                let problem = Problem::new(Code::SecondFactorRequired, text);
                return Err(problem.with_field("second_factor").into());
            }
            act.tx.set_factor_policy(&after).await?;
            let shown = shown(act.tx, &after).await?;
            let people = match is_raised {
                true => missing(act.tx, &after).await?,
                false => Vec::new(),
            };
            self.unless_many_messages(principal, people.len())?;
            let event = Event::SignInPolicyUpdated {
                before: before.asked_for,
                after: after.asked_for,
                told: people.len() as u64,
                tokens_refused_from: shown.tokens_refused_from,
            };
            let reason = Some(reason.as_str());
            act.audit(&event, About { reason, ..About::default() }).await?;
            self.tell_people(act, &event, people).await?;
            Ok(Versioned::new(shown, version + 1))
        })
        .await
    }

    /// Queues one message about an event to many people.
    async fn tell_people(
        &self,
        act: &mut Act<'_>,
        event: &Event,
        recipients: Vec<String>,
    ) -> Result<(), Error> {
        if !act.mails || recipients.is_empty() {
            return Ok(());
        }
        let notification = Notification {
            id: message_id(self.random.as_ref()),
            created_at: act.now,
            number: None,
            event: event.action(),
            client_id: None,
            client_name: None,
            environment: None,
            recipients,
            actor_name: Some(act.by.actor.name().to_owned()),
            actor_kind: Some(act.by.actor.kind().to_owned()),
            source: None,
            reason: None,
            details: event.details(),
        };
        let no_end: Option<Timestamp> = None;
        act.queue_mail(self.random.as_ref(), &notification, (Class::of(event), &notification.id, no_end))
            .await
    }
}
