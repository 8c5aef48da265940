//! Clients and their registrations.

use crate::{PageStart, StoreError, Tx, catalogue::statements, db::Row, ends::Noted, properties::name_key};
use crossfade_core::{
    ClientId, OauthClientId, PropertyId, RegistrationId, Timestamp,
    environment::Slug,
    networks::Networks,
    registration::{AuthMethod, AuthMethods, Scopes, TokenTtl},
    text::{Name, folded},
    upstream::IssuerMode,
};
use std::collections::HashMap;

/// A stored client.
#[derive(Clone, Debug)]
pub struct Client {
    /// ID.
    pub id: ClientId,
    /// Property it belongs to.
    pub property_id: PropertyId,
    /// Name.
    pub name: Name,
    /// Description.
    pub description: String,
    /// Email addresses of its owners.
    pub owners: Vec<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Version, increased by every change of the row.
    pub version: i64,
}

/// A stored registration.
#[derive(Clone, Debug)]
pub struct Registration {
    /// ID.
    pub id: RegistrationId,
    /// The client.
    pub client_id: ClientId,
    /// The environment.
    pub environment: Slug,
    /// The OAuth `client_id`.
    pub oauth_client_id: OauthClientId,
    /// Allowed authentication methods.
    pub methods: AuthMethods,
    /// Scopes it can request.
    pub scopes: Scopes,
    /// Audience of its tokens, if it is not the issuer.
    pub audience: Option<String>,
    /// Access token lifetime.
    pub ttl: TokenTtl,
    /// Whether it can introspect every token of its environment.
    pub may_introspect: bool,
    /// Networks from which it may be used; `None` allows every address.
    pub allowed_networks: Option<Networks>,
    /// Whether its client can rotate its own secret. Off in a new registration.
    pub self_rotation: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was disabled, if it is.
    pub disabled_at: Option<Timestamp>,
    /// When it was last enabled again.
    pub enabled_at: Option<Timestamp>,
    /// When all tokens issued before the lifetime was last shortened have expired.
    pub earlier_tokens_end_at: Option<Timestamp>,
    /// Number of times it was disabled. Access tokens of an earlier generation have ended.
    pub token_generation: i64,
    /// Version, increased by every change of the row.
    pub version: i64,
    /// When its current secret was generated. Read only.
    pub current_since: Option<Timestamp>,
    /// Whether its client was found to be public; `None` if it was not created to learn its secret. Read only.
    pub is_public: Option<bool>,
}

/// Where a registration belongs, even if its client has been deleted.
#[derive(Clone, Debug)]
pub struct Place {
    /// The registration.
    pub registration_id: RegistrationId,
    /// The client.
    pub client_id: ClientId,
    /// The client's property.
    pub property_id: PropertyId,
    /// The environment.
    pub environment: Slug,
    /// Whose tokens the clients of the environment get.
    pub issuer_mode: IssuerMode,
    /// The OAuth `client_id`.
    pub oauth_client_id: OauthClientId,
    /// The client's name.
    pub name: Name,
}

/// Filter for a list of clients.
#[derive(Clone, Debug, Default)]
pub struct ClientFilter {
    /// Part of the name, or a complete OAuth `client_id`.
    pub q: Option<String>,
    /// A property.
    pub property_id: Option<PropertyId>,
    /// An environment in which the client is registered.
    pub environment: Option<Slug>,
    /// Only clients with a secret older than its environment's maximum age at this time.
    pub overdue_at: Option<Timestamp>,
    /// Only clients without an owner that hears of them.
    pub ownerless: bool,
    /// Only clients with a registration that was created without a secret, and has none yet.
    pub without_secret: bool,
    /// In an order by secrets: each client once, at the first of its secrets.
    pub once: bool,
}

