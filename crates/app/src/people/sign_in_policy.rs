//! The sign-in policy: whom the instance asks for a second factor, and who can sign in with a password.

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
    Code, Operation, Problem, Timestamp, UserId,
    account::Passwords,
    api::{SignInPolicy, UpdateSignInPolicy, UserKind},
    audit::{Event, SignInFacts},
    messages::Class,
    roles::Role,
    second_factor::TOKENS_WORK_FOR,
    text::Reason,
};
use crossfade_store::{GrantRow, Notification, SignInPolicyRow, StoreError, Tx, User, WithoutFactor};

impl Repeatable for Versioned<SignInPolicy> {}

/// Maximum number of Owners who can sign in with a password when nobody else can.
const MAX_BREAK_GLASS: usize = 20;

/// Whether an account can sign in with its password. One that is kept for emergencies must still be an Owner.
pub(crate) async fn accepts_password(tx: &mut Tx, account: &UserId) -> Result<bool, StoreError> {
    let policy = tx.sign_in_policy().await?;
    Ok(match policy.passwords {
        Passwords::Everyone => true,
        Passwords::BreakGlass => {
            policy.break_glass.contains(account)
                && tx.owners().await?.iter().any(|owner| owner.id == *account)
        }
    })
}

/// Returns the email addresses of the people whom a policy asks for a second factor and who have none.
async fn missing(tx: &mut Tx, policy: &SignInPolicyRow) -> Result<Vec<String>, Error> {
    if policy.factor.told_at.is_none() {
        return Ok(Vec::new());
    }
    let people = tx.people_without_factor().await?;
    let grants = tx.grants_of(&people.iter().map(|person| &person.id).collect::<Vec<_>>()).await?;
    let accepts_password = |person: &WithoutFactor| {
        person.has_password
            && (policy.passwords == Passwords::Everyone || policy.break_glass.contains(&person.id))
    };
    let is_asked = |person: &WithoutFactor| {
        if person.has_identity && !accepts_password(person) {
            return false;
        }
        let held = grants.get(&person.id).map_or(&[][..], Vec::as_slice);
        policy.factor.asked_since(&asked(UserKind::Person, person.created_at, held)).is_some()
    };
    Ok(people.into_iter().filter(is_asked).map(|person| person.email).collect())
}

async fn shown(tx: &mut Tx, policy: &SignInPolicyRow) -> Result<Versioned<SignInPolicy>, Error> {
    let shown = SignInPolicy {
        second_factor: policy.factor.asked_for,
        told_at: policy.factor.told_at,
        tokens_refused_from: policy.factor.told_at.map(|at| at.after(TOKENS_WORK_FOR)),
        missing_count: missing(tx, policy).await?.len() as u64,
        passwords: policy.passwords,
        break_glass: policy.break_glass.clone(),
    };
    Ok(Versioned::new(shown, policy.version))
}

fn facts(policy: &SignInPolicyRow) -> SignInFacts {
    SignInFacts {
        second_factor: policy.factor.asked_for,
        passwords: policy.passwords,
        break_glass: policy.break_glass.clone(),
    }
}

impl App {
    /// Returns the sign-in policy, and its version.
    pub async fn read_sign_in_policy(&self, principal: &Principal) -> Result<Versioned<SignInPolicy>, Error> {
        self.view(Operation::ReadSignInPolicy, principal, Platform, async |tx, _, ()| {
            let policy = tx.sign_in_policy().await?;
            shown(tx, &policy).await
        })
        .await
    }

    /// Returns whether only Owners that are kept for emergencies can sign in with a password, for the page that asks for it.
    pub async fn are_passwords_off(&self) -> Result<bool, Error> {
        let policy = self.look_up_for(None, async |tx| Ok(tx.sign_in_policy().await?)).await?;
        Ok(policy.passwords == Passwords::BreakGlass)
    }

    /// Sets the sign-in policy. People who must add a second factor are told in the same transaction.
    pub async fn update_sign_in_policy(
        &self,
        request: &Request<'_>,
        input: Input<'_, UpdateSignInPolicy>,
    ) -> Result<Versioned<SignInPolicy>, Error> {
        let operation = Operation::UpdateSignInPolicy;
        self.change(operation, request, Platform, async |act, principal, ()| {
            let before = act.tx.sign_in_policy().await?;
            act.matches(before.version)?;
            let body = input.read()?;
            let reason = Reason::parse(body.reason.as_deref())?;
            let mut after = before.clone();
            after.factor = before.factor.set(body.second_factor.unwrap_or(before.factor.asked_for), act.now);
            after.passwords = body.passwords.unwrap_or(before.passwords);
            if let Some(list) = body.break_glass {
                after.break_glass = each_once(list);
            }
            // What was in order once can have changed since, which is no reason to refuse another change.
            if (after.passwords, &after.break_glass) != (before.passwords, &before.break_glass) {
                check_break_glass(act, &after).await?;
            }
            if after == before {
                return shown(act.tx, &before).await;
            }
            let is_raised = after.factor.asked_for > before.factor.asked_for;
            if is_raised {
                unless_locked_out(act, principal).await?;
            }
            let are_passwords_on =
                before.passwords == Passwords::BreakGlass && after.passwords == Passwords::Everyone;
            if are_passwords_on {
                after.passwords_on_since = Some(act.now);
            }
            let told_before = missing(act.tx, &before).await?;
            act.tx.set_sign_in_policy(&after).await?;
            after.version += 1;
            let mut people = missing(act.tx, &after).await?;
            if !is_raised {
                people.retain(|email| !told_before.contains(email));
            }
            self.unless_many_messages(principal, people.len())?;
            let ended_sessions = end_password_sessions(act, &after).await?;
            let event = Event::SignInPolicyUpdated {
                before: facts(&before),
                after: facts(&after),
                told: people.len() as u64,
                tokens_refused_from: (!people.is_empty()).then(|| act.now.after(TOKENS_WORK_FOR)),
                ended_sessions,
            };
            let reason = Some(reason.as_str());
            act.audit(&event, About { reason, ..About::default() }).await?;
            self.tell_people(act, &event, people).await?;
            shown(act.tx, &after).await
        })
        .await
    }

