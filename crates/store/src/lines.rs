//! Lists for the Console: clients with the main facts of each registration, in one statement per page.

use crate::{
    ClientFilter, StoreError, Tx,
    catalogue::{Statement, statements},
    clients::{awaits_secret, pattern, unheard},
    db::{Row, Value},
    environments::OverdueBounds,
};
use crossfade_core::{
    ClientId, OauthClientId, PropertyId, SecretId, Timestamp, api::Grain, environment::Slug, text::Name,
};
use std::collections::{BTreeMap, HashMap};

/// A client in a list.
#[derive(Clone, Debug)]
pub struct ClientLine {
    /// ID.
    pub id: ClientId,
    /// Name.
    pub name: Name,
    /// Its property.
    pub property_id: PropertyId,
    /// The property's name.
    pub property: Name,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its registrations, in the order of the environments.
    pub registrations: Vec<RegistrationLine>,
    /// The current secret that determines its position, if the list is ordered by secrets.
    pub placed_by: Option<(Timestamp, SecretId)>,
}

/// A registration in a list of clients.
#[derive(Clone, Debug)]
pub struct RegistrationLine {
    /// The environment.
    pub environment: Slug,
    /// The OAuth `client_id`.
    pub oauth_client_id: OauthClientId,
    /// Whether it refuses everything.
    pub disabled: bool,
    /// Its current secret.
    pub current: Option<SecretId>,
    /// When its current secret was generated.
    pub current_since: Option<Timestamp>,
    /// The last use of its current secret.
    pub current_used_at: Option<Timestamp>,
    /// The deadline of its retiring secret.
    pub retiring_until: Option<Timestamp>,
    /// The last use of its retiring secret.
    pub retiring_used_at: Option<Timestamp>,
    /// Its retiring secret.
    pub retiring: Option<SecretId>,
    /// Uses of both secrets since the rotation by hour, without hours that have none.
    pub hours: Vec<SharedHour>,
}

/// Uses of an old and a new secret within an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedHour {
    /// Start.
    pub from: Timestamp,
    /// Uses of the old secret.
    pub old: i64,
    /// Uses of the new secret.
    pub new: i64,
}

/// Order of a list of clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClientOrder {
    /// By name.
    #[default]
    Name,
    /// By name, in reverse order.
    NameReversed,
    /// One line for each current secret, the oldest secret first.
    OldestSecret,
    /// One line for each current secret, the newest secret first.
    NewestSecret,
}

/// Position of a line in a list, to continue after it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinePlace {
    /// In a list ordered by name.
    Client(ClientId),
    /// In a list ordered by secrets. Contains the time, because a secret does not stay current.
    Secret(Timestamp, SecretId),
}

macro_rules! columns {
    () => {
        "q.name AS property, r.environment, r.oauth_client_id, r.disabled_at, s.id AS current_id, s.created_at AS current_since,
         u.last_used_at AS current_used_at,
         o.id AS retiring_id, o.expires_at AS retiring_until, ou.last_used_at AS retiring_used_at"
    };
}

/// Selects a page of clients with everything that a line shows. The index of secret ages skips secrets younger than the
/// shortest policy, before their own policy is looked up.
macro_rules! lines {
    ($after:literal, $order:literal, $outer:literal) => {
        lines!("CAST(NULL AS BIGINT)", "CAST(NULL AS TEXT)", "clients c", $after, $order, $outer)
    };
    ($at:literal, $by:literal, $from:literal, $after:literal, $order:literal, $outer:literal) => {
        concat!(
            "WITH page AS (
               SELECT c.id, c.name, c.name_key, c.property_id, c.created_at, ", $at, " AS placed_at, ", $by, " AS placed_by FROM ", $from, "
               WHERE c.deleted_at IS NULL AND ", $after, "
                 AND (CAST($5 AS TEXT) IS NULL OR c.name_key LIKE $5 ESCAPE '!'
                      OR c.id IN (SELECT f.client_id FROM registrations f WHERE f.oauth_client_id = $6))
                 AND (CAST($7 AS TEXT) IS NULL OR c.property_id = $7)
                 AND (CAST($8 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM registrations f WHERE f.client_id = c.id AND f.environment = $8))
                 AND (CAST($9 AS BIGINT) IS NULL OR c.id IN (
                       SELECT f.client_id FROM (VALUES {rows:2}) AS g
                       JOIN secrets t ON t.expires_at IS NULL AND t.revoked_at IS NULL
                                     AND t.created_at <= $9 AND t.created_at <= CAST(g.column2 AS BIGINT)
                       JOIN registrations f ON f.id = t.registration_id AND f.environment = g.column1))
                 AND (CAST($10 AS BIGINT) = 0 OR ", unheard!(), ")
                 AND (CAST($11 AS BIGINT) = 0 OR ", awaits_secret!(), ")
               ORDER BY ", $order, " LIMIT $3)
             SELECT c.id, c.name, c.property_id, c.created_at, c.placed_at, c.placed_by, ", columns!(), "
             FROM page c JOIN properties q ON q.id = c.property_id
             LEFT JOIN registrations r ON r.client_id = c.id
             LEFT JOIN environments e ON e.slug = r.environment
             LEFT JOIN secrets s ON s.registration_id = r.id AND s.expires_at IS NULL AND s.revoked_at IS NULL
             LEFT JOIN secret_usage u ON u.secret_id = s.id
             LEFT JOIN secrets o ON o.registration_id = r.id AND o.expires_at > $4 AND o.revoked_at IS NULL
             LEFT JOIN secret_usage ou ON ou.secret_id = o.id
             ORDER BY ", $outer, ", e.position, e.slug"
        )
    };
}

