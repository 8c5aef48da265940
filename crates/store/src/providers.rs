//! OpenID Connect providers, who people are there, and what their sign-ins leave behind.

use crate::{PageStart, StoreError, Tx, access::words_json, catalogue::statements, db::Row, ends::Noted};
use crossfade_core::{
    ProviderId, SessionId, Timestamp, UserId,
    api::{GroupGrant, Identity},
    provider::{ClientAuthentication, DEFAULT_EXTERNAL_ID_CLAIM, GroupsFrom},
    text::Name,
};
use std::collections::HashMap;

/// A stored provider.
#[derive(Clone, PartialEq, Eq)]
pub struct Provider {
    /// ID.
    pub id: ProviderId,
    /// Name.
    pub name: Name,
    /// Issuer identifier.
    pub issuer: String,
    /// `client_id` of Crossfade there.
    pub client_id: String,
    /// Client secret, sealed.
    pub client_secret: Option<Vec<u8>>,
    /// How Crossfade authenticates at the token endpoint.
    pub client_authentication: ClientAuthentication,
    /// Scopes to request.
    pub scopes: Vec<String>,
    /// Domains for which accounts are created.
    pub domains: Vec<String>,
    /// Claim that lists the groups of a person.
    pub groups_claim: String,
    /// Authentication context classes of which each sign-in needs one; empty: any.
    pub acr_values: Vec<String>,
    /// Roles that groups give.
    pub group_grants: Vec<GroupGrant>,
    /// Where the groups of people come from.
    pub groups_from: GroupsFrom,
    /// Claim that says who a person is in provisioning.
    pub external_id_claim: String,
    /// When it was disabled; `None` if it is enabled.
    pub disabled_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Version, increased by every change.
    pub version: i64,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Provider({})", self.id)
    }
}

/// The account of a subject of a provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityRow {
    /// The provider.
    pub provider_id: ProviderId,
    /// Subject at the provider.
    pub subject: String,
    /// The account.
    pub user_id: UserId,
    /// Whether the account was created with it.
    pub created_account: bool,
    /// When the account was created or linked with it.
    pub created_at: Timestamp,
    /// Value of the claim that says who the person is in provisioning, at the last sign-in.
    pub external_id: Option<String>,
}

/// A session that was begun with a provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderSession {
    /// The session.
    pub id: SessionId,
    /// Its account.
    pub user_id: UserId,
}

macro_rules! columns {
    () => {
        "id, name, issuer, client_id, client_secret, client_authentication, scopes, domains, groups_claim, acr_values, group_grants, disabled_at, created_at, version, external_id_claim, groups_from"
    };
}