    /// Refuses to take the role Owner from the last account that can sign in with a password while passwords are off.
    pub(crate) async fn keep_break_glass(&self, act: &mut Act<'_>, leaving: &UserId) -> Result<(), Error> {
        let policy = act.tx.sign_in_policy().await?;
        if policy.passwords == Passwords::Everyone || !policy.break_glass.contains(leaving) {
            return Ok(());
        }
        let stays = |owner: &User| {
            owner.id != *leaving && policy.break_glass.contains(&owner.id) && owner.password_hash.is_some()
        };
        if act.tx.owners().await?.iter().any(stays) {
            return Ok(());
        }
        let text = "Passwords are switched off, and this is the last Owner who can sign in with one. Nothing was changed. \
            Name another Owner in the sign-in policy first.";
        Err(Problem::new(Code::LastOwner, text).into())
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

fn each_once(list: Vec<UserId>) -> Vec<UserId> {
    let mut unique = Vec::new();
    for account in list {
        if !unique.contains(&account) {
            unique.push(account);
        }
    }
    unique
}

/// Refuses an Owner who would ask the own account for a second factor that it does not have.
async fn unless_locked_out(act: &mut Act<'_>, principal: &Principal) -> Result<(), Error> {
    let person = act.tx.user(&principal.user).await?.filter(|user| user.kind == UserKind::Person);
    if person.is_none() || principal.has_factor() {
        return Ok(());
    }
    let text = "Your own account has no second factor, so you would lock yourself out. Nothing was changed. Add one on your \
        account page of the Console first.";
    Err(Problem::new(Code::SecondFactorRequired, text).with_field("second_factor").into())
}

/// Checks the Owners who are kept for emergencies.
async fn check_break_glass(act: &mut Act<'_>, policy: &SignInPolicyRow) -> Result<(), Error> {
    let wrong = |what: &str| -> Result<(), Error> { Err(Problem::invalid("break_glass", what).into()) };
    if policy.break_glass.len() > MAX_BREAK_GLASS {
        return wrong(&format!("must contain at most {MAX_BREAK_GLASS} accounts"));
    }
    let owners = act.tx.owners().await?;
    for account in &policy.break_glass {
        // What a group gives goes with its provider, and is then no way in.
        let by_hand = |row: &GrantRow| row.grant.role == Role::Owner && row.source.is_none();
        if !act.tx.grants(account).await?.iter().any(by_hand) {
            return wrong("must contain only Owners whose role was granted manually, and not by a group");
        }
        if !owners.iter().any(|owner| owner.id == *account && owner.password_hash.is_some()) {
            return wrong("must contain only Owners who have a password");
        }
    }
    if policy.passwords == Passwords::Everyone {
        return Ok(());
    }
    if policy.break_glass.is_empty() {
        return wrong(
            "must contain at least one Owner who has a password, to sign in when no provider works",
        );
    }
    if act.tx.enabled_providers().await?.is_empty() {
        let text = "No provider is enabled, so nobody else could sign in. Nothing was changed. Add a provider first.";
        return Err(Problem::new(Code::InUse, text).with_field("passwords").into());
    }
    Ok(())
}

/// Ends what began with a password that lets nobody in now. Returns the number of ended sessions.
async fn end_password_sessions(act: &mut Act<'_>, policy: &SignInPolicyRow) -> Result<u64, Error> {
    if policy.passwords == Passwords::Everyone {
        return Ok(0);
    }
    // One that waits for a code has passed the check of its password.
    act.tx.end_all_pending_sign_ins().await?;
    let mut ended = 0;
    for (session, account) in act.tx.password_sessions().await? {
        if policy.break_glass.contains(&account) {
            continue;
        }
        if act.tx.end_session(&session, &account, act.now).await? {
            act.tx.end_links_by_session(&session).await?;
            ended += 1;
        }
    }
    Ok(ended)
}
