//! Who holds which role: the rows of an access review, and when each account was last active.

use crate::{GrantRow, PageStart, StoreError, Tx, Value, access::grant, catalogue::statements, db::Row};
use crossfade_core::{
    ClientId, PropertyId, SessionId, Timestamp, TokenId, UserId, account::UserKind, environment::Slug,
    roles::Role,
};

/// A role and its holder.
#[derive(Clone, Debug)]
pub struct HolderRow {
    /// The role.
    pub grant: GrantRow,
    /// Whether the account is of a person or a program.
    pub kind: UserKind,
    /// Name of the account.
    pub name: String,
    /// Email address of the account.
    pub email: Option<String>,
    /// When the account was created.
    pub account_created_at: Timestamp,
    /// Last request of the account, to the minute.
    pub last_active_at: Option<Timestamp>,
    /// Name of the property that the role is limited to.
    pub property_name: Option<String>,
    /// Name of the client that the role is limited to.
    pub client_name: Option<String>,
    /// Name of the provider whose group gives the role.
    pub provider_name: Option<String>,
}

/// Which roles are listed.
#[derive(Clone, Debug)]
pub struct HolderFilter {
    /// Only those of this account.
    pub user: Option<UserId>,
    /// Only those that cover this client of this property.
    pub client: Option<(PropertyId, ClientId)>,
    /// Only those that cover this environment.
    pub environment: Option<Slug>,
    /// Only these roles.
    pub roles: Vec<Role>,
}

statements! {
    // By account, in the order in which the accounts were created.
    LIST = "SELECT g.id, g.user_id, g.role, g.property_id, g.client_id, g.environments, g.created_at, g.provider_id, g.provider_group,
              u.kind, u.email, u.name, u.created_at AS account_created_at, u.last_active_at,
              p.name AS property_name, c.name AS client_name, i.name AS provider_name
            FROM grants g JOIN users u ON u.id = g.user_id AND u.deleted_at IS NULL
            JOIN (VALUES {rows:1}) AS v ON g.role = v.column1
            LEFT JOIN properties p ON p.id = g.property_id
            LEFT JOIN clients c ON c.id = g.client_id
            LEFT JOIN providers i ON i.id = g.provider_id
            WHERE (CAST($1 AS BIGINT) IS NULL OR u.created_at > $1 OR (u.created_at = $1 AND u.id || ' ' || g.id > $2))
              AND (CAST($4 AS TEXT) IS NULL OR g.user_id = $4)
              AND (CAST($5 AS TEXT) IS NULL OR (g.property_id IS NULL AND g.client_id IS NULL) OR g.property_id = $5 OR g.client_id = $6)
              AND (CAST($7 AS TEXT) IS NULL OR g.environments IS NULL OR g.environments LIKE $7)
            ORDER BY u.created_at, u.id || ' ' || g.id LIMIT $3";
    ACTIVE = "UPDATE users SET last_active_at = $2 WHERE id = $1 AND (last_active_at IS NULL OR last_active_at < $2)";
    ACTIVE_IN_SESSION = "UPDATE users SET last_active_at = $2 WHERE id = (SELECT user_id FROM sessions WHERE id = $1) AND (last_active_at IS NULL OR last_active_at < $2)";
    ACTIVE_WITH_TOKEN = "UPDATE users SET last_active_at = $2 WHERE id = (SELECT user_id FROM api_tokens WHERE id = $1) AND (last_active_at IS NULL OR last_active_at < $2)";
}

fn holder(row: &Row) -> Result<HolderRow, StoreError> {
    Ok(HolderRow {
        grant: grant(row)?,
        kind: row.parsed("kind", UserKind::parse)?,
        name: row.text("name")?,
        email: row.opt_text("email")?,
        account_created_at: row.time("account_created_at")?,
        last_active_at: row.opt_time("last_active_at")?,
        property_name: row.opt_text("property_name")?,
        client_name: row.opt_text("client_name")?,
        provider_name: row.opt_text("provider_name")?,
    })
}

impl Tx {
    /// Returns a page of the roles that pass a filter, by account.
    pub async fn holders(
        &mut self,
        filter: &HolderFilter,
        page: &PageStart,
    ) -> Result<Vec<HolderRow>, StoreError> {
        let (property, client) = filter.client.as_ref().map(|(property, client)| (property, client)).unzip();
        let mut args = page.args();
        args.extend([
            filter.user.as_ref().map(UserId::as_str).into(),
            property.map(PropertyId::as_str).into(),
            client.map(ClientId::as_str).into(),
            // A slug has no character that a pattern or JSON would read as anything but itself.
            filter.environment.as_ref().map(|slug| format!("%\"{slug}\"%")).into(),
        ]);
        let roles: Vec<Vec<Value>> = filter.roles.iter().map(|role| vec![role.as_str().into()]).collect();
        if roles.is_empty() {
            return Ok(Vec::new());
        }
        self.rows_with(LIST, args, &roles).await?.iter().map(holder).collect()
    }

    /// Records that an account signed in.
    pub(crate) async fn active(&mut self, user: &UserId, at: Timestamp) -> Result<(), StoreError> {
        self.execute(ACTIVE, vec![user.as_str().into(), at.into()]).await.map(drop)
    }

    /// Records a request of an account in a session.
    pub(crate) async fn active_in_session(
        &mut self,
        id: &SessionId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(ACTIVE_IN_SESSION, vec![id.as_str().into(), at.into()]).await.map(drop)
    }

    /// Records a request of an account with an API token.
    pub(crate) async fn active_with_token(&mut self, id: &TokenId, at: Timestamp) -> Result<(), StoreError> {
        self.execute(ACTIVE_WITH_TOKEN, vec![id.as_str().into(), at.into()]).await.map(drop)
    }
}