/// Condition for a client `c` that has owners, none of which hears of it (`owners::hears` in the core): they are webhooks that
/// are disabled, or whose format does not say everything.
macro_rules! unheard_owners {
    () => {
        "c.owners <> '[]' AND c.owners NOT LIKE '%@%' AND NOT EXISTS (SELECT 1 FROM webhooks w
            WHERE w.disabled_at IS NULL AND w.format <> 'pagerduty' AND c.owners LIKE '%\"' || w.id || '\"%')"
    };
}
/// Condition for a client `c` without an owner that hears of it.
macro_rules! unheard {
    () => {
        concat!("(c.owners = '[]' OR ", crate::clients::unheard_owners!(), ")")
    };
}
/// Condition for a client `c` with a registration that was created without a secret, and has none yet.
macro_rules! awaits_secret {
    () => {
        "c.id IN (SELECT w.client_id FROM adoptions a JOIN registrations w ON w.id = a.registration_id
            WHERE NOT EXISTS (SELECT 1 FROM secrets n WHERE n.registration_id = a.registration_id))"
    };
}
pub(crate) use {awaits_secret, unheard, unheard_owners};

statements! {
    INSERT = "INSERT INTO clients (id, property_id, name, name_key, description, owners, created_at, version)
              VALUES ($1, $2, $3, $4, $5, $6, $7, 1)";
    GET = "SELECT id, property_id, name, description, owners, created_at, version FROM clients WHERE id = $1 AND deleted_at IS NULL";
    TAKEN = "SELECT id FROM clients WHERE property_id = $1 AND name_key = $2 AND deleted_at IS NULL";
    UPDATE = "UPDATE clients SET name = $2, name_key = $3, description = $4, owners = $5, version = version + 1 WHERE id = $1";
    SET_OWNERS = "UPDATE clients SET owners = v.column2, version = version + 1 FROM (VALUES {rows:2}) AS v WHERE clients.id = v.column1";
    DELETE = "UPDATE clients SET deleted_at = $2, version = version + 1 WHERE id = $1";
    LIST = concat!("SELECT c.id, c.property_id, c.name, c.description, c.owners, c.created_at, c.version FROM clients c
            WHERE c.deleted_at IS NULL
              AND (CAST($1 AS BIGINT) IS NULL OR c.created_at > $1 OR (c.created_at = $1 AND c.id > $2))
              AND (CAST($4 AS TEXT) IS NULL OR c.name_key LIKE $4 ESCAPE '!'
                   OR EXISTS (SELECT 1 FROM registrations r WHERE r.client_id = c.id AND r.oauth_client_id = $5))
              AND (CAST($6 AS TEXT) IS NULL OR c.property_id = $6)
              AND (CAST($7 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM registrations r WHERE r.client_id = c.id AND r.environment = $7))
              AND (CAST($8 AS BIGINT) IS NULL OR EXISTS (
                    SELECT 1 FROM registrations r
                    JOIN (VALUES {rows:2}) AS v ON v.column1 = r.environment
                    JOIN secrets s ON s.registration_id = r.id AND s.expires_at IS NULL AND s.revoked_at IS NULL
                    WHERE r.client_id = c.id AND s.created_at <= $8 AND s.created_at <= CAST(v.column2 AS BIGINT)))
              AND (CAST($9 AS BIGINT) = 0 OR ", unheard!(), ")
              AND (CAST($10 AS BIGINT) = 0 OR ", awaits_secret!(), ")
            ORDER BY c.created_at, c.id LIMIT $3");
    // A pattern finds more than one owner, so that the rows are compared again.
    OWNED = "SELECT id, property_id, name, description, owners, created_at, version FROM clients WHERE deleted_at IS NULL AND owners LIKE $1 ESCAPE '!' ORDER BY created_at, id";
    // As `owners_json` writes it. The index clients_ownerless has the rows without any owner, and the others are only read
    // where there is a webhook that does not hear.
    OWNERLESS = concat!("SELECT CAST((SELECT COUNT(*) FROM clients c WHERE c.deleted_at IS NULL AND c.owners = '[]')
              + (SELECT COUNT(*) FROM clients c WHERE c.deleted_at IS NULL
                   AND EXISTS (SELECT 1 FROM webhooks s WHERE s.disabled_at IS NOT NULL OR s.format = 'pagerduty')
                   AND ", unheard_owners!(), ") AS BIGINT) AS clients");
    UNHEARD_ROTATIONS = concat!("SELECT CAST(COUNT(*) AS BIGINT) AS registrations FROM registrations r JOIN clients c ON c.id = r.client_id
              WHERE r.self_rotation = 1 AND c.deleted_at IS NULL AND (", unheard!(), " OR (CAST($1 AS BIGINT) = 0
                AND NOT EXISTS (SELECT 1 FROM webhooks w WHERE w.disabled_at IS NULL AND w.format <> 'pagerduty' AND c.owners LIKE '%\"' || w.id || '\"%')))");
    INSERT_REGISTRATION = "INSERT INTO registrations (id, client_id, environment, oauth_client_id, auth_basic, auth_post, scopes,
                               audience, access_token_ttl_seconds, may_introspect, created_at, allowed_networks, version)
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1)";
    GIVEN = "SELECT id FROM registrations WHERE environment = $1 AND oauth_client_id = $2";
    REGISTRATION = "SELECT r.id, r.client_id, r.environment, r.oauth_client_id, r.auth_basic, r.auth_post, r.scopes, r.audience,
                        r.access_token_ttl_seconds, r.may_introspect, r.allowed_networks, r.self_rotation, r.created_at, r.disabled_at, r.enabled_at, r.earlier_tokens_end_at, r.token_generation, r.version, s.created_at AS current_since, a.is_public
                    FROM registrations r
                    LEFT JOIN secrets s ON s.registration_id = r.id AND s.expires_at IS NULL AND s.revoked_at IS NULL
                    LEFT JOIN adoptions a ON a.registration_id = r.id
                    WHERE r.client_id = $1 AND r.environment = $2";
    REGISTRATIONS = "SELECT r.id, r.client_id, r.environment, r.oauth_client_id, r.auth_basic, r.auth_post, r.scopes, r.audience,
                         r.access_token_ttl_seconds, r.may_introspect, r.allowed_networks, r.self_rotation, r.created_at, r.disabled_at, r.enabled_at, r.earlier_tokens_end_at, r.token_generation, r.version, s.created_at AS current_since, a.is_public
                     FROM registrations r
                     JOIN environments e ON e.slug = r.environment
                     LEFT JOIN secrets s ON s.registration_id = r.id AND s.expires_at IS NULL AND s.revoked_at IS NULL
                     LEFT JOIN adoptions a ON a.registration_id = r.id
                     WHERE r.client_id = $1 ORDER BY e.position, e.slug";
    REGISTRATIONS_OF = "SELECT r.id, r.client_id, r.environment, r.oauth_client_id, r.auth_basic, r.auth_post, r.scopes, r.audience,
                            r.access_token_ttl_seconds, r.may_introspect, r.allowed_networks, r.self_rotation, r.created_at, r.disabled_at, r.enabled_at, r.earlier_tokens_end_at, r.token_generation, r.version, s.created_at AS current_since, a.is_public
                        FROM registrations r
                        JOIN (VALUES {rows:1}) AS v ON r.client_id = v.column1
                        JOIN environments e ON e.slug = r.environment
                        LEFT JOIN secrets s ON s.registration_id = r.id AND s.expires_at IS NULL AND s.revoked_at IS NULL
                        LEFT JOIN adoptions a ON a.registration_id = r.id
                        ORDER BY e.position, e.slug";
    PLACE = "SELECT r.id, r.client_id, c.property_id, r.environment, e.issuer_mode, r.oauth_client_id, c.name FROM registrations r
             JOIN clients c ON c.id = r.client_id JOIN environments e ON e.slug = r.environment WHERE r.id = $1";
    CALLED = "SELECT id, property_id, name, description, owners, created_at, version FROM clients WHERE name_key = $1 AND deleted_at IS NULL ORDER BY id LIMIT $2";
    PROPERTIES_OF = "SELECT c.id, c.property_id FROM clients c JOIN (VALUES {rows:1}) AS v ON c.id = v.column1 WHERE c.deleted_at IS NULL";
    PROPERTY_OF = "SELECT property_id FROM clients WHERE id = $1";
    TOUCH_REGISTRATION = "UPDATE registrations SET version = version + 1 WHERE id = $1";
    UPDATE_REGISTRATION = "UPDATE registrations SET auth_basic = $2, auth_post = $3, scopes = $4, audience = $5,
                               access_token_ttl_seconds = $6, may_introspect = $7, disabled_at = $8, earlier_tokens_end_at = $9, enabled_at = $10, token_generation = $11, allowed_networks = $12, self_rotation = $13, version = version + 1
                           WHERE id = $1";
}

