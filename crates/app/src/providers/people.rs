//! Whose account a person of a provider signs in to.

use super::refusal::Refusal;
use crate::{
    app::App,
    error::Error,
    frame::{act::Act, entry::About},
};
use crossfade_core::{
    Timestamp, UserId,
    api::UserKind,
    audit::Event,
    provider::{IdToken, is_in_domains},
    text::{self, Name},
};
use crossfade_store::{IdentityRow, Provider, Tx, User};
use std::time::Duration;

/// By how much the clocks of two nodes can differ for the order of a deletion and a sign-in.
const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(10);

/// What a provider says of a person.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) token: IdToken,
    pub(super) email: Option<String>,
    pub(super) email_verified: bool,
    pub(super) name: Option<String>,
    pub(super) groups: Vec<String>,
    /// Who the person is in provisioning; `None` if no token says it.
    pub(super) external_id: Option<String>,
}

impl Person {
    /// Returns the subject, and who the person is in provisioning.
    pub(super) fn known_as(&self) -> (&str, Option<&str>) {
        (&self.token.subject, self.external_id.as_deref())
    }
}

/// The account that a person signs in to.
pub(super) enum Found {
    /// One that exists.
    Account(Box<User>),
    /// One that the provider has created by provisioning, and that is now linked.
    Provisioned(Box<User>),
    /// One that is to be created with this email address.
    New(String),
}

/// Finds the account of a person whose sign-in began at this time: only by the subject, never by the email address alone, which two
/// providers can both claim.
pub(super) async fn find(
    tx: &mut Tx,
    provider: &Provider,
    person: &Person,
    begun_at: Timestamp,
) -> Result<Result<Found, Refusal>, Error> {
    if let Some(identity) = tx.identity(&provider.id, &person.token.subject).await? {
        // Who is not active at the provider, or is somebody else here, is let in by no earlier identity.
        let known = match &person.external_id {
            Some(id) => tx.scim_user_by_external_id(&provider.id, id).await?,
            None => None,
        };
        match known.map(|row| row.user_id) {
            Some(None) => return Ok(Err(Refusal::NotActive)),
            Some(Some(account)) if account != identity.user_id => return Ok(Err(Refusal::OtherAccount)),
            _ => {}
        }
        // The identities of a deleted account are gone with it.
        let user = tx
            .user(&identity.user_id)
            .await?
            .ok_or_else(|| Error::internal("an identity without account"))?;
        return Ok(Ok(Found::Account(Box::new(user))));
    }
    if let Some(provisioned) = provisioned(tx, provider, person).await? {
        return Ok(provisioned);
    }
    let Some(email) = &person.email else { return Ok(Err(Refusal::NoAddress)) };
    let Ok(email) = text::email("email", email) else { return Ok(Err(Refusal::NoAddress)) };
    if tx.user_by_email(&email).await?.is_some() {
        // Only of an address that is proven, so that nobody asks here who has an account.
        let is_proven = person.email_verified && is_in_domains(&email, &provider.domains);
        return Ok(Err(if is_proven { Refusal::AddressTaken } else { Refusal::Domain }));
    }
    if !is_in_domains(&email, &provider.domains) {
        return Ok(Err(Refusal::Domain));
    }
    if !person.email_verified {
        return Ok(Err(Refusal::Unverified));
    }
    // An ID token without the claim, or a wrong mapping, makes no second account for somebody whom provisioning knows.
    if let Some(row) = tx.scim_user_by_name(&provider.id, &email).await? {
        return Ok(Err(if row.user_id.is_none() { Refusal::NotActive } else { Refusal::OtherAccount }));
    }
    // Whom the provider has deleted since the sign-in began is not known any more. Another node may have begun it.
    if tx.scim_user_deleted_at(&provider.id).await?.is_some_and(|at| begun_at <= at.after(CLOCKS_DIFFER_BY)) {
        return Ok(Err(Refusal::State));
    }
    Ok(Ok(Found::New(email)))
}

