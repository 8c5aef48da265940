//! The history of the database: which journal and server it was last used with, and whether it is in quarantine.

use crate::{StoreError, Tx, Value, catalogue::statements, db::Row};
use crossfade_core::{
    Timestamp,
    ended::{Cause, EndHash},
    messages::AbandonedAs,
};

/// What the database says about its own history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History {
    /// Number of the last noted end.
    pub end_seq: i64,
    /// Running hash up to that end; `None` before the first one that was noted with a hash.
    pub end_hash: Option<EndHash>,
    /// Whether changes note what they end.
    pub is_noting: bool,
    /// Journal that it was last used with, or the release after which the next journal is adopted; `None` if it never
    /// had one.
    pub journal: Option<String>,
    /// PostgreSQL server it was last served on.
    pub system_id: Option<i64>,
    /// The quarantine it is in.
    pub quarantine: Option<QuarantineRow>,
}

/// Before the ID of a release, in the place of the ID of a journal.
const RELEASE: &str = "release ";

impl History {
    /// Returns the ID of the release after which the next journal is adopted.
    pub fn release(&self) -> Option<&str> {
        match self.journal.as_deref()? {
            // Released by an earlier version, which gave releases no IDs.
            "" => Some(""),
            journal => journal.strip_prefix(RELEASE),
        }
    }

    /// Returns the ID of the journal that it was last used with.
    pub fn journal_id(&self) -> Option<&str> {
        self.journal.as_deref().filter(|_| self.release().is_none())
    }
}

/// A quarantine: nothing is decided from the database until an Owner releases it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuarantineRow {
    /// When it began.
    pub since: Timestamp,
    /// Why.
    pub cause: Cause,
    /// Highest time in the database when it began.
    pub data_until: Timestamp,
}

/// A secret that the database holds as valid.
#[derive(Clone, Debug)]
pub struct HeldSecret {
    /// ID of the client.
    pub client_id: String,
    /// Name of the client.
    pub client: String,
    /// Slug of the environment.
    pub environment: String,
    /// ID of the registration.
    pub registration_id: String,
    /// The OAuth `client_id`.
    pub oauth_client_id: String,
    /// The secret.
    pub secret_id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its deadline; `None` if it is current.
    pub expires_at: Option<Timestamp>,
    /// Its last recorded use.
    pub last_used_at: Option<Timestamp>,
}

/// An API token that the database holds as valid.
#[derive(Clone, Debug)]
pub struct HeldToken {
    /// The token.
    pub id: String,
    /// Its name.
    pub name: String,
    /// ID of its account.
    pub user_id: String,
    /// Name of its account.
    pub user: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its last recorded use.
    pub last_used_at: Option<Timestamp>,
}

/// A role that the database holds as granted.
#[derive(Clone, Debug)]
pub struct HeldGrant {
    /// The grant.
    pub id: String,
    /// The role.
    pub role: String,
    /// ID of the account.
    pub user_id: String,
    /// Name of the account.
    pub user: String,
    /// Its property, if it is limited to one.
    pub property_id: Option<String>,
    /// Its client, if it is limited to one.
    pub client_id: Option<String>,
}

statements! {
    ENDS = "SELECT one, end_seq, end_hash, noting FROM head";
    HISTORY = "SELECT one, journal, system_id FROM history";
    QUARANTINE = "SELECT one, since, cause, data_until FROM quarantine";
    SET_HISTORY = "INSERT INTO history (one, journal, system_id) VALUES (1, $1, $2)
                   ON CONFLICT (one) DO UPDATE SET journal = excluded.journal, system_id = excluded.system_id";
    SET_NOTING = "UPDATE head SET noting = $1 WHERE one = 1";
    START = "INSERT INTO quarantine (one, since, cause, data_until) VALUES (1, $1, $2, $3)
             ON CONFLICT (one) DO UPDATE SET since = excluded.since, cause = excluded.cause, data_until = excluded.data_until";
    END = "DELETE FROM quarantine";
    END_SESSIONS = "DELETE FROM sessions";
    END_LINKS = "DELETE FROM links";
    END_DEVICES = "DELETE FROM devices";
    END_TOKENS = "UPDATE registrations SET token_generation = token_generation + $1, version = version + 1";
    DISABLE = "UPDATE registrations SET disabled_at = $2, token_generation = token_generation + 1, version = version + 1
               WHERE (id = $1 OR client_id = $1) AND disabled_at IS NULL";
    REGISTERED = "SELECT id FROM registrations WHERE id = $1 OR client_id = $1 LIMIT 1";
    HELD_SECRETS = "SELECT s.id, s.created_at, s.expires_at, s.registration_id, r.environment, r.oauth_client_id, c.id AS client_id, c.name,
                        u.last_used_at
                    FROM secrets s JOIN registrations r ON r.id = s.registration_id JOIN clients c ON c.id = r.client_id
                    LEFT JOIN secret_usage u ON u.secret_id = s.id
                    WHERE s.revoked_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > $1)
                      AND r.disabled_at IS NULL AND c.deleted_at IS NULL
                    ORDER BY c.name_key, c.id, r.environment, s.number DESC LIMIT $2";
    HELD_TOKENS = "SELECT t.id, t.name, t.user_id, t.created_at, t.last_used_at, u.name AS user_name FROM api_tokens t JOIN users u ON u.id = t.user_id
                   WHERE t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $1) AND u.deleted_at IS NULL
                   ORDER BY u.name_key, u.id, t.created_at, t.id LIMIT $2";
    HELD_GRANTS = "SELECT g.id, g.role, g.user_id, g.property_id, g.client_id, u.name AS user_name FROM grants g JOIN users u ON u.id = g.user_id
                   WHERE u.deleted_at IS NULL ORDER BY u.name_key, u.id, g.created_at, g.id LIMIT $1";
}

