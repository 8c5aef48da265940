//! Environments and their signing keys.

use crate::{StoreError, Tx, Value, catalogue::statements, db::Row, ends::Noted};
use crossfade_core::{
    Timestamp,
    environment::{EnvironmentKind, SigningAlg, Slug},
    rotation::overdue_if_created_by,
    signing_key::KeyTimes,
    upstream::{IssuerMode, UnregisteredClients, Upstream},
};

/// A stored environment.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Name in URLs.
    pub slug: Slug,
    /// Display name.
    pub name: String,
    /// Whether it serves real users.
    pub kind: EnvironmentKind,
    /// Position in the list.
    pub position: i64,
    /// Signing algorithm of new access tokens.
    pub signing_alg: SigningAlg,
    /// Whether secret values are never stored.
    pub show_once: bool,
    /// Days after a secret's end until its value is wiped.
    pub wipe_after_days: i64,
    /// Days after which a secret is overdue.
    pub max_age_days: Option<i64>,
    /// Hours by which the guard can extend a deadline at a time.
    pub guard_extension_hours: Option<i64>,
    /// Days after which a new signing key is created on a schedule.
    pub signing_key_rotation_days: Option<i64>,
    /// The issuer that it is in front of; `None` while it issues its own tokens.
    pub upstream: Option<Upstream>,
    /// What happens to requests that name no client that is or was registered in it. Only used in front of another issuer.
    pub unregistered_clients: UnregisteredClients,
    /// Until when secrets that the issuer accepts are learned.
    pub adopt_until: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Version, increased by every change of the row.
    pub version: i64,
}

/// A stored signing key, with its private part sealed.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// Its `kid`.
    pub kid: String,
    /// Environment it belongs to.
    pub environment: Slug,
    /// Its algorithm.
    pub alg: SigningAlg,
    /// The sealed private key (PKCS #8).
    pub sealed: Vec<u8>,
    /// Times of its life cycle.
    pub times: KeyTimes,
}

statements! {
    INSERT = "INSERT INTO environments (slug, name, kind, position, signing_alg, show_once, wipe_after_days, max_age_days, guard_extension_hours, signing_key_rotation_days, issuer_mode, upstream, unregistered_clients, adopt_until, created_at, version)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 1)";
    GET = "SELECT slug, name, kind, position, signing_alg, show_once, wipe_after_days, max_age_days, guard_extension_hours, signing_key_rotation_days, issuer_mode, upstream, unregistered_clients, adopt_until, created_at, version
           FROM environments WHERE slug = $1";
    LIST = "SELECT slug, name, kind, position, signing_alg, show_once, wipe_after_days, max_age_days, guard_extension_hours, signing_key_rotation_days, issuer_mode, upstream, unregistered_clients, adopt_until, created_at, version
            FROM environments ORDER BY position, slug";
    UPSTREAM = "SELECT slug, issuer_mode, upstream, unregistered_clients, adopt_until FROM environments WHERE slug = $1";
    SLUGS = "SELECT slug FROM environments ORDER BY position, slug";
    UPDATE = "UPDATE environments SET name = $2, kind = $3, position = $4, signing_alg = $5, show_once = $6,
              wipe_after_days = $7, max_age_days = $8, guard_extension_hours = $9, signing_key_rotation_days = $10, issuer_mode = $11, upstream = $12, unregistered_clients = $13, adopt_until = $14, version = version + 1 WHERE slug = $1";
    MOVE = "UPDATE environments SET position = $2 WHERE slug = $1";
    DELETE = "DELETE FROM environments WHERE slug = $1";
    MAX_AGES = "SELECT slug, max_age_days FROM environments WHERE max_age_days IS NOT NULL";
    HAS_REGISTRATIONS = "SELECT id FROM registrations WHERE environment = $1 LIMIT 1";
    INSERT_KEY = "INSERT INTO signing_keys (kid, environment, alg, sealed, created_at, active_from) VALUES ($1, $2, $3, $4, $5, $6)";
    KEYS = "SELECT kid, environment, alg, sealed, active_from, removed_at FROM signing_keys
            WHERE environment = $1 ORDER BY active_from, created_at, kid";
    KEYS_OF = "SELECT k.kid, k.environment, k.alg, k.sealed, k.active_from, k.removed_at FROM signing_keys k
               JOIN (VALUES {rows:1}) AS v ON k.environment = v.column1 ORDER BY k.active_from, k.created_at, k.kid";
    KEY_REMOVAL = "UPDATE signing_keys SET removed_at = $2 WHERE kid = $1";
    DELETE_KEYS = "DELETE FROM signing_keys WHERE environment = $1";
    DELETE_REMOVED_KEYS = "DELETE FROM signing_keys WHERE removed_at IS NOT NULL AND removed_at <= $1";
}

impl Environment {
    /// Returns who issues its tokens.
    pub fn issuer_mode(&self) -> IssuerMode {
        if self.upstream.is_some() { IssuerMode::Upstream } else { IssuerMode::Own }
    }
}

