//! Revokes access tokens for the clients they were issued to (RFC 7009).

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        entry::{About, Author},
    },
    node::{addresses::Addresses, revocations::WaitingRevocation},
};
use crossfade_authority::{Claims, Client};
use crossfade_core::{
    SecretId, Timestamp, address,
    audit::{Actor, Event, Origin},
};
use crossfade_store::{ChangeKind, RevocationSum, TokenRevocation};
use std::time::Duration;
use tokio::sync::oneshot;

/// Maximum number of revocations by one registration in an hour recorded individually; the total of the hour follows.
const MAX_RECORDED_PER_HOUR: i64 = 20;
/// Maximum number of groups by secret and address in the totals of a registration's hour.
const MAX_GROUPS: usize = 20;
/// How long after its end an hour is totalled: a revocation that waited for the lock belongs to the time at which it
/// got the lock.
const SUMMED_AFTER: Duration = Duration::from_secs(60);

impl App {
    /// Revokes a token of this client. The token is inactive on every node when the call returns.
    pub async fn revoke_token(&self, client: &Client, claims: &Claims, origin: Origin) -> Result<(), Error> {
        let (done, mut answer) = oneshot::channel();
        self.node.revocations.add(WaitingRevocation {
            jti: claims.jti.clone(),
            expires_at: Timestamp::from_seconds(claims.exp),
            registration: client.registration().clone(),
            secret: SecretId::parse(&claims.crossfade_secret).map_err(Error::internal)?,
            origin,
            done,
        });
        let storing = self.node.revocations.storing.lock().await;
        let stored = loop {
            match answer.try_recv() {
                Ok(done) => break done?,
                // Taken by a task that ended before it could answer.
                Err(oneshot::error::TryRecvError::Closed) => {
                    return Err(Error::internal("a revocation was lost"));
                }
                Err(oneshot::error::TryRecvError::Empty) => self.store_revocations().await,
            }
        };
        // The next ones are stored while this one waits for other nodes.
        drop(storing);
        self.node.enforced(stored).await.map(drop)
    }

    /// Stores waiting revocations and answers their requests.
    async fn store_revocations(&self) {
        let mut taken = Vec::new();
        let stored = self
            .stored_here(Actor::machine("serve"), async |act| {
                // Taken under the lock, so that everything that arrived while waiting for it is stored together.
                taken = self.node.revocations.take();
                store(act, &taken, &self.node.addresses).await
            })
            .await;
        if taken.is_empty() {
            taken = self.node.revocations.take();
        }
        let answer = stored.map(|((), stored)| stored).map_err(|error| {
            tracing::error!(%error, tokens = taken.len(), "cannot revoke access tokens");
            error.problem
        });
        for waiting in taken {
            // A client that hung up needs no answer.
            let _ = waiting.done.send(answer.clone());
        }
    }

    /// Records the totals of revocations for hours that have ended.
    pub(crate) async fn sum_token_revocations(&self) -> Result<(), Error> {
        self.change_as(Actor::machine("serve"), async |act| {
            let before = act.now.before(SUMMED_AFTER);
            for RevocationSum { hour, revocation, last_at, count } in
                act.tx.sum_token_revocations(MAX_RECORDED_PER_HOUR, before).await?
            {
                let place = act.tx.place_of_registration(&revocation.registration_id).await?;
                let event = Event::AccessTokenRevocations {
                    registration_id: revocation.registration_id,
                    secret_id: revocation.secret_id,
                    since: hour,
                    last_at,
                    count,
                };
                let stored = Some(revocation.source_ip).filter(|text| !text.is_empty());
                let origin = Origin { stored, ..Origin::default() };
                let client = Author::client(place.as_ref()).at(&origin);
                act.on_behalf_of(client).audit(&event, About::place(place.as_ref())).await?;
            }
            Ok(())
        })
        .await
    }
}

async fn store(act: &mut Act<'_>, waiting: &[WaitingRevocation], addresses: &Addresses) -> Result<(), Error> {
    let tokens: Vec<_> = waiting.iter().map(|it| (it.jti.clone(), it.expires_at)).collect();
    let mut first = act.tx.revoke_access_tokens(&tokens, act.now).await?;
    // A token that several requests revoke is revoked by the first of them.
    let revoked: Vec<&WaitingRevocation> = waiting.iter().filter(|it| first.remove(&it.jti)).collect();
    if revoked.len() < waiting.len() {
        act.tx.confirm_ends();
    }
    let changes: Vec<_> = revoked.iter().map(|it| ChangeKind::AccessToken(it.jti.clone())).collect();
    act.all_changed(&changes).await?;
    let counted: Vec<_> = revoked
        .iter()
        .map(|it| TokenRevocation {
            registration_id: it.registration.clone(),
            secret_id: it.secret.clone(),
            source_ip: it.origin.ip.map(|ip| addresses.kept(address::network(ip))).unwrap_or_default(),
        })
        .collect();
    let ordinals = act.tx.count_token_revocations(&counted, MAX_GROUPS, act.now).await?;
    for (revoked, ordinal) in revoked.into_iter().zip(ordinals) {
        if ordinal > MAX_RECORDED_PER_HOUR {
            continue;
        }
        let place = act.tx.place_of_registration(&revoked.registration).await?;
        let event = Event::AccessTokenRevoked {
            registration_id: revoked.registration.clone(),
            secret_id: revoked.secret.clone(),
            expires_at: revoked.expires_at,
        };
        let client = Author::client(place.as_ref()).at(&revoked.origin);
        let about = About { target: Some(revoked.jti.clone()), ..About::place(place.as_ref()) };
        act.on_behalf_of(client).audit(&event, about).await?;
    }
    Ok(())
}
