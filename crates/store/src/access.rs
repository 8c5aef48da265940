//! Accounts of people and programs: users, grants, API tokens and one-time links.

use crate::{
    Maker, PageStart, StoreError, SwitchedFor, Tx, Value, catalogue::statements, clients::pattern, db::Row,
    ends::Noted,
};
use crossfade_core::{
    ClientId, GrantId, PropertyId, ProviderId, SessionId, Timestamp, TokenId, UserId,
    api::UserKind,
    environment::Slug,
    owners::Manager,
    roles::{Grant, OneRegistration, Permission, Role, Scope},
    text::folded,
};
use std::collections::HashMap;

/// A stored account.
#[derive(Clone, Debug)]
pub struct User {
    /// ID.
    pub id: UserId,
    /// Person or program.
    pub kind: UserKind,
    /// The email address that a person signs in with.
    pub email: Option<String>,
    /// Display name.
    pub name: String,
    /// The password's Argon2id hash (PHC string), once one is set.
    pub password_hash: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The account that created it; `None`: the machine, or an account older than this column.
    pub created_by: Option<UserId>,
    /// Version, increased by every change of the row.
    pub version: i64,
}

/// A stored grant.
#[derive(Clone, Debug)]
pub struct GrantRow {
    /// ID.
    pub id: GrantId,
    /// Account that has it.
    pub user_id: UserId,
    /// The role and its scope.
    pub grant: Grant,
    /// The provider and the group that give it; `None`: it was granted here.
    pub source: Option<GrantSource>,
    /// When it was granted.
    pub created_at: Timestamp,
}

/// What gives a role on behalf of an Owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrantSource {
    /// The provider.
    pub provider: ProviderId,
    /// Group of the provider.
    pub group: String,
}

/// A stored API token.
#[derive(Clone, Debug)]
pub struct TokenRow {
    /// ID.
    pub id: TokenId,
    /// Account it belongs to.
    pub user_id: UserId,
    /// Name given by its owner.
    pub name: String,
    /// Permissions it is limited to, as words.
    pub scope: Option<Vec<String>>,
    /// Registration it is limited to.
    pub only: Option<OneRegistration>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// Its last use, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// An API token and its owner.
#[derive(Clone, Debug)]
pub struct TokenOwner {
    /// The token.
    pub token: TokenRow,
    /// Its owner.
    pub user: User,
}

/// Purpose of a one-time link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkPurpose {
    /// Create the first Owner.
    SetUp,
    /// Set a new password.
    Password,
}

impl LinkPurpose {
    /// Returns the word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SetUp => "set_up",
            Self::Password => "password",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::SetUp, Self::Password].into_iter().find(|purpose| purpose.as_str() == text)
    }
}

/// A stored one-time link.
#[derive(Clone, Debug)]
pub struct Link {
    /// Purpose.
    pub purpose: LinkPurpose,
    /// Account it belongs to; `None` for the set-up link.
    pub user_id: Option<UserId>,
    /// Who created it.
    pub maker: Maker,
    /// When it expires.
    pub expires_at: Timestamp,
}

