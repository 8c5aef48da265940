//! A request of a provider: whose it is, and its change in one transaction.

use crate::{
    app::App,
    error::Error,
    frame::{act::Act, entry::Author, principal::Intent},
};
use crossfade_core::{
    Code, Problem, ProviderId, ProvisioningTokenId, Timestamp,
    audit::{Actor, Origin},
    secret::{SecretKind, SecretValue},
};
use crossfade_store::{Provider, Tx};
use tokio::time::Instant;

/// A provider that was authenticated by its provisioning token.
#[derive(Clone, Debug)]
pub struct Provisioner {
    pub(super) id: ProviderId,
    digest: Vec<u8>,
    origin: Origin,
}

/// Returns who does what a provider says.
pub(super) fn provisioning(provider: &Provider) -> Actor {
    Actor::policy(provider.id.as_str(), &format!("Provisioning by {}", provider.name))
}

fn unauthenticated() -> Error {
    let text = "Send a valid provisioning token of this provider as Authorization: Bearer. This token is unknown, expired or ended, \
        belongs to another provider, or its provider is disabled.";
    Problem::new(Code::Unauthenticated, text).with_field("Authorization").into()
}

/// Returns the provider of a token, and the token, if both are valid.
async fn provider_of(
    tx: &mut Tx,
    id: &ProviderId,
    digest: &[u8],
    (origin, now): (&Origin, Timestamp),
) -> Result<(Provider, ProvisioningTokenId), Error> {
    let token = tx.provisioning_token(digest).await?.ok_or_else(unauthenticated)?;
    if token.expires_at <= now || token.provider_id != *id {
        return Err(unauthenticated());
    }
    let is_allowed = |ip| token.allowed_networks.as_ref().is_none_or(|networks| networks.contain(ip));
    if !origin.ip.is_some_and(is_allowed) && token.allowed_networks.is_some() {
        tracing::warn!(provider = %id, "a provisioning token is used from another network than it is for");
        let text = "This provisioning token cannot be used from your network. Nothing was changed.";
        return Err(Problem::new(Code::Forbidden, text).into());
    }
    let provider = tx.provider(id).await?.filter(|provider| provider.disabled_at.is_none());
    Ok((provider.ok_or_else(unauthenticated)?, token.id))
}

impl App {
    /// Authenticates a provider, for requests to the path of that provider alone.
    pub async fn authenticate_provisioner(
        &self,
        provider: &str,
        token: &str,
        origin: Origin,
        intent: Intent,
    ) -> Result<Provisioner, Error> {
        let value = SecretValue::parse(SecretKind::Provisioning, token).ok_or_else(unauthenticated)?;
        let id = ProviderId::parse(provider).map_err(|_| unauthenticated())?;
        let digest = self.digests.provisioning_token(value.reveal());
        let now = self.clock.now();
        let look = async |tx: &mut Tx| provider_of(tx, &id, &digest, (&origin, now)).await;
        let (_, token) = self.look_up(&digest, origin.ip, intent, look).await?;
        if !self.provisioning_requests.admit(&id, Instant::now()) {
            let text = "Too many requests of this provider. Nothing was changed. Try again in 1 second.";
            return Err(Problem::new(Code::TooManyRequests, text).retry_after(1).into());
        }
        self.node.touched_by_providers.note(&token, now);
        Ok(Provisioner { id, digest, origin })
    }

    /// Runs a change of a provider. Its token is checked again in the transaction, because it may have ended since.
    pub(super) async fn provision<T>(
        &self,
        by: &Provisioner,
        work: impl AsyncFnOnce(&mut Act<'_>, &Provider) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.node
            .transact(async |tx, now| {
                let (provider, _) = provider_of(tx, &by.id, &by.digest, (&by.origin, now)).await?;
                let author = Author::from(provisioning(&provider)).at(&by.origin);
                work(&mut self.act(tx, now, author), &provider).await
            })
            .await
    }

    /// Reads for a provider.
    pub(super) async fn provisioned<T>(
        &self,
        by: &Provisioner,
        work: impl AsyncFnOnce(&mut Tx, &Provider) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let now = self.clock.now();
        self.read(async |tx| {
            let (provider, _) = provider_of(tx, &by.id, &by.digest, (&by.origin, now)).await?;
            work(tx, &provider).await
        })
        .await
    }

    /// Returns the author of what a provider does.
    pub(super) fn author_of(&self, by: &Provisioner, provider: &Provider) -> Author {
        Author::from(provisioning(provider)).at(&by.origin)
    }

    /// Writes when provisioning tokens were last used. Only the worker does this: a read must not cause a write.
    pub(crate) async fn write_provisioning_token_uses(&self) -> Result<(), Error> {
        let touched = self.node.touched_by_providers.take(self.clock.now());
        if touched.is_empty() {
            return Ok(());
        }
        let written = self.node.write(async |tx, _| {
            for (token, at) in &touched {
                tx.touch_provisioning_token(token, *at).await?;
            }
            Ok(())
        });
        let written = written.await;
        if written.is_err() {
            self.node.touched_by_providers.put_back(&touched);
        }
        written.map(drop)
    }
}