fn client(row: &Row) -> Result<Client, StoreError> {
    Ok(Client {
        id: row.parsed("id", |text| ClientId::parse(text).ok())?,
        property_id: row.parsed("property_id", |text| PropertyId::parse(text).ok())?,
        name: Name::from_stored(row.text("name")?),
        description: row.text("description")?,
        owners: row.parsed("owners", |text| serde_json::from_str(text).ok())?,
        created_at: row.time("created_at")?,
        version: row.int("version")?,
    })
}

/// Returns the authentication methods of a row.
pub(crate) fn methods(row: &Row) -> Result<AuthMethods, StoreError> {
    let mut list = Vec::new();
    if row.flag("auth_basic")? {
        list.push(AuthMethod::ClientSecretBasic);
    }
    if row.flag("auth_post")? {
        list.push(AuthMethod::ClientSecretPost);
    }
    AuthMethods::parse(&list).map_err(|_| row.corrupt("auth_basic"))
}

/// Returns the token lifetime of a row.
pub(crate) fn ttl(row: &Row) -> Result<TokenTtl, StoreError> {
    TokenTtl::parse(row.int("access_token_ttl_seconds")?).map_err(|_| row.corrupt("access_token_ttl_seconds"))
}

fn registration(row: &Row) -> Result<Registration, StoreError> {
    Ok(Registration {
        id: row.parsed("id", |text| RegistrationId::parse(text).ok())?,
        client_id: row.parsed("client_id", |text| ClientId::parse(text).ok())?,
        environment: Slug::from_stored(row.text("environment")?),
        oauth_client_id: row.parsed("oauth_client_id", |text| OauthClientId::parse(text).ok())?,
        methods: methods(row)?,
        scopes: Scopes::from_stored(row.text("scopes")?),
        audience: row.opt_text("audience")?,
        ttl: ttl(row)?,
        may_introspect: row.flag("may_introspect")?,
        allowed_networks: row.opt_parsed("allowed_networks", Networks::from_stored)?,
        self_rotation: row.flag("self_rotation")?,
        created_at: row.time("created_at")?,
        disabled_at: row.opt_time("disabled_at")?,
        enabled_at: row.opt_time("enabled_at")?,
        earlier_tokens_end_at: row.opt_time("earlier_tokens_end_at")?,
        token_generation: row.int("token_generation")?,
        version: row.int("version")?,
        current_since: row.opt_time("current_since")?,
        is_public: row.opt_int("is_public")?.map(|is_public| is_public != 0),
    })
}