statements! {
    INSERT = "INSERT INTO providers (id, name, issuer, client_id, client_secret, client_authentication, scopes, domains, groups_claim, acr_values, group_grants, created_at, version, external_id_claim, groups_from)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1, $13, $14)";
    GET = concat!("SELECT ", columns!(), " FROM providers WHERE id = $1 AND deleted_at IS NULL");
    LIST = concat!("SELECT ", columns!(), " FROM providers
            WHERE deleted_at IS NULL AND (CAST($1 AS BIGINT) IS NULL OR created_at > $1 OR (created_at = $1 AND id > $2))
            ORDER BY created_at, id LIMIT $3");
    ENABLED = concat!("SELECT ", columns!(), " FROM providers WHERE deleted_at IS NULL AND disabled_at IS NULL ORDER BY created_at, id");
    NAMES = "SELECT id, name FROM providers WHERE deleted_at IS NULL ORDER BY id";
    UPDATE = "UPDATE providers SET name = $2, issuer = $3, client_id = $4, client_secret = $5, client_authentication = $6, scopes = $7, domains = $8,
              groups_claim = $9, acr_values = $10, group_grants = $11, disabled_at = $12, external_id_claim = $13, groups_from = $14, version = version + 1 WHERE id = $1";
    DELETE = "UPDATE providers SET deleted_at = $2, client_secret = NULL, version = version + 1 WHERE id = $1";
    SEALED = "SELECT id, client_secret FROM providers WHERE client_secret IS NOT NULL ORDER BY id";
    INSERT_IDENTITY = "INSERT INTO identities (provider_id, subject, user_id, created_account, created_at, last_used_at, external_id) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    IDENTITY = "SELECT provider_id, subject, user_id, created_account, created_at, external_id FROM identities WHERE provider_id = $1 AND subject = $2";
    IDENTITIES_BY_EXTERNAL_ID = "SELECT provider_id, subject, user_id, created_account, created_at, external_id FROM identities
                                 WHERE provider_id = $1 AND external_id = $2 ORDER BY subject";
    SUBJECTS_AS_EXTERNAL_IDS = "UPDATE identities SET external_id = subject WHERE provider_id = $1";
    FORGET_EXTERNAL_IDS = "UPDATE identities SET external_id = NULL WHERE provider_id = $1";
    IDENTITIES_OF = "SELECT i.user_id, i.provider_id, i.subject, i.created_at, i.last_used_at, p.name FROM identities i
                     JOIN providers p ON p.id = i.provider_id JOIN (VALUES {rows:1}) AS v ON i.user_id = v.column1 ORDER BY i.created_at, i.provider_id";
    USABLE = "SELECT i.provider_id FROM identities i JOIN providers p ON p.id = i.provider_id
              WHERE i.user_id = $1 AND i.provider_id <> $2 AND p.deleted_at IS NULL AND p.disabled_at IS NULL LIMIT 1";
    USED = "UPDATE identities SET last_used_at = $3, external_id = $4 WHERE provider_id = $1 AND subject = $2";
    DELETE_IDENTITY = "DELETE FROM identities WHERE user_id = $1 AND provider_id = $2";
    DELETE_LINKED = "DELETE FROM identities WHERE user_id = $1 AND created_account = 0 AND (CAST($2 AS TEXT) IS NULL OR provider_id <> $2) RETURNING provider_id";
    DELETE_IDENTITY_UNTIL = "DELETE FROM identities WHERE user_id = $1 AND provider_id = $2 AND created_at <= $3";
    DISABLE = "UPDATE providers SET disabled_at = $2, version = version + 1 WHERE id = $1 AND disabled_at IS NULL";
    // Its address is another person's now, so the next closing of the account ends it like a linked one.
    DISOWN = "UPDATE identities SET created_account = 0 WHERE user_id = $1 AND (CAST($2 AS TEXT) IS NULL OR provider_id <> $2)";
    ANY_USABLE = "SELECT i.provider_id FROM identities i JOIN providers p ON p.id = i.provider_id
                  WHERE i.user_id = $1 AND p.deleted_at IS NULL AND p.disabled_at IS NULL LIMIT 1";
    DELETE_IDENTITIES_OF = "DELETE FROM identities WHERE user_id = $1";
    DELETE_IDENTITIES_AT = "DELETE FROM identities WHERE provider_id = $1";
    BEGIN = "UPDATE sessions SET provider_id = $2, provider_sid = $3 WHERE id = $1";
    SESSIONS = "SELECT id, user_id FROM sessions WHERE provider_id = $1 AND ended_at IS NULL
                  AND (CAST($2 AS TEXT) IS NULL OR user_id = $2) AND (CAST($3 AS TEXT) IS NULL OR provider_sid = $3
                       OR (CAST($2 AS TEXT) IS NOT NULL AND provider_sid IS NULL)) ORDER BY id";
    INSERT_LOGOUT = "INSERT INTO logout_tokens (provider_id, jti, expires_at) VALUES ($1, $2, $3) ON CONFLICT (provider_id, jti) DO NOTHING";
    FORGET_LOGOUTS = "DELETE FROM logout_tokens WHERE expires_at <= $1";
}

fn words(row: &Row, column: &'static str) -> Result<Vec<String>, StoreError> {
    row.parsed(column, |text| serde_json::from_str(text).ok())
}

fn provider(row: &Row) -> Result<Provider, StoreError> {
    Ok(Provider {
        id: provider_id(row, "id")?,
        name: Name::from_stored(row.text("name")?),
        issuer: row.text("issuer")?,
        client_id: row.text("client_id")?,
        client_secret: row.opt_blob("client_secret")?,
        client_authentication: row.parsed("client_authentication", ClientAuthentication::parse)?,
        scopes: words(row, "scopes")?,
        domains: words(row, "domains")?,
        groups_claim: row.text("groups_claim")?,
        acr_values: words(row, "acr_values")?,
        group_grants: row.parsed("group_grants", |text| serde_json::from_str(text).ok())?,
        disabled_at: row.opt_time("disabled_at")?,
        created_at: row.time("created_at")?,
        version: row.int("version")?,
        external_id_claim: row.text("external_id_claim")?,
        groups_from: row.parsed("groups_from", GroupsFrom::parse)?,
    })
}

fn provider_id(row: &Row, column: &'static str) -> Result<ProviderId, StoreError> {
    row.parsed(column, |text| ProviderId::parse(text).ok())
}

fn user_id(row: &Row) -> Result<UserId, StoreError> {
    row.parsed("user_id", |text| UserId::parse(text).ok())
}

fn identity(row: &Row) -> Result<IdentityRow, StoreError> {
    Ok(IdentityRow {
        provider_id: provider_id(row, "provider_id")?,
        subject: row.text("subject")?,
        user_id: user_id(row)?,
        created_account: row.int("created_account")? != 0,
        created_at: row.time("created_at")?,
        external_id: row.opt_text("external_id")?,
    })
}

fn group_grants_json(list: &[GroupGrant]) -> Result<String, StoreError> {
    serde_json::to_string(list).map_err(|_| StoreError::Unstorable)
}

impl Tx {
    /// Stores a new provider.
    pub async fn insert_provider(&mut self, new: &Provider) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.name.as_str().into(),
            new.issuer.as_str().into(),
            new.client_id.as_str().into(),
            new.client_secret.clone().into(),
            new.client_authentication.as_str().into(),
            words_json(Some(&new.scopes)).into(),
            words_json(Some(&new.domains)).into(),
            new.groups_claim.as_str().into(),
            words_json(Some(&new.acr_values)).into(),
            group_grants_json(&new.group_grants)?.into(),
            new.created_at.into(),
            new.external_id_claim.as_str().into(),
            new.groups_from.as_str().into(),
        ];
        self.execute(INSERT, args).await.map(drop)
    }

    /// Returns a provider that has not been deleted.
    pub async fn provider(&mut self, id: &ProviderId) -> Result<Option<Provider>, StoreError> {
        self.optional(GET, vec![id.as_str().into()]).await?.as_ref().map(provider).transpose()
    }

    /// Returns a page of providers, oldest first.
    pub async fn providers(&mut self, page: &PageStart) -> Result<Vec<Provider>, StoreError> {
        self.rows(LIST, page.args()).await?.iter().map(provider).collect()
    }

    /// Returns the providers that people can sign in with, oldest first. One that cannot be read does not hide the others.
    pub async fn enabled_providers(&mut self) -> Result<Vec<Provider>, StoreError> {
        Ok(self.rows(ENABLED, vec![]).await?.iter().filter_map(|row| provider(row).ok()).collect())
    }

    /// Returns the names of all providers.
    pub async fn provider_names(&mut self) -> Result<Vec<(ProviderId, Name)>, StoreError> {
        let rows = self.rows(NAMES, vec![]).await?;
        rows.iter().map(|row| Ok((provider_id(row, "id")?, Name::from_stored(row.text("name")?)))).collect()
    }

    /// Stores the changed members of a provider.
    pub async fn update_provider(&mut self, new: &Provider) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.name.as_str().into(),
            new.issuer.as_str().into(),
            new.client_id.as_str().into(),
            new.client_secret.clone().into(),
            new.client_authentication.as_str().into(),
            words_json(Some(&new.scopes)).into(),
            words_json(Some(&new.domains)).into(),
            new.groups_claim.as_str().into(),
            words_json(Some(&new.acr_values)).into(),
            group_grants_json(&new.group_grants)?.into(),
            new.disabled_at.into(),
            new.external_id_claim.as_str().into(),
            new.groups_from.as_str().into(),
        ];
        self.note(Noted::Provider(new.id.clone()));
        self.execute(UPDATE, args).await.map(drop)
    }

    /// Deletes a provider. Its identities keep its name.
    pub async fn delete_provider(&mut self, id: &ProviderId, now: Timestamp) -> Result<(), StoreError> {
        self.note(Noted::Provider(id.clone()));
        self.execute(DELETE, vec![id.as_str().into(), now.into()]).await.map(drop)
    }

    /// Passes on the sealed client secret of every provider.
    pub async fn each_sealed_provider_secret<E: From<StoreError>>(
        &mut self,
        mut work: impl FnMut(&ProviderId, &[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        self.each(SEALED, vec![], |row| work(&provider_id(row, "id")?, &row.blob("client_secret")?)).await
    }

    /// Links a subject of a provider with an account.
    pub async fn insert_identity(
        &mut self,
        new: &IdentityRow,
        last_used_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let args = vec![
            new.provider_id.as_str().into(),
            new.subject.as_str().into(),
            new.user_id.as_str().into(),
            i64::from(new.created_account).into(),
            new.created_at.into(),
            last_used_at.into(),
            new.external_id.clone().into(),
        ];
        self.execute(INSERT_IDENTITY, args).await.map(drop)
    }

    /// Returns the identity of a subject of a provider.
    pub async fn identity(
        &mut self,
        provider: &ProviderId,
        subject: &str,
    ) -> Result<Option<IdentityRow>, StoreError> {
        let row = self.optional(IDENTITY, vec![provider.as_str().into(), subject.into()]).await?;
        row.as_ref().map(identity).transpose()
    }

    /// Returns the only identity with this value of the claim that says who a person is in provisioning. Of several, none is
    /// meant.
    pub async fn identity_by_external_id(
        &mut self,
        provider: &ProviderId,
        external_id: &str,
    ) -> Result<Option<IdentityRow>, StoreError> {
        let args = vec![provider.as_str().into(), external_id.into()];
        let rows = self.rows(IDENTITIES_BY_EXTERNAL_ID, args).await?;
        match rows.as_slice() {
            [row] => identity(row).map(Some),
            _ => Ok(None),
        }
    }

    /// Forgets who people are in provisioning, because another claim says it from now on. That of the subject is known.
    pub async fn reset_external_ids(&mut self, provider: &ProviderId, claim: &str) -> Result<(), StoreError> {
        let statement = match claim == DEFAULT_EXTERNAL_ID_CLAIM {
            true => SUBJECTS_AS_EXTERNAL_IDS,
            false => FORGET_EXTERNAL_IDS,
        };
        self.execute(statement, vec![provider.as_str().into()]).await.map(drop)
    }

    /// Returns the identities of each of these accounts, oldest first, in one statement.
    pub async fn identities_of(
        &mut self,
        accounts: &[&UserId],
    ) -> Result<HashMap<UserId, Vec<Identity>>, StoreError> {
        let keys: Vec<_> = accounts.iter().map(|id| vec![id.as_str().into()]).collect();
        let mut all: HashMap<_, Vec<_>> = HashMap::new();
        for row in self.look_up(IDENTITIES_OF, &keys).await? {
            let identity = Identity {
                provider_id: provider_id(&row, "provider_id")?,
                provider_name: row.text("name")?,
                subject: row.text("subject")?,
                created_at: row.time("created_at")?,
                last_used_at: row.opt_time("last_used_at")?,
            };
            all.entry(user_id(&row)?).or_default().push(identity);
        }
        Ok(all)
    }

    /// Returns the identities of an account, oldest first.
    pub async fn identities(&mut self, account: &UserId) -> Result<Vec<Identity>, StoreError> {
        Ok(self.identities_of(&[account]).await?.remove(account).unwrap_or_default())
    }

    /// Whether an account can be signed in to with a provider other than this one.
    pub async fn has_identity_beside(
        &mut self,
        account: &UserId,
        provider: &ProviderId,
    ) -> Result<bool, StoreError> {
        let args = vec![account.as_str().into(), provider.as_str().into()];
        Ok(self.optional(USABLE, args).await?.is_some())
    }

    /// Records a sign-in with an identity, and who the person is in provisioning.
    pub async fn touch_identity(
        &mut self,
        provider: &ProviderId,
        (subject, external_id): (&str, Option<&str>),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let args = vec![provider.as_str().into(), subject.into(), now.into(), external_id.into()];
        self.execute(USED, args).await.map(drop)
    }

    /// Unlinks an account from a provider. Returns whether it was linked.
    pub async fn delete_identity(
        &mut self,
        account: &UserId,
        provider: &ProviderId,
    ) -> Result<bool, StoreError> {
        let args = vec![account.as_str().into(), provider.as_str().into()];
        self.note(Noted::Identity(provider.clone(), account.clone()));
        Ok(self.execute(DELETE_IDENTITY, args).await? > 0)
    }

    /// Removes the identity of an account at a provider that was linked until `at`, as the journal says. Returns the number of
    /// removed rows.
    pub(crate) async fn delete_identity_until(
        &mut self,
        account: &UserId,
        provider: &ProviderId,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        let args = vec![account.as_str().into(), provider.as_str().into(), at.into()];
        self.execute(DELETE_IDENTITY_UNTIL, args).await
    }

    /// Disables a provider, as the journal says. Returns the number of changed rows.
    pub(crate) async fn disable_provider(
        &mut self,
        id: &ProviderId,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        self.execute(DISABLE, vec![id.as_str().into(), at.into()]).await
    }

    /// Removes the identities that somebody in the account has linked, except that of one provider. Returns their number.
    pub async fn delete_linked_identities(
        &mut self,
        account: &UserId,
        except: Option<&ProviderId>,
    ) -> Result<u64, StoreError> {
        let args = vec![account.as_str().into(), except.map(ProviderId::as_str).into()];
        let deleted = self.rows(DELETE_LINKED, args).await?;
        for row in &deleted {
            self.note(Noted::Identity(provider_id(row, "provider_id")?, account.clone()));
        }
        Ok(deleted.len() as u64)
    }

    /// Lets the identities of an account count as linked by someone else, except that of one provider: the account has got
    /// another address.
    pub async fn disown_identities(
        &mut self,
        account: &UserId,
        except: Option<&ProviderId>,
    ) -> Result<(), StoreError> {
        self.disown_scim_users(account, except).await?;
        let args = vec![account.as_str().into(), except.map(ProviderId::as_str).into()];
        self.execute(DISOWN, args).await.map(drop)
    }

    /// Whether an account can sign in with any provider.
    pub async fn has_usable_identity(&mut self, account: &UserId) -> Result<bool, StoreError> {
        Ok(self.optional(ANY_USABLE, vec![account.as_str().into()]).await?.is_some())
    }

    /// Removes all identities of an account.
    pub(crate) async fn delete_identities_of(&mut self, account: &UserId) -> Result<(), StoreError> {
        self.execute(DELETE_IDENTITIES_OF, vec![account.as_str().into()]).await.map(drop)
    }

    /// Removes all identities at a provider. Returns their number.
    pub async fn delete_identities_at(&mut self, provider: &ProviderId) -> Result<u64, StoreError> {
        self.execute(DELETE_IDENTITIES_AT, vec![provider.as_str().into()]).await
    }

    /// Records with which provider a session was begun or confirmed, and the session there; `None`: it is no longer one of a
    /// provider.
    pub async fn set_session_provider(
        &mut self,
        session: &SessionId,
        provider: Option<&ProviderId>,
        sid: Option<&str>,
    ) -> Result<(), StoreError> {
        let args = vec![session.as_str().into(), provider.map(ProviderId::as_str).into(), sid.into()];
        self.execute(BEGIN, args).await.map(drop)
    }

    /// Returns the sessions that were begun with a provider and have not ended: of one account, of one session at the
    /// provider, or all.
    pub async fn provider_sessions(
        &mut self,
        provider: &ProviderId,
        account: Option<&UserId>,
        sid: Option<&str>,
    ) -> Result<Vec<ProviderSession>, StoreError> {
        let args = vec![provider.as_str().into(), account.map(UserId::as_str).into(), sid.into()];
        let session = |row: &Row| {
            let id = row.parsed("id", |text| SessionId::parse(text).ok())?;
            Ok(ProviderSession { id, user_id: user_id(row)? })
        };
        self.rows(SESSIONS, args).await?.iter().map(session).collect()
    }

    /// Records a logout token until it could not be accepted any more. Returns whether it is the first time.
    pub async fn take_logout_token(
        &mut self,
        provider: &ProviderId,
        jti: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.execute(FORGET_LOGOUTS, vec![now.into()]).await?;
        Ok(self.execute(INSERT_LOGOUT, vec![provider.as_str().into(), jti.into(), until.into()]).await? > 0)
    }
}
