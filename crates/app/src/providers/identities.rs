//! The identities of a person's own account.

use super::sign_in::policy;
use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        entry::{About, Author},
    },
    people::{sessions::Session, sign_in_policy::accepts_password},
};
use crossfade_core::{Code, Problem, ProviderId, api::Identity, audit::Event};
use crossfade_store::User;

/// The ways to sign in to an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnIdentities {
    /// Who the person is at providers.
    pub identities: Vec<Identity>,
    /// Providers that the account can be linked with.
    pub linkable: Vec<super::provider::OfferedProvider>,
    /// Whether a password is set.
    pub has_password: bool,
}

impl App {
    /// Returns the identities of the signed-in person.
    pub async fn list_own_identities(&self, session: &Session) -> Result<OwnIdentities, Error> {
        let now = self.clock.now();
        self.read(async |tx| {
            let principal = session.principal.refreshed(tx, now).await?;
            let user = tx.user(&principal.user).await?.ok_or_else(Problem::not_found)?;
            let identities = tx.identities(&principal.user).await?;
            let mut linkable = tx.enabled_providers().await?;
            linkable.retain(|it| !identities.iter().any(|own| own.provider_id == it.id));
            let offered = |it: crossfade_store::Provider| super::provider::OfferedProvider {
                id: it.id,
                name: it.name.to_string(),
            };
            Ok(OwnIdentities {
                identities,
                linkable: linkable.into_iter().map(offered).collect(),
                has_password: user.password_hash.is_some(),
            })
        })
        .await
    }

    /// Unlinks the account of the signed-in person from a provider, while another way to sign in is left. Its sessions with the
    /// provider end, except this one, and the roles of its groups.
    pub async fn unlink_identity(&self, session: &Session, provider: &str) -> Result<(), Error> {
        let id = ProviderId::parse(provider).map_err(|_| Problem::not_found())?;
        self.node.unless_quarantined()?;
        self.change_own(&session.principal, async |act, principal| {
            let user = act.tx.user(&principal.user).await?.ok_or_else(Problem::not_found)?;
            let own = act.tx.identities(&user.id).await?;
            let identity = own.into_iter().find(|it| it.provider_id == id).ok_or_else(Problem::not_found)?;
            if act.tx.scim_user_of(&id, &user.id).await?.is_some() {
                // Whoever leaves there could keep the account.
                let text = format!(
                    "{} provisions your account. Nothing was changed. It ends with your account there.",
                    identity.provider_name
                );
                return Err(Problem::new(Code::InUse, text).into());
            }
            let by_password = user.password_hash.is_some() && accepts_password(act.tx, &user.id).await?;
            if !by_password && !act.tx.has_identity_beside(&user.id, &id).await? {
                let text = "Your account has no other way to sign in. Nothing was changed. Ask someone who manages people for a \
                    link to set a password first.";
                return Err(Problem::new(Code::InUse, text).into());
            }
            act.tx.delete_identity(&user.id, &id).await?;
            let event = Event::IdentityUnlinked {
                user_id: user.id.clone(),
                provider_id: id.clone(),
                provider_name: identity.provider_name,
            };
            act.audit(&event, About::target(&user.id)).await?;
            self.end_provider_sessions(act, &id, Some((&user, principal.session()))).await?;
            let own = act.tx.session(&session.id).await?;
            if own.is_some_and(|own| own.provider_id.as_ref() == Some(&id)) {
                match by_password {
                    // It cannot be confirmed there any more.
                    true => act.tx.set_session_provider(&session.id, None, None).await?,
                    false => drop(act.tx.end_session(&session.id, &user.id, act.now).await?),
                }
            }
            let Some(provider) = act.tx.provider(&id).await? else { return Ok(()) };
            let rows = act.tx.grants(&user.id).await?;
            let mut act = act.on_behalf_of(Author::from(policy(&provider)).at(&principal.origin));
            for row in rows.iter().filter(|row| row.source.as_ref().is_some_and(|it| it.provider == id)) {
                self.end_group_grant(&mut act, &provider, row).await?;
            }
            Ok(())
        })
        .await
    }
}

/// Unlinks every identity that was linked with an account by someone who was in it, and records each. The identity with which
/// the account was created stays. Returns the number.
pub(crate) async fn unlink_linked(act: &mut Act<'_>, user: &User) -> Result<u64, Error> {
    let before = act.tx.identities(&user.id).await?;
    let unlinked = act.tx.delete_linked_identities(&user.id, None).await?;
    if unlinked == 0 {
        return Ok(0);
    }
    let left = act.tx.identities(&user.id).await?;
    for identity in before.into_iter().filter(|it| !left.iter().any(|own| own.provider_id == it.provider_id))
    {
        let event = Event::IdentityUnlinked {
            user_id: user.id.clone(),
            provider_id: identity.provider_id,
            provider_name: identity.provider_name,
        };
        act.audit(&event, About::target(&user.id)).await?;
    }
    Ok(unlinked)
}