fn stored_upstream(environment: &Environment) -> Option<String> {
    environment.upstream.as_ref().and_then(|upstream| serde_json::to_string(upstream).ok())
}

/// Reads the issuer of a row. An environment in front of an issuer that cannot be read must not issue its own tokens.
fn upstream(row: &Row) -> Result<Option<Upstream>, StoreError> {
    match row.parsed("issuer_mode", IssuerMode::parse)? {
        IssuerMode::Own => Ok(None),
        IssuerMode::Upstream => {
            let upstream = row.opt_parsed("upstream", |text| serde_json::from_str(text).ok())?;
            upstream.map(Some).ok_or_else(|| row.corrupt("upstream"))
        }
    }
}

fn unregistered_clients(row: &Row) -> Result<UnregisteredClients, StoreError> {
    row.parsed("unregistered_clients", UnregisteredClients::parse)
}

fn environment(row: &Row) -> Result<Environment, StoreError> {
    Ok(Environment {
        slug: Slug::from_stored(row.text("slug")?),
        name: row.text("name")?,
        kind: row.parsed("kind", EnvironmentKind::parse)?,
        position: row.int("position")?,
        signing_alg: row.parsed("signing_alg", SigningAlg::parse)?,
        show_once: row.flag("show_once")?,
        wipe_after_days: row.int("wipe_after_days")?,
        max_age_days: row.opt_int("max_age_days")?,
        guard_extension_hours: row.opt_int("guard_extension_hours")?,
        signing_key_rotation_days: row.opt_int("signing_key_rotation_days")?,
        upstream: upstream(row)?,
        unregistered_clients: unregistered_clients(row)?,
        adopt_until: row.opt_time("adopt_until")?,
        created_at: row.time("created_at")?,
        version: row.int("version")?,
    })
}

fn signing_key(row: &Row) -> Result<SigningKey, StoreError> {
    Ok(SigningKey {
        kid: row.text("kid")?,
        environment: Slug::from_stored(row.text("environment")?),
        alg: row.parsed("alg", SigningAlg::parse)?,
        sealed: row.blob("sealed")?,
        times: KeyTimes { active_from: row.time("active_from")?, removed_at: row.opt_time("removed_at")? },
    })
}

/// Bounds for the creation of overdue secrets, as arguments of a statement.
pub(crate) struct OverdueBounds {
    /// The latest bound; `None` if overdue secrets are not asked for.
    pub(crate) latest: Option<Timestamp>,
    /// Environments and their bounds; a row that matches nothing if there are none.
    pub(crate) rows: Vec<Vec<Value>>,
}

impl OverdueBounds {
    /// Returns the arguments of a statement that does not ask for overdue secrets.
    pub(crate) fn none() -> Self {
        Self { latest: None, rows: vec![vec![None::<String>.into(), None::<i64>.into()]] }
    }
}

impl Tx {
    /// Returns the bounds of secrets that are overdue at a time; none without a time.
    pub(crate) async fn overdue_bounds(
        &mut self,
        at: Option<Timestamp>,
    ) -> Result<OverdueBounds, StoreError> {
        let Some(now) = at else { return Ok(OverdueBounds::none()) };
        let mut bounds = OverdueBounds { latest: Some(Timestamp::from_micros(0)), ..OverdueBounds::none() };
        for row in self.rows(MAX_AGES, vec![]).await? {
            if let Some(bound) = overdue_if_created_by(row.opt_int("max_age_days")?, now) {
                bounds.latest = bounds.latest.max(Some(bound));
                bounds.rows.push(vec![row.text("slug")?.into(), bound.into()]);
            }
        }
        Ok(bounds)
    }

    /// Stores a new environment.
    pub async fn insert_environment(&mut self, new: &Environment) -> Result<(), StoreError> {
        let args = vec![
            new.slug.as_str().into(),
            new.name.as_str().into(),
            new.kind.as_str().into(),
            new.position.into(),
            new.signing_alg.as_str().into(),
            new.show_once.into(),
            new.wipe_after_days.into(),
            new.max_age_days.into(),
            new.guard_extension_hours.into(),
            new.signing_key_rotation_days.into(),
            new.issuer_mode().as_str().into(),
            stored_upstream(new).into(),
            new.unregistered_clients.as_str().into(),
            new.adopt_until.into(),
            new.created_at.into(),
        ];
        self.execute(INSERT, args).await.map(drop)
    }

    /// Returns an environment.
    pub async fn environment(&mut self, slug: &Slug) -> Result<Option<Environment>, StoreError> {
        self.optional(GET, vec![slug.as_str().into()]).await?.as_ref().map(environment).transpose()
    }

    /// Returns the issuer that an environment is in front of, what happens to requests of clients that are not registered
    /// in it, and until when it learns secrets; `None` if it issues its own tokens.
    pub async fn upstream(
        &mut self,
        slug: &Slug,
    ) -> Result<Option<(Upstream, UnregisteredClients, Option<Timestamp>)>, StoreError> {
        let Some(row) = self.optional(UPSTREAM, vec![slug.as_str().into()]).await? else { return Ok(None) };
        let further = |upstream| Ok((upstream, unregistered_clients(&row)?, row.opt_time("adopt_until")?));
        upstream(&row)?.map(further).transpose()
    }