statements! {
    INSERT = "INSERT INTO users (id, kind, email, name, name_key, password_hash, created_at, created_by, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1)";
    GET = "SELECT id, kind, email, name, password_hash, created_at, created_by, version FROM users WHERE id = $1 AND deleted_at IS NULL";
    BY_EMAIL = "SELECT id, kind, email, name, password_hash, created_at, created_by, version FROM users WHERE email = $1 AND deleted_at IS NULL";
    NAMED = "SELECT u.id, u.name, u.deleted_at FROM users u JOIN (VALUES {rows:1}) AS v ON u.id = v.column1";
    LIST = "SELECT id, kind, email, name, password_hash, created_at, created_by, version FROM users
            WHERE deleted_at IS NULL
              AND (CAST($1 AS BIGINT) IS NULL OR created_at > $1 OR (created_at = $1 AND id > $2))
              AND (CAST($4 AS TEXT) IS NULL OR name_key LIKE $4 ESCAPE '!' OR REPLACE(email, 'ς', 'σ') LIKE $4 ESCAPE '!')
            ORDER BY created_at, id LIMIT $3";
    UPDATE = "UPDATE users SET name = $2, name_key = $3, email = $4, version = version + 1 WHERE id = $1";
    ANY_UNFOLDED = "SELECT id FROM users WHERE name_key IS NULL LIMIT 1";
    UNFOLDED = "SELECT id, name FROM users WHERE name_key IS NULL ORDER BY id LIMIT $1";
    FOLD = "UPDATE users SET name_key = $2 WHERE id = $1";
    DELETE = "UPDATE users SET deleted_at = $2, email = NULL, password_hash = NULL, time_zone = NULL, last_active_at = NULL, version = version + 1 WHERE id = $1";
    SET_PASSWORD = "UPDATE users SET password_hash = $2, version = version + 1 WHERE id = $1";
    CLEAR_PASSWORD = "UPDATE users SET password_hash = NULL, version = version + 1 WHERE id = $1 AND password_hash IS NOT NULL";
    OWNERS = "SELECT u.id, u.kind, u.email, u.name, u.password_hash, u.created_at, u.created_by, u.version FROM users u
              WHERE u.deleted_at IS NULL AND u.kind = 'person' AND EXISTS (
                SELECT 1 FROM grants g WHERE g.user_id = u.id AND g.role = 'owner' AND g.property_id IS NULL
                  AND g.client_id IS NULL AND g.environments IS NULL)
              ORDER BY u.created_at, u.id";
    INSERT_GRANT = "INSERT INTO grants (id, user_id, role, property_id, client_id, environments, created_at, provider_id, provider_group) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    GRANT = "SELECT id, user_id, role, property_id, client_id, environments, created_at, provider_id, provider_group FROM grants WHERE id = $1";
    GRANTS = "SELECT id, user_id, role, property_id, client_id, environments, created_at, provider_id, provider_group FROM grants WHERE user_id = $1 ORDER BY created_at, id";
    GRANTS_OF = "SELECT g.id, g.user_id, g.role, g.property_id, g.client_id, g.environments, g.created_at, g.provider_id, g.provider_group FROM grants g
                 JOIN (VALUES {rows:1}) AS v ON g.user_id = v.column1 ORDER BY g.created_at, g.id";
    GRANT_PAGE = "SELECT id, user_id, role, property_id, client_id, environments, created_at, provider_id, provider_group FROM grants
                  WHERE user_id = $4 AND (CAST($1 AS BIGINT) IS NULL OR created_at > $1 OR (created_at = $1 AND id > $2))
                  ORDER BY created_at, id LIMIT $3";
    GRANTS_ON_PROPERTY = "SELECT id, user_id, role, property_id, client_id, environments, created_at, provider_id, provider_group FROM grants WHERE property_id = $1 ORDER BY created_at, id";
    GRANTS_BY_PROVIDER = "SELECT id, user_id, role, property_id, client_id, environments, created_at, provider_id, provider_group FROM grants WHERE provider_id = $1 ORDER BY created_at, id";
    GRANTS_ON_CLIENT = "SELECT id, user_id, role, property_id, client_id, environments, created_at, provider_id, provider_group FROM grants WHERE client_id = $1 ORDER BY created_at, id";
    GRANTS_THAT_REACH = "SELECT g.id, g.user_id, g.role, g.property_id, g.client_id, g.environments, g.created_at, g.provider_id, g.provider_group, u.name
                         FROM grants g JOIN users u ON u.id = g.user_id AND u.deleted_at IS NULL
                         WHERE g.role = $4 AND ((g.property_id IS NULL AND g.client_id IS NULL) OR g.property_id = $1 OR g.client_id = $2)
                         ORDER BY u.name_key, u.id, g.created_at, g.id LIMIT $3";
    // In the order of names. Programs have no address.
    MANAGERS = "SELECT g.id, g.user_id, g.role, g.property_id, g.client_id, g.environments, g.created_at, g.provider_id, g.provider_group, u.email
                FROM grants g JOIN users u ON u.id = g.user_id JOIN (VALUES {rows:1}) AS v ON g.role = v.column1
                WHERE u.deleted_at IS NULL AND u.kind = 'person' AND u.email IS NOT NULL
                  AND (CAST($1 AS TEXT) IS NULL OR (g.property_id IS NULL AND g.client_id IS NULL) OR g.property_id = $1 OR g.client_id = $2)
                ORDER BY u.name_key, u.id, g.created_at, g.id";
    ACCOUNTS_AT = "SELECT u.id, u.email, u.name FROM users u JOIN (VALUES {rows:1}) AS v ON u.email = v.column1 WHERE u.deleted_at IS NULL";
    GRANT_IN_ENVIRONMENT = "SELECT id FROM grants WHERE environments LIKE $1 LIMIT 1";
    DELETE_GRANT = "DELETE FROM grants WHERE id = $1";
    INSERT_TOKEN = "INSERT INTO api_tokens (id, user_id, name, digest, scope, created_at, expires_at, only_client, only_environment, keyed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)";
    TOKEN_BY_DIGEST = "SELECT id, user_id, name, scope, created_at, expires_at, last_used_at, only_client, only_environment FROM api_tokens WHERE digest = $1 AND deleted_at IS NULL";
    TOKEN = "SELECT id, user_id, name, scope, created_at, expires_at, last_used_at, only_client, only_environment FROM api_tokens WHERE id = $1 AND deleted_at IS NULL";
    TOKENS_NAMED = "SELECT t.id, t.user_id, t.name FROM api_tokens t JOIN (VALUES {rows:1}) AS v ON t.id = v.column1";
    TOKENS = "SELECT id, user_id, name, scope, created_at, expires_at, last_used_at, only_client, only_environment FROM api_tokens
              WHERE deleted_at IS NULL AND (CAST($4 AS TEXT) IS NULL OR user_id = $4)
                AND (CAST($1 AS BIGINT) IS NULL OR created_at > $1 OR (created_at = $1 AND id > $2))
              ORDER BY created_at, id LIMIT $3";
    TOUCH_TOKEN = "UPDATE api_tokens SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
    DELETE_TOKEN = "UPDATE api_tokens SET deleted_at = $2 WHERE id = $1";
    DELETE_TOKENS_OF = "UPDATE api_tokens SET deleted_at = $2 WHERE user_id = $1 AND deleted_at IS NULL
                        RETURNING id, user_id, name, scope, created_at, expires_at, last_used_at, only_client, only_environment";
    INSERT_LINK = "INSERT INTO links (digest, purpose, user_id, created_by, created_at, expires_at, maker_scope, maker_session, maker_token, keyed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)";
    LINK = "SELECT purpose, user_id, created_by, expires_at, maker_scope, maker_session, maker_token FROM links WHERE digest = $1 AND used_at IS NULL AND expires_at > $2";
    USE_LINK = "UPDATE links SET used_at = $2 WHERE digest = $1";
    END_LINKS_OF = "DELETE FROM links WHERE user_id = $1";
    END_LINKS_BY_SESSION = "DELETE FROM links WHERE maker_session = $1";
    END_LINKS_BY_TOKEN = "DELETE FROM links WHERE maker_token = $1";
    // A link from before 0024 names neither, so it ends with either.
    END_LINKS_BY_SESSIONS = "DELETE FROM links WHERE created_by = $1 AND maker_token IS NULL";
    END_LINKS_BY_TOKENS = "DELETE FROM links WHERE created_by = $1 AND maker_session IS NULL";
    END_LINKS = "DELETE FROM links WHERE used_at IS NOT NULL OR expires_at <= $1 OR (purpose = $2 AND (user_id = $3 OR (user_id IS NULL AND CAST($3 AS TEXT) IS NULL)))";
}