impl Tx {
    /// Reads what the database says about its own history.
    pub async fn history(&mut self) -> Result<History, StoreError> {
        let head = self.one(ENDS, vec![]).await?;
        let history = self.optional(HISTORY, vec![]).await?;
        let (journal, system_id) = match &history {
            Some(row) => (row.opt_text("journal")?, row.opt_int("system_id")?),
            None => (None, None),
        };
        Ok(History {
            end_seq: head.int("end_seq")?,
            end_hash: head.opt_blob("end_hash")?.as_deref().and_then(EndHash::from_bytes),
            is_noting: head.flag("noting")?,
            journal,
            system_id,
            quarantine: self.quarantine().await?,
        })
    }

    /// Returns the quarantine that the database is in.
    pub async fn quarantine(&mut self) -> Result<Option<QuarantineRow>, StoreError> {
        let row = self.optional(QUARANTINE, vec![]).await?;
        let quarantine = |row: &Row| {
            Ok(QuarantineRow {
                since: row.time("since")?,
                cause: row.parsed("cause", Cause::parse)?,
                data_until: row.time("data_until")?,
            })
        };
        row.as_ref().map(quarantine).transpose()
    }

    /// Records the journal and the server that the database is used with.
    pub async fn set_history(
        &mut self,
        journal: Option<&str>,
        system_id: Option<i64>,
    ) -> Result<(), StoreError> {
        self.execute(SET_HISTORY, vec![journal.into(), system_id.into()]).await.map(drop)
    }

    /// Records a release: the next journal is adopted, and the server that the database is on is remembered then.
    pub async fn set_released(&mut self, release: &str) -> Result<(), StoreError> {
        self.set_history(Some(&format!("{RELEASE}{release}")), None).await
    }

    /// Sets whether later changes note what they end. This transaction notes nothing.
    pub async fn set_noting(&mut self, is_noting: bool) -> Result<(), StoreError> {
        self.note_nothing();
        self.execute(SET_NOTING, vec![is_noting.into()]).await.map(drop)
    }

    /// Begins a quarantine. Sessions, one-time links and known browsers end, because any of them may have ended before,
    /// and queued messages are not sent.
    pub async fn start_quarantine(&mut self, row: &QuarantineRow) -> Result<(), StoreError> {
        self.set_noting(false).await?;
        // What the database was copied from sends its own messages.
        self.abandon_deliveries(row.since, AbandonedAs::Quarantine).await?;
        self.execute(START, vec![row.since.into(), row.cause.as_str().into(), row.data_until.into()]).await?;
        self.end_entries().await
    }

    /// Ends the quarantine.
    pub async fn end_quarantine(&mut self) -> Result<(), StoreError> {
        self.execute(END, vec![]).await.map(drop)
    }

    /// Ends all sessions, one-time links and known browsers.
    pub async fn end_entries(&mut self) -> Result<(), StoreError> {
        for statement in [END_SESSIONS, END_LINKS, END_DEVICES] {
            self.execute(statement, vec![]).await?;
        }
        Ok(())
    }

    /// Ends all access tokens, for introspection, by increasing the token generation of each registration.
    pub async fn end_all_access_tokens(&mut self, generations: i64) -> Result<u64, StoreError> {
        self.execute(END_TOKENS, vec![generations.into()]).await
    }

    /// Disables the registration or the registrations of the client with this ID. Returns whether there is one.
    pub async fn disable_registrations(&mut self, id: &str, now: Timestamp) -> Result<bool, StoreError> {
        self.execute(DISABLE, vec![id.into(), now.into()]).await?;
        Ok(self.optional(REGISTERED, vec![id.into()]).await?.is_some())
    }

    /// Returns secrets that are valid at `now`, by client, environment and age.
    pub async fn held_secrets(&mut self, now: Timestamp, limit: i64) -> Result<Vec<HeldSecret>, StoreError> {
        let secret = |row: &Row| {
            Ok(HeldSecret {
                client_id: row.text("client_id")?,
                client: row.text("name")?,
                environment: row.text("environment")?,
                registration_id: row.text("registration_id")?,
                oauth_client_id: row.text("oauth_client_id")?,
                secret_id: row.text("id")?,
                created_at: row.time("created_at")?,
                expires_at: row.opt_time("expires_at")?,
                last_used_at: row.opt_time("last_used_at")?,
            })
        };
        self.rows(HELD_SECRETS, vec![now.into(), limit.into()]).await?.iter().map(secret).collect()
    }

    /// Returns API tokens that are valid at `now`, by account.
    pub async fn held_tokens(&mut self, now: Timestamp, limit: i64) -> Result<Vec<HeldToken>, StoreError> {
        let token = |row: &Row| {
            Ok(HeldToken {
                id: row.text("id")?,
                name: row.text("name")?,
                user_id: row.text("user_id")?,
                user: row.text("user_name")?,
                created_at: row.time("created_at")?,
                last_used_at: row.opt_time("last_used_at")?,
            })
        };
        self.rows(HELD_TOKENS, vec![now.into(), limit.into()]).await?.iter().map(token).collect()
    }

    /// Returns granted roles, by account.
    pub async fn held_grants(&mut self, limit: i64) -> Result<Vec<HeldGrant>, StoreError> {
        let grant = |row: &Row| {
            Ok(HeldGrant {
                id: row.text("id")?,
                role: row.text("role")?,
                user_id: row.text("user_id")?,
                user: row.text("user_name")?,
                property_id: row.opt_text("property_id")?,
                client_id: row.opt_text("client_id")?,
            })
        };
        self.rows(HELD_GRANTS, vec![Value::from(limit)]).await?.iter().map(grant).collect()
    }
}