    /// Returns the environments in their order. An environment whose row cannot be read is left out, so that the others
    /// can still be listed; it is refused and reported when the tables are loaded.
    pub async fn environments(&mut self) -> Result<Vec<Environment>, StoreError> {
        let rows = self.rows(LIST, vec![]).await?;
        let read = rows.iter().map(environment);
        read.filter(|it| !matches!(it, Err(StoreError::Corrupt { .. }))).collect()
    }

    /// Returns the slugs of all environments in their order, including those whose settings cannot be read.
    pub async fn environment_slugs(&mut self) -> Result<Vec<Slug>, StoreError> {
        let rows = self.rows(SLUGS, vec![]).await?;
        rows.iter().map(|row| Ok(Slug::from_stored(row.text("slug")?))).collect()
    }

    /// Updates every setting of an environment.
    pub async fn update_environment(&mut self, changed: &Environment) -> Result<(), StoreError> {
        self.note_for_later(Noted::Environment(changed.slug.to_string()));
        let args = vec![
            changed.slug.as_str().into(),
            changed.name.as_str().into(),
            changed.kind.as_str().into(),
            changed.position.into(),
            changed.signing_alg.as_str().into(),
            changed.show_once.into(),
            changed.wipe_after_days.into(),
            changed.max_age_days.into(),
            changed.guard_extension_hours.into(),
            changed.signing_key_rotation_days.into(),
            changed.issuer_mode().as_str().into(),
            stored_upstream(changed).into(),
            changed.unregistered_clients.as_str().into(),
            changed.adopt_until.into(),
        ];
        self.execute(UPDATE, args).await.map(drop)
    }

    /// Puts the environments in this order.
    pub async fn order_environments(&mut self, slugs: &[Slug]) -> Result<(), StoreError> {
        for (position, slug) in slugs.iter().enumerate() {
            self.execute(MOVE, vec![slug.as_str().into(), (position as i64).into()]).await?;
        }
        Ok(())
    }

    /// Deletes an environment that has no registrations, with its keys.
    pub async fn delete_environment(&mut self, slug: &Slug) -> Result<(), StoreError> {
        self.execute(DELETE_KEYS, vec![slug.as_str().into()]).await?;
        self.delete_unregistered_clients(slug).await?;
        self.execute(DELETE, vec![slug.as_str().into()]).await.map(drop)
    }

    /// Whether the environment has or had a registration.
    pub async fn environment_has_registrations(&mut self, slug: &Slug) -> Result<bool, StoreError> {
        Ok(self.optional(HAS_REGISTRATIONS, vec![slug.as_str().into()]).await?.is_some())
    }

    /// Stores a new signing key.
    pub async fn insert_signing_key(&mut self, key: &SigningKey, now: Timestamp) -> Result<(), StoreError> {
        let args = vec![
            key.kid.as_str().into(),
            key.environment.as_str().into(),
            key.alg.as_str().into(),
            key.sealed.as_slice().into(),
            now.into(),
            key.times.active_from.into(),
        ];
        self.execute(INSERT_KEY, args).await.map(drop)
    }

    /// Returns the signing keys of an environment, in the order in which they become active.
    pub async fn signing_keys(&mut self, slug: &Slug) -> Result<Vec<SigningKey>, StoreError> {
        self.read_signing_keys(slug).await?.into_iter().collect()
    }

    /// Returns the signing keys of these environments, in one statement.
    pub async fn signing_keys_of(&mut self, slugs: &[&Slug]) -> Result<Vec<SigningKey>, StoreError> {
        let keys: Vec<_> = slugs.iter().map(|slug| vec![slug.as_str().into()]).collect();
        self.look_up(KEYS_OF, &keys).await?.iter().map(signing_key).collect()
    }

    /// Returns the signing keys as [`Self::signing_keys`] does, with an error for each key that cannot be read.
    pub async fn read_signing_keys(
        &mut self,
        slug: &Slug,
    ) -> Result<Vec<Result<SigningKey, StoreError>>, StoreError> {
        Ok(self.rows(KEYS, vec![slug.as_str().into()]).await?.iter().map(signing_key).collect())
    }

    /// Records when a signing key leaves the key set.
    pub async fn remove_signing_key_at(&mut self, kid: &str, at: Timestamp) -> Result<(), StoreError> {
        let noted = Noted::SigningKey(kid.to_owned());
        match at <= self.highest_time() {
            true => self.note(noted),
            // Nothing ends before its time: the journal gets it as soon as it can be written.
            false => self.note_for_later(noted),
        }
        self.execute(KEY_REMOVAL, vec![kid.into(), at.into()]).await.map(drop)
    }

    /// Forgets the private parts of keys that have left their key sets.
    pub async fn delete_removed_signing_keys(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        self.execute(DELETE_REMOVED_KEYS, vec![now.into()]).await
    }
}