fn user(row: &Row) -> Result<User, StoreError> {
    Ok(User {
        id: row.parsed("id", |text| UserId::parse(text).ok())?,
        kind: row.parsed("kind", UserKind::parse)?,
        email: row.opt_text("email")?,
        name: row.text("name")?,
        password_hash: row.opt_text("password_hash")?,
        created_at: row.time("created_at")?,
        created_by: row.opt_parsed("created_by", |text| UserId::parse(text).ok())?,
        version: row.int("version")?,
    })
}

pub(crate) fn grant(row: &Row) -> Result<GrantRow, StoreError> {
    let property = row.opt_parsed("property_id", |text| PropertyId::parse(text).ok())?;
    let client = row.opt_parsed("client_id", |text| ClientId::parse(text).ok())?;
    let scope = match (property, client) {
        (_, Some(client)) => Scope::Client(client),
        (Some(property), None) => Scope::Property(property),
        (None, None) => Scope::Platform,
    };
    let environments = row.opt_parsed("environments", |text| serde_json::from_str::<Vec<Slug>>(text).ok())?;
    let provider = row.opt_parsed("provider_id", |text| ProviderId::parse(text).ok())?;
    let group = row.opt_text("provider_group")?;
    Ok(GrantRow {
        id: row.parsed("id", |text| GrantId::parse(text).ok())?,
        user_id: row.parsed("user_id", |text| UserId::parse(text).ok())?,
        grant: Grant { role: row.parsed("role", Role::parse)?, scope, environments },
        source: provider.map(|provider| GrantSource { provider, group: group.unwrap_or_default() }),
        created_at: row.time("created_at")?,
    })
}