/// Finds the account that the provider has created for a person by provisioning; `None` if it provisions no such person.
async fn provisioned(
    tx: &mut Tx,
    provider: &Provider,
    person: &Person,
) -> Result<Option<Result<Found, Refusal>>, Error> {
    let Some(external_id) = &person.external_id else { return Ok(None) };
    let Some(row) = tx.scim_user_by_external_id(&provider.id, external_id).await? else { return Ok(None) };
    let Some(account) = row.user_id else { return Ok(Some(Err(Refusal::NotActive))) };
    if !row.lets_in {
        // The identity with which the account was found was unlinked, and only its person links it again.
        return Ok(Some(Err(Refusal::AddressTaken)));
    }
    if tx.identities(&account).await?.iter().any(|it| it.provider_id == provider.id) {
        return Ok(Some(Err(Refusal::OtherAccount)));
    }
    let user =
        tx.user(&account).await?.ok_or_else(|| Error::internal("a provisioned person without account"))?;
    Ok(Some(Ok(Found::Provisioned(Box::new(user)))))
}

/// Checks that the person of an account that the provider provisions is the one who links it, and that nobody else is.
pub(super) async fn check_provisioned(
    tx: &mut Tx,
    provider: &Provider,
    account: &UserId,
    person: &Person,
) -> Result<Result<(), Refusal>, Error> {
    let own = tx.scim_user_of(&provider.id, account).await?;
    if own.is_some_and(|own| Some(&own.body.external_id) != person.external_id.as_ref()) {
        return Ok(Err(Refusal::OtherPerson));
    }
    let Some(external_id) = &person.external_id else { return Ok(Ok(())) };
    Ok(match tx.scim_user_by_external_id(&provider.id, external_id).await? {
        Some(row) if row.user_id.is_some() && row.user_id.as_ref() != Some(account) => {
            Err(Refusal::OtherAccount)
        }
        Some(row) if row.user_id.is_none() => Err(Refusal::NotActive),
        _ => Ok(()),
    })
}

/// Checks that the address that a provider says is proven and in its domains, if it has any: an identity of another organisation
/// would outlive the person's account at the provider.
pub(super) fn has_own_address(provider: &Provider, person: &Person) -> Result<(), Refusal> {
    if provider.domains.is_empty() {
        return Ok(());
    }
    let email = person.email.as_ref().and_then(|email| text::email("email", email).ok());
    let email = email.ok_or(Refusal::NoAddress)?;
    match (is_in_domains(&email, &provider.domains), person.email_verified) {
        (true, true) => Ok(()),
        (true, false) => Err(Refusal::Unverified),
        (false, _) => Err(Refusal::Domain),
    }
}

impl App {
    /// Returns the account of a person as it is stored, or as it will be created.
    pub(super) fn account_of(
        &self,
        found: Found,
        person: &Person,
        act: &Act<'_>,
    ) -> Result<(User, bool), Error> {
        let email = match found {
            Found::Account(user) | Found::Provisioned(user) => return Ok((*user, false)),
            Found::New(email) => email,
        };
        let local = email.split('@').next().unwrap_or(&email);
        let name = person.name.as_deref().and_then(|name| Name::parse("name", name).ok());
        let name = name.map_or_else(|| Name::parse("email", local), Ok)?;
        let user = User {
            id: UserId::generate(self.random.as_ref()),
            kind: UserKind::Person,
            email: Some(email),
            name: name.to_string(),
            password_hash: None,
            created_at: act.now,
            created_by: None,
            version: 1,
        };
        Ok((user, true))
    }

    /// Stores an account that a sign-in creates.
    pub(super) async fn create_account(&self, act: &mut Act<'_>, user: &User) -> Result<(), Error> {
        act.tx.insert_user(user).await?;
        let event =
            Event::UserCreated { kind: user.kind, name: user.name.clone(), email: user.email.clone() };
        act.audit(&event, About::target(&user.id)).await
    }

    /// Links an account that a provider has created, at the first sign-in of its person.
    pub(super) async fn link_created(
        &self,
        act: &mut Act<'_>,
        provider: &Provider,
        user: &User,
        person: &Person,
    ) -> Result<(), Error> {
        let identity = IdentityRow {
            provider_id: provider.id.clone(),
            subject: person.token.subject.clone(),
            user_id: user.id.clone(),
            created_account: true,
            created_at: act.now,
            external_id: person.external_id.clone(),
        };
        act.tx.insert_identity(&identity, Some(act.now)).await?;
        let event = Event::IdentityLinked {
            user_id: user.id.clone(),
            provider_id: provider.id.clone(),
            provider_name: provider.name.to_string(),
            created_account: true,
        };
        act.audit(&event, About::target(&user.id)).await
    }
}
