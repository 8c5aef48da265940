//! Revokes an access token on behalf of the client that it was issued to (RFC 7009).

use crate::{act::About, app::App, error::Error};
use crossfade_authority::{ActiveToken, Client};
use crossfade_core::{
    Timestamp,
    audit::{Actor, Event},
};
use crossfade_store::ChangeKind;

impl App {
    /// Revokes a token of this client. It is inactive on this node when the call returns.
    pub async fn revoke_token(&self, client: &Client, token: &ActiveToken) -> Result<(), Error> {
        let claims = &token.0;
        let actor = Actor::Client { id: client.client_id().clone(), name: client.client_id().to_string() };
        let until = Timestamp::from_seconds(claims.exp);
        let _turn = self.background_turn().await;
        self.transact(async |tx, now| {
            if !tx.revoke_access_token(&claims.jti, until, now).await? {
                return Ok(());
            }
            tx.append_change(&ChangeKind::AccessToken(claims.jti.clone())).await?;
            let event = Event::AccessTokenRevoked {
                registration_id: client.registration().clone(),
                secret_id: claims.crossfade_secret.to_string(),
                expires_at: until,
            };
            Ok(tx.append_audit(&About::target(&claims.jti).event(now, actor, &event)).await?)
        })
        .await
    }
}