fn token(row: &Row) -> Result<TokenRow, StoreError> {
    Ok(TokenRow {
        id: row.parsed("id", |text| TokenId::parse(text).ok())?,
        user_id: row.parsed("user_id", |text| UserId::parse(text).ok())?,
        name: row.text("name")?,
        scope: row.opt_parsed("scope", |text| serde_json::from_str(text).ok())?,
        only: only(row)?,
        created_at: row.time("created_at")?,
        expires_at: row.opt_time("expires_at")?,
        last_used_at: row.opt_time("last_used_at")?,
    })
}

/// Returns the registration that a token is limited to. A row with half of it is refused, because it would have no limit.
fn only(row: &Row) -> Result<Option<OneRegistration>, StoreError> {
    let client = row.opt_parsed("only_client", |text| ClientId::parse(text).ok())?;
    let Some(client) = client else {
        return row.opt_parsed("only_environment", |_| None::<OneRegistration>);
    };
    let environment = row.parsed("only_environment", |text| Slug::parse("environment", text).ok())?;
    Ok(Some(OneRegistration { client, environment }))
}

/// Returns words as JSON, as they are stored.
pub(crate) fn words_json(words: Option<&[String]>) -> Option<String> {
    words.map(|words| serde_json::Value::from(words.to_vec()).to_string())
}