/// Selects a page of clients with one line per current secret, read along the index of secret ages.
macro_rules! lines_by_secret {
    ($after:literal, $order:literal, $outer:literal) => {
        lines!(
            "a.created_at",
            "a.id",
            "secrets a JOIN registrations w ON w.id = a.registration_id JOIN clients c ON c.id = w.client_id",
            $after,
            $order,
            $outer
        )
    };
}

statements! {
    BY_NAME = lines!("(c.name_key, c.id) > ($1, $2)", "c.name_key, c.id", "c.name_key, c.id");
    // Without a place the list starts at the end of the names: there is no text that is greater than every other.
    FROM_LAST_NAME = lines!("CAST($1 AS TEXT) = CAST($2 AS TEXT)", "c.name_key DESC, c.id DESC", "c.name_key DESC, c.id DESC");
    BY_NAME_REVERSED = lines!("(c.name_key, c.id) < ($1, $2)", "c.name_key DESC, c.id DESC", "c.name_key DESC, c.id DESC");
    BY_OLDEST_SECRET = lines_by_secret!(
        "a.expires_at IS NULL AND a.revoked_at IS NULL AND (a.created_at, a.id) > ($1, $2) AND (CAST($8 AS TEXT) IS NULL OR w.environment = $8)
         AND (CAST($12 AS BIGINT) = 0 OR NOT EXISTS (
               SELECT 1 FROM registrations x JOIN secrets b ON b.registration_id = x.id AND b.expires_at IS NULL AND b.revoked_at IS NULL
               WHERE x.client_id = c.id AND (CAST($8 AS TEXT) IS NULL OR x.environment = $8) AND (b.created_at, b.id) < (a.created_at, a.id)))",
        "a.created_at, a.id", "c.placed_at, c.placed_by"
    );
    BY_NEWEST_SECRET = lines_by_secret!(
        "a.expires_at IS NULL AND a.revoked_at IS NULL AND (a.created_at, a.id) < ($1, $2) AND (CAST($8 AS TEXT) IS NULL OR w.environment = $8)
         AND (CAST($12 AS BIGINT) = 0 OR NOT EXISTS (
               SELECT 1 FROM registrations x JOIN secrets b ON b.registration_id = x.id AND b.expires_at IS NULL AND b.revoked_at IS NULL
               WHERE x.client_id = c.id AND (CAST($8 AS TEXT) IS NULL OR x.environment = $8) AND (b.created_at, b.id) > (a.created_at, a.id)))",
        "a.created_at DESC, a.id DESC", "c.placed_at DESC, c.placed_by DESC"
    );
    ONE = lines!("CAST($1 AS TEXT) = '' AND c.id = $2", "c.id", "c.id");
    // From an hour on, each secret: as many rows as the pictures of a page have hours.
    HOURS = "SELECT p.secret_id, p.bucket, p.use_count FROM secret_usage_series p
             JOIN (VALUES {rows:2}) AS v ON p.secret_id = v.column1 AND p.grain = 3600 AND p.bucket >= CAST(v.column2 AS BIGINT)";
    NAMED = "SELECT c.id, c.name, c.property_id FROM clients c JOIN (VALUES {rows:1}) AS v ON c.id = v.column1";
    PLACE_OF = "SELECT name_key FROM clients WHERE id = $1";
    // Read from the deadlines that have not been noted yet: there are as many as transitions.
    TRANSITIONS = concat!("SELECT c.id, c.name, c.property_id, c.created_at, CAST(NULL AS BIGINT) AS placed_at, CAST(NULL AS TEXT) AS placed_by, ",
                   columns!(), "
                   FROM secrets o
                   JOIN registrations r ON r.id = o.registration_id
                   JOIN clients c ON c.id = r.client_id
                   JOIN properties q ON q.id = c.property_id
                   LEFT JOIN secrets s ON s.registration_id = r.id AND s.expires_at IS NULL AND s.revoked_at IS NULL
                   LEFT JOIN secret_usage u ON u.secret_id = s.id
                   LEFT JOIN secret_usage ou ON ou.secret_id = o.id
                   WHERE o.expires_at > $1 AND (o.expires_at, o.id) > ($3, $4) AND o.expiry_noted_at IS NULL AND o.revoked_at IS NULL AND c.deleted_at IS NULL
                   ORDER BY o.expires_at, o.id LIMIT $2");
}

fn client(row: &Row) -> Result<ClientLine, StoreError> {
    Ok(ClientLine {
        id: row.parsed("id", |text| ClientId::parse(text).ok())?,
        name: Name::from_stored(row.text("name")?),
        property_id: row.parsed("property_id", |text| PropertyId::parse(text).ok())?,
        property: Name::from_stored(row.text("property")?),
        created_at: row.time("created_at")?,
        registrations: Vec::new(),
        placed_by: match row.opt_time("placed_at")? {
            Some(at) => Some((at, row.parsed("placed_by", |text| SecretId::parse(text).ok())?)),
            None => None,
        },
    })
}

fn registration(row: &Row) -> Result<Option<RegistrationLine>, StoreError> {
    let Some(environment) = row.opt_text("environment")? else { return Ok(None) };
    Ok(Some(RegistrationLine {
        environment: Slug::from_stored(environment),
        oauth_client_id: row.parsed("oauth_client_id", |text| OauthClientId::parse(text).ok())?,
        disabled: row.opt_time("disabled_at")?.is_some(),
        current: row.opt_parsed("current_id", |text| SecretId::parse(text).ok())?,
        current_since: row.opt_time("current_since")?,
        current_used_at: row.opt_time("current_used_at")?,
        retiring_until: row.opt_time("retiring_until")?,
        retiring_used_at: row.opt_time("retiring_used_at")?,
        retiring: row.opt_parsed("retiring_id", |text| SecretId::parse(text).ok())?,
        hours: Vec::new(),
    }))
}

fn gathered(rows: &[Row]) -> Result<Vec<ClientLine>, StoreError> {
    let mut lines: Vec<ClientLine> = Vec::new();
    for row in rows {
        let line = client(row)?;
        if lines.last().is_none_or(|last| (&last.id, &last.placed_by) != (&line.id, &line.placed_by)) {
            lines.push(line);
        }
        if let (Some(registration), Some(line)) = (registration(row)?, lines.last_mut()) {
            line.registrations.push(registration);
        }
    }
    Ok(lines)
}

impl Tx {
    /// Returns at most `limit` clients after the given line, with their state at `now`.
    pub async fn client_lines(
        &mut self,
        filter: &ClientFilter,
        order: ClientOrder,
        after: Option<&LinePlace>,
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<ClientLine>, StoreError> {
        let (statement, from) = self.start_of_lines(order, after).await?;
        let bounds = self.overdue_bounds(filter.overdue_at).await?;
        let mut args = Vec::from(from);
        args.extend([
            limit.into(),
            now.into(),
            filter.q.as_deref().map(pattern).into(),
            filter.q.clone().into(),
            filter.property_id.as_ref().map(PropertyId::as_str).into(),
            filter.environment.as_ref().map(Slug::as_str).into(),
            bounds.latest.into(),
            filter.ownerless.into(),
            filter.without_secret.into(),
        ]);
        if matches!(order, ClientOrder::OldestSecret | ClientOrder::NewestSecret) {
            args.push(filter.once.into());
        }
        let lines = gathered(&self.rows_with(statement, args, &bounds.rows).await?)?;
        self.with_hours(lines).await
    }

    /// Adds the hourly uses of every running transition to `lines`, in one statement.
    async fn with_hours(&mut self, mut lines: Vec<ClientLine>) -> Result<Vec<ClientLine>, StoreError> {
        let running =
            |it: &RegistrationLine| Some((it.retiring.clone()?, it.current.clone()?, it.current_since?));
        let registrations = lines.iter().flat_map(|line| &line.registrations);
        let args: Vec<Vec<Value>> = registrations
            .filter_map(running)
            .flat_map(|(old, new, since)| {
                let from = Grain::Hour.bucket(since);
                [old, new].map(|id| vec![id.as_str().into(), from.into()])
            })
            .collect();
        let mut uses: HashMap<String, Vec<(i64, i64)>> = HashMap::new();
        for row in self.look_up(HOURS, &args).await? {
            uses.entry(row.text("secret_id")?).or_default().push((row.int("bucket")?, row.int("use_count")?));
        }
        for registration in lines.iter_mut().flat_map(|line| &mut line.registrations) {
            let Some((old, new, _)) = running(registration) else { continue };
            let mut hours = BTreeMap::<i64, [i64; 2]>::new();
            for (which, id) in [old, new].iter().enumerate() {
                for (hour, count) in uses.get(id.as_str()).into_iter().flatten() {
                    hours.entry(*hour).or_default()[which] += count;
                }
            }
            let shared =
                |(hour, [old, new]): (i64, [i64; 2])| SharedHour { from: Grain::Hour.begins(hour), old, new };
            registration.hours = hours.into_iter().map(shared).collect();
        }
        Ok(lines)
    }

    /// Returns the names and the properties of clients, even of deleted ones, in one statement.
    pub async fn client_names(
        &mut self,
        ids: &[ClientId],
    ) -> Result<HashMap<ClientId, (Name, PropertyId)>, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| vec![id.as_str().into()]).collect();
        let name = |row: &Row| {
            let id = row.parsed("id", |text| ClientId::parse(text).ok())?;
            let property = row.parsed("property_id", |text| PropertyId::parse(text).ok())?;
            Ok((id, (Name::from_stored(row.text("name")?), property)))
        };
        self.look_up(NAMED, &keys).await?.iter().map(name).collect()
    }

    async fn start_of_lines(
        &mut self,
        order: ClientOrder,
        after: Option<&LinePlace>,
    ) -> Result<(Statement, [Value; 2]), StoreError> {
        let name = match after {
            // Deleted ones keep their place.
            Some(LinePlace::Client(id)) => {
                let row = self.optional(PLACE_OF, vec![id.as_str().into()]).await?;
                row.map(|row| Ok::<_, StoreError>([row.text("name_key")?.into(), id.as_str().into()]))
            }
            _ => None,
        };
        let name = name.transpose()?;
        let secret = match after {
            Some(LinePlace::Secret(at, id)) => Some([(*at).into(), id.as_str().into()]),
            _ => None,
        };
        let nothing = || ["".into(), "".into()];
        Ok(match (order, name, secret) {
            (ClientOrder::Name, from, _) => (BY_NAME, from.unwrap_or_else(nothing)),
            (ClientOrder::NameReversed, None, _) => (FROM_LAST_NAME, nothing()),
            (ClientOrder::NameReversed, Some(from), _) => (BY_NAME_REVERSED, from),
            (ClientOrder::OldestSecret, _, from) => {
                (BY_OLDEST_SECRET, from.unwrap_or_else(|| [i64::MIN.into(), "".into()]))
            }
            (ClientOrder::NewestSecret, _, from) => {
                (BY_NEWEST_SECRET, from.unwrap_or_else(|| [i64::MAX.into(), "".into()]))
            }
        })
    }

    /// Returns one client as it appears in a list.
    pub async fn client_line(
        &mut self,
        id: &ClientId,
        now: Timestamp,
    ) -> Result<Option<ClientLine>, StoreError> {
        let nothing = || Value::from(None::<String>);
        let mut args = vec!["".into(), id.as_str().into(), 1.into(), now.into()];
        args.extend([
            nothing(),
            nothing(),
            nothing(),
            nothing(),
            None::<i64>.into(),
            false.into(),
            false.into(),
        ]);
        let lines = gathered(&self.rows_with(ONE, args, &OverdueBounds::none().rows).await?)?;
        Ok(self.with_hours(lines).await?.pop())
    }

    /// Returns at most `limit` transitions running at `now`, the one that ends next first, after the given retiring
    /// secret. One line for each.
    pub async fn transitions(
        &mut self,
        now: Timestamp,
        after: Option<&(Timestamp, SecretId)>,
        limit: i64,
    ) -> Result<Vec<ClientLine>, StoreError> {
        let after = after.map_or([now.into(), "".into()], |(at, id)| [(*at).into(), id.as_str().into()]);
        let mut args = vec![now.into(), limit.into()];
        args.extend(after);
        let rows = self.rows(TRANSITIONS, args).await?;
        let line = |row| {
            let registrations = registration(row)?.into_iter().collect();
            Ok(ClientLine { registrations, ..client(row)? })
        };
        let lines = rows.iter().map(line).collect::<Result<_, StoreError>>()?;
        self.with_hours(lines).await
    }
}
