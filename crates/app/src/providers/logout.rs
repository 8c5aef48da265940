//! Signing out at a provider, and sessions that a provider ends (OpenID Connect Back-Channel Logout).

use super::{refusal::Refusal, sign_in::policy};
use crate::{
    app::App,
    error::Error,
    frame::entry::{About, Author},
    people::sessions::Visitor,
};
use crossfade_core::{
    Code, Problem, UserId,
    address::wide_network,
    audit::Event,
    provider::{Expected, read_logout_token},
};
use crossfade_outbound::{ProviderLink, Providers};
use std::collections::BTreeMap;
use tokio::time::Instant;

impl App {
    /// Returns where a person is sent to sign out at a provider, too; `None` if it offers that nowhere or cannot be reached.
    pub async fn provider_sign_out_url(
        &self,
        provider: &str,
        visitor: &Visitor,
    ) -> Result<Option<String>, Error> {
        let provider = self.provider_for(provider, visitor).await?;
        match self.providers.metadata(&provider.issuer).await {
            Ok(metadata) => {
                Ok(Providers::end_session_url(&metadata, &provider.client_id, &self.post_logout_uri()))
            }
            Err(_) => Ok(None),
        }
    }

    /// Ends the sessions that a logout token names. `Err` within is what is wrong with the token.
    pub async fn log_out_by_provider(
        &self,
        provider: &str,
        token: &str,
        visitor: &Visitor,
    ) -> Result<Result<(), &'static str>, Error> {
        let provider = self.provider_for(provider, visitor).await?;
        let verified = match self.providers.verify(&provider.issuer, token, ProviderLink::Stranger).await {
            Ok(verified) => verified,
            Err(failure) => {
                let refusal = Refusal::from(failure);
                tracing::debug!(provider = %provider.id, reason = refusal.word(), "a logout token is refused");
                // Only what is refused counts: a provider ends the sessions of many people at a time.
                let network = wide_network(visitor.address()).to_string();
                if !self.provider_logouts.admit(&network, Instant::now()) {
                    let text = "Too many logout tokens from your network. Nothing was changed. Try again in 1 second.";
                    return Err(Problem::new(Code::TooManyRequests, text).retry_after(1).into());
                }
                return Ok(Err(refusal.word()));
            }
        };
        let now = self.clock.now();
        let expected = Expected { issuer: &provider.issuer, client_id: &provider.client_id, now };
        let logout = match read_logout_token(&verified.claims, expected) {
            Ok(logout) => logout,
            Err(fault) => return Ok(Err(fault.as_str())),
        };
        let author = Author::from(policy(&provider)).at(&visitor.origin);
        self.change_as(author, async |act| {
            if !act.tx.take_logout_token(&provider.id, &logout.jti, logout.until, act.now).await? {
                return Ok(Err("token_replayed"));
            }
            let account = match &logout.subject {
                None => None,
                Some(subject) => match act.tx.identity(&provider.id, subject).await? {
                    Some(identity) => Some(identity.user_id),
                    // Nobody here, so there is nothing to end.
                    None => return Ok(Ok(())),
                },
            };
            let sessions =
                act.tx.provider_sessions(&provider.id, account.as_ref(), logout.sid.as_deref()).await?;
            let mut ended: BTreeMap<UserId, u64> = BTreeMap::new();
            for session in sessions {
                if act.tx.end_session(&session.id, &session.user_id, act.now).await? {
                    act.tx.end_links_by_session(&session.id).await?;
                    *ended.entry(session.user_id).or_default() += 1;
                }
            }
            for (user, sessions) in ended {
                let event = Event::SessionLoggedOut { provider_id: provider.id.clone(), sessions };
                act.audit(&event, About::target(&user)).await?;
            }
            Ok(Ok(()))
        })
        .await
    }
}