impl Tx {
    /// Stores a new account.
    pub async fn insert_user(&mut self, new: &User) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.kind.as_str().into(),
            new.email.clone().into(),
            new.name.as_str().into(),
            folded(&new.name).into(),
            new.password_hash.clone().into(),
            new.created_at.into(),
            new.created_by.as_ref().map(UserId::as_str).into(),
        ];
        self.execute(INSERT, args).await.map(drop)
    }

    /// Whether there are account names from an older version that are not folded yet.
    pub async fn has_unfolded_names(&mut self) -> Result<bool, StoreError> {
        Ok(self.optional(ANY_UNFOLDED, vec![]).await?.is_some())
    }

    /// Folds at most `most` account names stored by an older version.
    pub async fn fold_names(&mut self, most: i64) -> Result<(), StoreError> {
        let rows = self.rows(UNFOLDED, vec![most.into()]).await?;
        for row in &rows {
            let args = vec![row.text("id")?.into(), folded(&row.text("name")?).into()];
            self.execute(FOLD, args).await?;
        }
        Ok(())
    }

    /// Returns an account that has not been deleted.
    pub async fn user(&mut self, id: &UserId) -> Result<Option<User>, StoreError> {
        self.optional(GET, vec![id.as_str().into()]).await?.as_ref().map(user).transpose()
    }

    /// Returns the names of accounts, even of deleted ones, and whether each still exists, in one statement.
    pub async fn user_names(
        &mut self,
        ids: &[UserId],
    ) -> Result<HashMap<UserId, (String, bool)>, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| vec![id.as_str().into()]).collect();
        let name = |row: &Row| {
            let id = row.parsed("id", |text| UserId::parse(text).ok())?;
            Ok((id, (row.text("name")?, row.opt_time("deleted_at")?.is_none())))
        };
        self.look_up(NAMED, &keys).await?.iter().map(name).collect()
    }

    /// Returns the owners and the names of API tokens, even of deleted ones, in one statement.
    pub async fn token_names(
        &mut self,
        ids: &[TokenId],
    ) -> Result<HashMap<TokenId, (UserId, String)>, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| vec![id.as_str().into()]).collect();
        let name = |row: &Row| {
            let id = row.parsed("id", |text| TokenId::parse(text).ok())?;
            Ok((id, (row.parsed("user_id", |text| UserId::parse(text).ok())?, row.text("name")?)))
        };
        self.look_up(TOKENS_NAMED, &keys).await?.iter().map(name).collect()
    }

    /// Returns the account with this email address.
    pub async fn user_by_email(&mut self, email: &str) -> Result<Option<User>, StoreError> {
        self.optional(BY_EMAIL, vec![email.into()]).await?.as_ref().map(user).transpose()
    }

    /// Sets a password. Sign-ins with the password before that wait for a code end.
    pub async fn set_password(&mut self, id: &UserId, hash: &str) -> Result<(), StoreError> {
        self.note(Noted::Password(id.clone()));
        self.end_pending_sign_ins(id).await?;
        self.let_no_passkey_alone(id).await?;
        self.execute(SET_PASSWORD, vec![id.as_str().into(), hash.into()]).await.map(drop)
    }

    /// Removes the password. Returns whether there was one.
    pub async fn clear_password(&mut self, id: &UserId) -> Result<bool, StoreError> {
        self.note(Noted::Password(id.clone()));
        self.end_pending_sign_ins(id).await?;
        Ok(self.execute(CLEAR_PASSWORD, vec![id.as_str().into()]).await? > 0)
    }

    /// Returns the people who are Owners of the platform. Programs are left out, because a locked-out program cannot be
    /// recovered.
    pub async fn owners(&mut self) -> Result<Vec<User>, StoreError> {
        self.rows(OWNERS, vec![]).await?.iter().map(user).collect()
    }

    /// Returns a page of accounts, oldest first; `like` is a pattern for a part of the name or of the email address.
    pub async fn users(&mut self, q: Option<&str>, page: &PageStart) -> Result<Vec<User>, StoreError> {
        let mut args = page.args();
        args.push(q.map(pattern).into());
        self.rows(LIST, args).await?.iter().map(user).collect()
    }

    /// Stores a new name and email address.
    pub async fn update_user(&mut self, new: &User) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.name.as_str().into(),
            folded(&new.name).into(),
            new.email.clone().into(),
        ];
        self.execute(UPDATE, args).await.map(drop)
    }

    /// Deletes an account with its tokens, links, factors and grants. Its email address becomes available again.
    pub async fn delete_user(&mut self, id: &UserId, now: Timestamp) -> Result<(), StoreError> {
        self.delete_tokens_of(id, now).await?;
        self.end_links(id).await?;
        self.end_sessions(id, None, now).await?;
        for row in self.grants(id).await? {
            self.delete_grant(&row.id).await?;
        }
        self.delete_identities_of(id).await?;
        self.detach_scim_users(id).await?;
        self.remove_factors(id).await?;
        self.set_switches(SwitchedFor::Person(id), &[], now).await?;
        self.note(Noted::Account(id.clone()));
        self.execute(DELETE, vec![id.as_str().into(), now.into()]).await.map(drop)
    }

    /// Ends the API tokens of an account, and the one-time links created with them. Returns the ended tokens, in no
    /// particular order.
    pub async fn delete_tokens_of(
        &mut self,
        id: &UserId,
        now: Timestamp,
    ) -> Result<Vec<TokenRow>, StoreError> {
        self.execute(END_LINKS_BY_TOKENS, vec![id.as_str().into()]).await?;
        self.end_logins_of(id).await?;
        let ended = self.rows(DELETE_TOKENS_OF, vec![id.as_str().into(), now.into()]).await?;
        let ended: Vec<TokenRow> = ended.iter().map(token).collect::<Result<_, _>>()?;
        for token in &ended {
            self.note(Noted::ApiToken(token.id.clone()));
        }
        Ok(ended)
    }

    /// Ends the one-time links to an account.
    pub async fn end_links(&mut self, id: &UserId) -> Result<u64, StoreError> {
        self.execute(END_LINKS_OF, vec![id.as_str().into()]).await
    }

    /// Ends the one-time links created in a session.
    pub async fn end_links_by_session(&mut self, id: &SessionId) -> Result<(), StoreError> {
        self.execute(END_LINKS_BY_SESSION, vec![id.as_str().into()]).await.map(drop)
    }

    /// Ends the one-time links created in any session of an account.
    pub(crate) async fn end_links_by_sessions(&mut self, id: &UserId) -> Result<(), StoreError> {
        self.execute(END_LINKS_BY_SESSIONS, vec![id.as_str().into()]).await.map(drop)
    }

    /// Stores a grant.
    pub async fn insert_grant(&mut self, new: &GrantRow) -> Result<(), StoreError> {
        let (property, client) = match &new.grant.scope {
            Scope::Platform => (None, None),
            Scope::Property(property) => (Some(property.as_str()), None),
            Scope::Client(client) => (None, Some(client.as_str())),
        };
        let environments = new.grant.environments.as_ref().map(|list| {
            serde_json::Value::from(list.iter().map(|slug| slug.as_str().to_owned()).collect::<Vec<_>>())
                .to_string()
        });
        let args = vec![
            new.id.as_str().into(),
            new.user_id.as_str().into(),
            new.grant.role.as_str().into(),
            property.into(),
            client.into(),
            environments.into(),
            new.created_at.into(),
            new.source.as_ref().map(|source| source.provider.as_str()).into(),
            new.source.as_ref().map(|source| source.group.as_str()).into(),
        ];
        self.execute(INSERT_GRANT, args).await.map(drop)
    }

    /// Removes a grant.
    pub async fn delete_grant(&mut self, id: &GrantId) -> Result<(), StoreError> {
        self.note(Noted::Grant(id.clone()));
        self.execute(DELETE_GRANT, vec![id.as_str().into()]).await.map(drop)
    }

    /// Returns a grant.
    pub async fn grant(&mut self, id: &GrantId) -> Result<Option<GrantRow>, StoreError> {
        self.optional(GRANT, vec![id.as_str().into()]).await?.as_ref().map(grant).transpose()
    }

    /// Returns the grants of an account, oldest first.
    pub async fn grants(&mut self, holder: &UserId) -> Result<Vec<GrantRow>, StoreError> {
        self.rows(GRANTS, vec![holder.as_str().into()]).await?.iter().map(grant).collect()
    }

    /// Returns the grants of each of these accounts, oldest first, in one statement.
    pub async fn grants_of(
        &mut self,
        holders: &[&UserId],
    ) -> Result<HashMap<UserId, Vec<GrantRow>>, StoreError> {
        let keys: Vec<_> = holders.iter().map(|id| vec![id.as_str().into()]).collect();
        let mut grants: HashMap<_, Vec<_>> = HashMap::new();
        for row in self.look_up(GRANTS_OF, &keys).await? {
            let grant = grant(&row)?;
            grants.entry(grant.user_id.clone()).or_default().push(grant);
        }
        Ok(grants)
    }

    /// Returns a page of the grants of an account, oldest first.
    pub async fn grant_page(
        &mut self,
        holder: &UserId,
        page: &PageStart,
    ) -> Result<Vec<GrantRow>, StoreError> {
        let mut args = page.args();
        args.push(holder.as_str().into());
        self.rows(GRANT_PAGE, args).await?.iter().map(grant).collect()
    }

    /// Returns the grants that are limited to a property, or to a client.
    pub async fn grants_on(&mut self, scope: &Scope) -> Result<Vec<GrantRow>, StoreError> {
        let rows = match scope {
            Scope::Platform => Vec::new(),
            Scope::Property(id) => self.rows(GRANTS_ON_PROPERTY, vec![id.as_str().into()]).await?,
            Scope::Client(id) => self.rows(GRANTS_ON_CLIENT, vec![id.as_str().into()]).await?,
        };
        rows.iter().map(grant).collect()
    }

    /// Returns the grants that groups of a provider give.
    pub async fn grants_by_provider(&mut self, provider: &ProviderId) -> Result<Vec<GrantRow>, StoreError> {
        self.rows(GRANTS_BY_PROVIDER, vec![provider.as_str().into()]).await?.iter().map(grant).collect()
    }

    /// Returns the grants of a role that cover a client, at any scope, each with the name of its account, in the order
    /// of names.
    pub async fn grants_that_reach(
        &mut self,
        role: Role,
        property: &PropertyId,
        client: &ClientId,
        most: i64,
    ) -> Result<Vec<(String, GrantRow)>, StoreError> {
        let args = vec![property.as_str().into(), client.as_str().into(), most.into(), role.as_str().into()];
        let rows = self.rows(GRANTS_THAT_REACH, args).await?;
        rows.iter().map(|row| Ok((row.text("name")?, grant(row)?))).collect()
    }

    /// Returns the people with a role that manages clients, in the order of names: all, or those whose role covers this
    /// client.
    pub async fn managers(
        &mut self,
        of: Option<(&PropertyId, &ClientId)>,
    ) -> Result<Vec<Manager>, StoreError> {
        let manages = |role: &Role| role.permissions().contains(&Permission::ClientManage);
        let roles: Vec<Vec<Value>> =
            Role::ALL.iter().filter(|role| manages(role)).map(|role| vec![role.as_str().into()]).collect();
        let (property, client) = of.unzip();
        let args = vec![property.map(PropertyId::as_str).into(), client.map(ClientId::as_str).into()];
        let mut managers: Vec<Manager> = Vec::new();
        for row in self.rows_with(MANAGERS, args, &roles).await? {
            let (grant, email) = (grant(&row)?, row.text("email")?);
            match managers.last_mut() {
                Some(last) if last.user == grant.user_id => last.grants.push(grant.grant),
                _ => managers.push(Manager { user: grant.user_id, email, grants: vec![grant.grant] }),
            }
        }
        Ok(managers)
    }

    /// Returns the accounts with these email addresses and their names, in one statement.
    pub async fn accounts_at(
        &mut self,
        addresses: &[&str],
    ) -> Result<HashMap<String, (UserId, String)>, StoreError> {
        let keys: Vec<_> = addresses.iter().map(|address| vec![(*address).into()]).collect();
        let account = |row: &Row| {
            let id = row.parsed("id", |text| UserId::parse(text).ok())?;
            Ok((row.text("email")?, (id, row.text("name")?)))
        };
        self.look_up(ACCOUNTS_AT, &keys).await?.iter().map(account).collect()
    }

    /// Returns the grants of a role on the whole platform, in the order of names.
    pub async fn grants_on_platform(&mut self, role: Role, most: i64) -> Result<Vec<GrantRow>, StoreError> {
        let args = vec![None::<&str>.into(), None::<&str>.into(), most.into(), role.as_str().into()];
        self.rows(GRANTS_THAT_REACH, args).await?.iter().map(grant).collect()
    }

    /// Whether any grant is limited to this environment, alone or with others.
    pub async fn environment_has_grants(&mut self, slug: &Slug) -> Result<bool, StoreError> {
        // A slug has no character that a pattern or JSON would read as anything but itself.
        Ok(self.optional(GRANT_IN_ENVIRONMENT, vec![format!("%\"{slug}\"%").into()]).await?.is_some())
    }

    /// Stores an API token by its keyed digest.
    pub async fn insert_token(&mut self, new: &TokenRow, digest: &[u8]) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.user_id.as_str().into(),
            new.name.as_str().into(),
            digest.into(),
            words_json(new.scope.as_deref()).into(),
            new.created_at.into(),
            new.expires_at.into(),
            new.only.as_ref().map(|only| only.client.as_str()).into(),
            new.only.as_ref().map(|only| only.environment.as_str()).into(),
        ];
        self.execute(INSERT_TOKEN, args).await.map(drop)
    }

    /// Returns the token with this digest and its owner, if both still exist.
    pub async fn token_owner(&mut self, digest: &[u8]) -> Result<Option<TokenOwner>, StoreError> {
        let Some(row) = self.optional(TOKEN_BY_DIGEST, vec![digest.into()]).await? else { return Ok(None) };
        let token = token(&row)?;
        Ok(self.user(&token.user_id).await?.map(|user| TokenOwner { token, user }))
    }

    /// Returns a token.
    pub async fn token(&mut self, id: &TokenId) -> Result<Option<TokenRow>, StoreError> {
        self.optional(TOKEN, vec![id.as_str().into()]).await?.as_ref().map(token).transpose()
    }

    /// Returns a page of tokens, oldest first: those of one owner, or all.
    pub async fn tokens(
        &mut self,
        owner: Option<&UserId>,
        page: &PageStart,
    ) -> Result<Vec<TokenRow>, StoreError> {
        let mut args = page.args();
        args.push(owner.map(UserId::as_str).into());
        self.rows(TOKENS, args).await?.iter().map(token).collect()
    }

    /// Records the use of a token.
    pub async fn touch_token(&mut self, id: &TokenId, at: Timestamp) -> Result<(), StoreError> {
        self.execute(TOUCH_TOKEN, vec![id.as_str().into(), at.into()]).await?;
        self.active_with_token(id, at).await
    }

    /// Ends a token and the one-time links created with it.
    pub async fn delete_token(&mut self, id: &TokenId, now: Timestamp) -> Result<(), StoreError> {
        self.execute(END_LINKS_BY_TOKEN, vec![id.as_str().into()]).await?;
        self.note(Noted::ApiToken(id.clone()));
        self.execute(DELETE_TOKEN, vec![id.as_str().into(), now.into()]).await.map(drop)
    }

    /// Stores a one-time link by its keyed digest. It replaces earlier links with the same purpose and account.
    pub async fn insert_link(&mut self, new: &Link, digest: &[u8], now: Timestamp) -> Result<(), StoreError> {
        let user = new.user_id.as_ref().map(UserId::as_str);
        self.execute(END_LINKS, vec![now.into(), new.purpose.as_str().into(), user.into()]).await?;
        let args = vec![
            digest.into(),
            new.purpose.as_str().into(),
            user.into(),
            new.maker.account.as_ref().map(UserId::as_str).into(),
            now.into(),
            new.expires_at.into(),
            words_json(new.maker.scope.as_deref()).into(),
            new.maker.session.as_ref().map(SessionId::as_str).into(),
            new.maker.token.as_ref().map(TokenId::as_str).into(),
        ];
        self.execute(INSERT_LINK, args).await?;
        match &new.user_id {
            Some(account) => self.set_link_maker(account, new.maker.account.as_ref()).await,
            None => Ok(()),
        }
    }

    /// Returns the link with this digest, if it can still be used at `now`.
    pub async fn link(&mut self, digest: &[u8], now: Timestamp) -> Result<Option<Link>, StoreError> {
        let row = self.optional(LINK, vec![digest.into(), now.into()]).await?;
        row.map(|row| {
            Ok(Link {
                purpose: row.parsed("purpose", LinkPurpose::parse)?,
                user_id: row.opt_parsed("user_id", |text| UserId::parse(text).ok())?,
                expires_at: row.time("expires_at")?,
                maker: Maker {
                    account: row.opt_parsed("created_by", |text| UserId::parse(text).ok())?,
                    scope: row.opt_parsed("maker_scope", |text| serde_json::from_str(text).ok())?,
                    session: row.opt_parsed("maker_session", |text| SessionId::parse(text).ok())?,
                    token: row.opt_parsed("maker_token", |text| TokenId::parse(text).ok())?,
                },
            })
        })
        .transpose()
    }

    /// Uses up a link.
    pub async fn use_link(&mut self, digest: &[u8], now: Timestamp) -> Result<(), StoreError> {
        self.execute(USE_LINK, vec![digest.into(), now.into()]).await.map(drop)
    }
}