fn owners_json(owners: &[String]) -> String {
    serde_json::Value::from(owners.to_vec()).to_string()
}

/// Returns a LIKE pattern that finds `text` anywhere, taken literally.
pub(crate) fn pattern(text: &str) -> String {
    let escaped = folded(text).replace('!', "!!").replace('%', "!%").replace('_', "!_");
    format!("%{escaped}%")
}

impl Tx {
    /// Stores a new client.
    pub async fn insert_client(&mut self, new: &Client) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.property_id.as_str().into(),
            new.name.as_str().into(),
            name_key(&new.name).into(),
            new.description.as_str().into(),
            owners_json(&new.owners).into(),
            new.created_at.into(),
        ];
        self.execute(INSERT, args).await.map(drop)
    }

    /// Returns a client that has not been deleted.
    pub async fn client(&mut self, id: &ClientId) -> Result<Option<Client>, StoreError> {
        self.optional(GET, vec![id.as_str().into()]).await?.as_ref().map(client).transpose()
    }

    /// Returns the client of this property with this name, ignoring case.
    pub async fn client_named(
        &mut self,
        property: &PropertyId,
        name: &Name,
    ) -> Result<Option<ClientId>, StoreError> {
        let row = self.optional(TAKEN, vec![property.as_str().into(), name_key(name).into()]).await?;
        row.map(|row| row.parsed("id", |text| ClientId::parse(text).ok())).transpose()
    }

    /// Returns a page of clients, oldest first.
    pub async fn clients(
        &mut self,
        filter: &ClientFilter,
        page: &PageStart,
    ) -> Result<Vec<Client>, StoreError> {
        let bounds = self.overdue_bounds(filter.overdue_at).await?;
        let mut args = page.args();
        args.extend([
            filter.q.as_deref().map(pattern).into(),
            filter.q.clone().into(),
            filter.property_id.as_ref().map(PropertyId::as_str).into(),
            filter.environment.as_ref().map(Slug::as_str).into(),
            bounds.latest.into(),
            filter.ownerless.into(),
            filter.without_secret.into(),
        ]);
        self.rows_with(LIST, args, &bounds.rows).await?.iter().map(client).collect()
    }

    /// Returns the clients of all properties with this name, in any case of its letters, at most `limit`.
    pub async fn clients_called(&mut self, name: &str, limit: i64) -> Result<Vec<Client>, StoreError> {
        let rows = self.rows(CALLED, vec![folded(name.trim()).into(), limit.into()]).await?;
        rows.iter().map(client).collect()
    }

    /// Returns the clients that an address owns, alone or with others, oldest first.
    pub async fn clients_owned_by(&mut self, owner: &str) -> Result<Vec<Client>, StoreError> {
        // As it is in JSON, so that quotes and backslashes are found.
        let owner_json = serde_json::Value::from(owner).to_string();
        let escaped = owner_json.replace('!', "!!").replace('%', "!%").replace('_', "!_");
        let rows = self.rows(OWNED, vec![format!("%{escaped}%").into()]).await?;
        let mut clients = rows.iter().map(client).collect::<Result<Vec<_>, _>>()?;
        clients.retain(|client| client.owners.iter().any(|it| it == owner));
        Ok(clients)
    }

    /// Returns the number of clients without an owner that hears of them.
    pub async fn ownerless_clients(&mut self) -> Result<i64, StoreError> {
        self.one(OWNERLESS, vec![]).await?.int("clients")
    }

    /// Returns the number of registrations whose client can rotate its own secret, and has no owner that hears of it. Without
    /// mail, an address hears of nothing.
    pub async fn unheard_self_rotations(&mut self, mails: bool) -> Result<i64, StoreError> {
        self.one(UNHEARD_ROTATIONS, vec![mails.into()]).await?.int("registrations")
    }

    /// Updates name, description and owners.
    pub async fn update_client(&mut self, changed: &Client) -> Result<(), StoreError> {
        let args = vec![
            changed.id.as_str().into(),
            changed.name.as_str().into(),
            name_key(&changed.name).into(),
            changed.description.as_str().into(),
            owners_json(&changed.owners).into(),
        ];
        self.execute(UPDATE, args).await.map(drop)
    }

    /// Replaces the owners of many clients.
    pub async fn set_owners(&mut self, changed: &[Client]) -> Result<(), StoreError> {
        let args = |client: &Client| vec![client.id.as_str().into(), owners_json(&client.owners).into()];
        let rows: Vec<_> = changed.iter().map(args).collect();
        self.many(SET_OWNERS, &rows).await.map(drop)
    }

    /// Marks a client as deleted. Its rows stay as history, but for its upstream credentials.
    pub async fn delete_client(&mut self, id: &ClientId, now: Timestamp) -> Result<(), StoreError> {
        self.note(Noted::Client(id.clone()));
        self.delete_upstream_credentials(id).await?;
        self.execute(DELETE, vec![id.as_str().into(), now.into()]).await.map(drop)
    }

    /// Whether a `client_id` is or was that of a client in this environment.
    pub async fn client_id_was_given(
        &mut self,
        environment: &Slug,
        client_id: &OauthClientId,
    ) -> Result<bool, StoreError> {
        let args = vec![environment.as_str().into(), client_id.as_str().into()];
        Ok(self.optional(GIVEN, args).await?.is_some())
    }

    /// Stores a new registration.
    pub async fn insert_registration(&mut self, new: &Registration) -> Result<(), StoreError> {
        let args = vec![
            new.id.as_str().into(),
            new.client_id.as_str().into(),
            new.environment.as_str().into(),
            new.oauth_client_id.as_str().into(),
            new.methods.allows(AuthMethod::ClientSecretBasic).into(),
            new.methods.allows(AuthMethod::ClientSecretPost).into(),
            new.scopes.joined().into(),
            new.audience.clone().into(),
            i64::from(new.ttl.seconds()).into(),
            new.may_introspect.into(),
            new.created_at.into(),
            new.allowed_networks.as_ref().map(Networks::stored).into(),
        ];
        self.execute(INSERT_REGISTRATION, args).await.map(drop)
    }

    /// Returns a client's registration in one environment.
    pub async fn registration(
        &mut self,
        client: &ClientId,
        environment: &Slug,
    ) -> Result<Option<Registration>, StoreError> {
        let args = vec![client.as_str().into(), environment.as_str().into()];
        self.optional(REGISTRATION, args).await?.as_ref().map(registration).transpose()
    }

    /// Returns where a registration belongs.
    pub async fn place_of_registration(&mut self, id: &RegistrationId) -> Result<Option<Place>, StoreError> {
        let row = self.optional(PLACE, vec![id.as_str().into()]).await?;
        row.map(|row| {
            Ok(Place {
                registration_id: row.parsed("id", |text| RegistrationId::parse(text).ok())?,
                client_id: row.parsed("client_id", |text| ClientId::parse(text).ok())?,
                property_id: row.parsed("property_id", |text| PropertyId::parse(text).ok())?,
                environment: Slug::from_stored(row.text("environment")?),
                issuer_mode: row.parsed("issuer_mode", IssuerMode::parse)?,
                oauth_client_id: row.parsed("oauth_client_id", |text| OauthClientId::parse(text).ok())?,
                name: Name::from_stored(row.text("name")?),
            })
        })
        .transpose()
    }

    /// Returns the property of a client, even a deleted one.
    pub async fn property_of_client(&mut self, id: &ClientId) -> Result<Option<PropertyId>, StoreError> {
        let row = self.optional(PROPERTY_OF, vec![id.as_str().into()]).await?;
        row.map(|row| row.parsed("property_id", |text| PropertyId::parse(text).ok())).transpose()
    }

    /// Returns a client's registrations in the order of the environments.
    pub async fn registrations(&mut self, client: &ClientId) -> Result<Vec<Registration>, StoreError> {
        self.rows(REGISTRATIONS, vec![client.as_str().into()]).await?.iter().map(registration).collect()
    }

    /// Returns the properties of these clients, in one statement. Deleted clients are left out.
    pub async fn properties_of_clients(
        &mut self,
        clients: &[&ClientId],
    ) -> Result<HashMap<ClientId, PropertyId>, StoreError> {
        let keys: Vec<_> = clients.iter().map(|id| vec![id.as_str().into()]).collect();
        let property = |row: &Row| {
            let id = row.parsed("id", |text| ClientId::parse(text).ok())?;
            Ok((id, row.parsed("property_id", |text| PropertyId::parse(text).ok())?))
        };
        self.look_up(PROPERTIES_OF, &keys).await?.iter().map(property).collect()
    }

    /// Returns the registrations of each of these clients, in the order of the environments, in one statement.
    pub async fn registrations_of(
        &mut self,
        clients: &[&ClientId],
    ) -> Result<HashMap<ClientId, Vec<Registration>>, StoreError> {
        let keys: Vec<_> = clients.iter().map(|id| vec![id.as_str().into()]).collect();
        let mut registrations: HashMap<_, Vec<_>> = HashMap::new();
        for row in self.look_up(REGISTRATIONS_OF, &keys).await? {
            let registration = registration(&row)?;
            registrations.entry(registration.client_id.clone()).or_default().push(registration);
        }
        Ok(registrations)
    }

    /// Marks a registration's secrets as changed, so that earlier versions of it are no longer current.
    pub async fn touch_registration(&mut self, id: &RegistrationId) -> Result<(), StoreError> {
        self.execute(TOUCH_REGISTRATION, vec![id.as_str().into()]).await.map(drop)
    }

    /// Updates the settings of a registration.
    pub async fn update_registration(&mut self, changed: &Registration) -> Result<(), StoreError> {
        let args = vec![
            changed.id.as_str().into(),
            changed.methods.allows(AuthMethod::ClientSecretBasic).into(),
            changed.methods.allows(AuthMethod::ClientSecretPost).into(),
            changed.scopes.joined().into(),
            changed.audience.clone().into(),
            i64::from(changed.ttl.seconds()).into(),
            changed.may_introspect.into(),
            changed.disabled_at.into(),
            changed.earlier_tokens_end_at.into(),
            changed.enabled_at.into(),
            changed.token_generation.into(),
            changed.allowed_networks.as_ref().map(Networks::stored).into(),
            changed.self_rotation.into(),
        ];
        self.execute(UPDATE_REGISTRATION, args).await.map(drop)
    }
}
