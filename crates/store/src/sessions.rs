//! Sessions of people in the Console.

use crate::{StoreError, Tx, catalogue::statements, db::Row};
use crossfade_core::{ProviderId, SessionId, Timestamp, UserId};
use std::collections::HashMap;

/// A stored session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// ID.
    pub id: SessionId,
    /// Account it belongs to.
    pub user_id: UserId,
    /// Start.
    pub created_at: Timestamp,
    /// Last time the person authenticated, with the password or at the provider.
    pub authenticated_at: Timestamp,
    /// Last request, to the minute.
    pub last_seen_at: Timestamp,
    /// Address it was started from.
    pub source_ip: String,
    /// User agent it was started with.
    pub user_agent: String,
    /// Provider it was begun with; `None`: with a password or a one-time link.
    pub provider_id: Option<ProviderId>,
}

statements! {
    INSERT = "INSERT INTO sessions (id, user_id, digest, created_at, authenticated_at, last_seen_at, source_ip, user_agent, provider_id, keyed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)";
    BY_DIGEST = "SELECT s.id, s.user_id, s.created_at, s.authenticated_at, s.last_seen_at, s.source_ip, s.user_agent, s.provider_id
                 FROM sessions s JOIN users u ON u.id = s.user_id
                 WHERE s.digest = $1 AND s.ended_at IS NULL AND u.deleted_at IS NULL";
    OF_USER = "SELECT id, user_id, created_at, authenticated_at, last_seen_at, source_ip, user_agent, provider_id FROM sessions
               WHERE user_id = $1 AND ended_at IS NULL AND created_at > $2 AND last_seen_at > $3
               ORDER BY created_at DESC, id DESC LIMIT $4";
    USERS_OF = "SELECT s.id, s.user_id FROM sessions s JOIN (VALUES {rows:1}) AS v ON s.id = v.column1";
    SEEN = "UPDATE sessions SET last_seen_at = $2 WHERE id = $1 AND last_seen_at < $2";
    CONFIRM = "UPDATE sessions SET digest = $2, keyed = 1, authenticated_at = $3, last_seen_at = $3 WHERE id = $1 AND ended_at IS NULL";
    BY_ID = "SELECT s.id, s.user_id, s.created_at, s.authenticated_at, s.last_seen_at, s.source_ip, s.user_agent, s.provider_id
             FROM sessions s JOIN users u ON u.id = s.user_id
             WHERE s.id = $1 AND s.ended_at IS NULL AND u.deleted_at IS NULL";
    END = "UPDATE sessions SET ended_at = $3 WHERE id = $1 AND user_id = $2 AND ended_at IS NULL";
    END_OTHERS = "UPDATE sessions SET ended_at = $2 WHERE user_id = $1 AND ended_at IS NULL AND (CAST($3 AS TEXT) IS NULL OR id <> $3)";
    FORGET = "DELETE FROM sessions WHERE created_at < $1";
}

fn session(row: &Row) -> Result<SessionRow, StoreError> {
    Ok(SessionRow {
        id: row.parsed("id", |text| SessionId::parse(text).ok())?,
        user_id: row.parsed("user_id", |text| UserId::parse(text).ok())?,
        created_at: row.time("created_at")?,
        authenticated_at: row.time("authenticated_at")?,
        last_seen_at: row.time("last_seen_at")?,
        source_ip: row.text("source_ip")?,
        user_agent: row.text("user_agent")?,
        provider_id: row.opt_parsed("provider_id", |text| ProviderId::parse(text).ok())?,
    })
}

impl Tx {
    /// Returns the accounts of sessions, even of ended ones, in one statement.
    pub async fn users_of_sessions(
        &mut self,
        ids: &[SessionId],
    ) -> Result<HashMap<SessionId, UserId>, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| vec![id.as_str().into()]).collect();
        let user = |row: &Row| {
            let id = row.parsed("id", |text| SessionId::parse(text).ok())?;
            Ok((id, row.parsed("user_id", |text| UserId::parse(text).ok())?))
        };
        self.look_up(USERS_OF, &keys).await?.iter().map(user).collect()
    }

    /// Stores a session by its keyed digest, and forgets sessions started before `forget`.
    pub async fn insert_session(
        &mut self,
        new: &SessionRow,
        digest: &[u8],
        forget: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(FORGET, vec![forget.into()]).await?;
        let args = vec![
            new.id.as_str().into(),
            new.user_id.as_str().into(),
            digest.into(),
            new.created_at.into(),
            new.authenticated_at.into(),
            new.last_seen_at.into(),
            new.source_ip.as_str().into(),
            new.user_agent.as_str().into(),
            new.provider_id.as_ref().map(ProviderId::as_str).into(),
        ];
        self.execute(INSERT, args).await?;
        self.active(&new.user_id, new.created_at).await
    }

    /// Returns the session with this digest, if it was not ended and its account still exists. The caller checks
    /// whether it has expired.
    pub async fn session_by_digest(&mut self, digest: &[u8]) -> Result<Option<SessionRow>, StoreError> {
        self.optional(BY_DIGEST, vec![digest.into()]).await?.as_ref().map(session).transpose()
    }

    /// Returns a session, if it was not ended and its account still exists. The caller checks whether it has expired.
    pub async fn session(&mut self, id: &SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.optional(BY_ID, vec![id.as_str().into()]).await?.as_ref().map(session).transpose()
    }

    /// Returns the sessions of an account that were not ended, started after `began` and were used after `seen`, newest
    /// first.
    pub async fn sessions_of(
        &mut self,
        user: &UserId,
        began: Timestamp,
        seen: Timestamp,
        limit: i64,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let args = vec![user.as_str().into(), began.into(), seen.into(), limit.into()];
        self.rows(OF_USER, args).await?.iter().map(session).collect()
    }

    /// Records a request.
    pub async fn touch_session(&mut self, id: &SessionId, at: Timestamp) -> Result<(), StoreError> {
        self.execute(SEEN, vec![id.as_str().into(), at.into()]).await?;
        self.active_in_session(id, at).await
    }

    /// Records that the password was entered again, and changes the digest of the session.
    pub async fn confirm_session(
        &mut self,
        id: &SessionId,
        digest: &[u8],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(CONFIRM, vec![id.as_str().into(), digest.into(), at.into()]).await.map(drop)
    }

    /// Ends a session of an account. Returns whether there was one to end.
    pub async fn end_session(
        &mut self,
        id: &SessionId,
        user: &UserId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let args = vec![id.as_str().into(), user.as_str().into(), now.into()];
        Ok(self.execute(END, args).await? > 0)
    }

    /// Ends every session of an account, or every session except `except`. Returns the number of ended sessions. Also
    /// removes the known browsers of the account and its sign-ins that wait for a code, and the one-time links created
    /// in any of its sessions, because someone with a copy of the remaining cookie may have created them.
    pub async fn end_sessions(
        &mut self,
        user: &UserId,
        except: Option<&SessionId>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let args = vec![user.as_str().into(), now.into(), except.map(SessionId::as_str).into()];
        self.end_devices(user).await?;
        self.end_pending_sign_ins(user).await?;
        self.end_links_by_sessions(user).await?;
        self.end_logins_of(user).await?;
        self.execute(END_OTHERS, args).await
    }
}
