//! Upstream credentials: with what Crossfade authenticates at the issuer that an environment is in front of.

use crate::{StoreError, Tx, Value, access::words_json, catalogue::statements, db::Row};
use crossfade_core::{
    ClientId, PropertyId, RegistrationId, Timestamp,
    environment::Slug,
    text::Name,
    upstream::{BasicEncoding, CredentialMethod, Refused, Slot, SlotState},
};
use std::collections::BTreeSet;

/// A stored upstream credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamCredential {
    /// Registration it belongs to.
    pub registration_id: RegistrationId,
    /// How it is sent.
    pub method: CredentialMethod,
    /// How it is written into the `Authorization` header.
    pub encoding: BasicEncoding,
    /// Scheme, host and port of each server that it was set or confirmed for.
    pub origins: Vec<String>,
    /// The slot that is tried first.
    pub leading_slot: Slot,
    /// Version, increased by every change of a person.
    pub version: i64,
    /// Whether the issuer refuses it, and what is recorded of that.
    pub refused: Refused,
    /// Its secrets, at most one a slot, sorted.
    pub slots: Vec<UpstreamSlot>,
}

/// A stored secret of an upstream credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamSlot {
    /// Which of the two it is.
    pub slot: Slot,
    /// The sealed secret.
    pub sealed: Vec<u8>,
    /// When it was set.
    pub set_at: Timestamp,
    /// What is known about it.
    pub state: SlotState,
    /// When the issuer last accepted it.
    pub last_ok_at: Option<Timestamp>,
    /// How the issuer last refused it.
    pub last_error: Option<String>,
}

/// An upstream credential that the issuer refuses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedUpstream {
    /// The client.
    pub client_id: ClientId,
    /// Its name.
    pub client_name: Name,
    /// Its property.
    pub property_id: PropertyId,
    /// The environment.
    pub environment: Slug,
    /// Since when.
    pub since: Timestamp,
}

/// What the issuer said about a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotOutcome {
    /// Registration of the secret.
    pub registration_id: RegistrationId,
    /// Slot of the secret.
    pub slot: Slot,
    /// When the secret was set that was sent. A secret that was replaced since then has no part in the outcome.
    pub set_at: Timestamp,
    /// What is known about it now.
    pub state: SlotState,
    /// When the issuer last accepted it.
    pub last_ok_at: Option<Timestamp>,
    /// How the issuer last refused it.
    pub last_error: Option<String>,
}

statements! {
    GET = "SELECT registration_id, method, origins, leading_slot, version, refused_since, refusal_recorded_at, basic_encoding FROM upstream_credentials
           WHERE registration_id >= $1 AND registration_id <= $2 ORDER BY registration_id";
    ORIGINS = "SELECT u.registration_id, u.origins FROM upstream_credentials u JOIN registrations r ON r.id = u.registration_id
               WHERE r.environment = $1 ORDER BY u.registration_id";
    SET_ORIGINS = "UPDATE upstream_credentials SET origins = v.column2, version = version + 1 FROM (VALUES {rows:2}) AS v
                   WHERE upstream_credentials.registration_id = v.column1";
    SLOTS = "SELECT registration_id, slot, sealed, set_at, state, last_ok_at, last_error FROM upstream_slots
             WHERE registration_id >= $1 AND registration_id <= $2 ORDER BY registration_id, slot";
    SET = "INSERT INTO upstream_credentials (registration_id, method, origins, leading_slot, version) VALUES ($1, $2, $3, $4, 1)
           ON CONFLICT (registration_id) DO UPDATE SET method = excluded.method, origins = excluded.origins,
               leading_slot = excluded.leading_slot, version = upstream_credentials.version + 1";
    SET_SLOT = "INSERT INTO upstream_slots (registration_id, slot, sealed, set_at, state) VALUES ($1, $2, $3, $4, 'untested')
                ON CONFLICT (registration_id, slot) DO UPDATE SET sealed = excluded.sealed, set_at = excluded.set_at,
                    state = excluded.state, last_ok_at = NULL, last_error = NULL";
    DELETE_SLOT = "DELETE FROM upstream_slots WHERE registration_id = $1 AND slot = $2";
    DELETE_SLOTS_OF = "DELETE FROM upstream_slots WHERE registration_id IN (SELECT id FROM registrations WHERE client_id = $1)";
    DELETE_OF = "DELETE FROM upstream_credentials WHERE registration_id IN (SELECT id FROM registrations WHERE client_id = $1)";
    NOTE = "UPDATE upstream_slots SET state = $4, last_ok_at = COALESCE($5, last_ok_at), last_error = COALESCE($6, last_error)
            WHERE registration_id = $1 AND slot = $2 AND set_at = $3";
    LEAD = "UPDATE upstream_credentials SET leading_slot = $2 WHERE registration_id = $1";
    SET_ENCODING = "UPDATE upstream_credentials SET basic_encoding = $2, version = version + 1 WHERE registration_id = $1 AND basic_encoding <> $2";
    SET_REFUSED = "UPDATE upstream_credentials SET refused_since = $2, refusal_recorded_at = $3 WHERE registration_id = $1";
    REFUSED = "SELECT c.id, c.name, c.property_id, r.environment, u.refused_since FROM upstream_credentials u
               JOIN registrations r ON r.id = u.registration_id JOIN clients c ON c.id = r.client_id
               WHERE u.refused_since IS NOT NULL AND c.deleted_at IS NULL ORDER BY u.refused_since, u.registration_id LIMIT $1";
    REFUSED_OF = "SELECT u.registration_id FROM upstream_credentials u JOIN (VALUES {rows:1}) AS v ON u.registration_id = v.column1
                  WHERE u.refused_since IS NOT NULL";
    SEALED = "SELECT registration_id, slot, sealed FROM upstream_slots";
}

fn registration_id(row: &Row) -> Result<RegistrationId, StoreError> {
    row.parsed("registration_id", |text| RegistrationId::parse(text).ok())
}

fn credential(row: &Row) -> Result<UpstreamCredential, StoreError> {
    Ok(UpstreamCredential {
        registration_id: registration_id(row)?,
        method: row.parsed("method", CredentialMethod::parse)?,
        encoding: row.parsed("basic_encoding", BasicEncoding::parse)?,
        origins: row.parsed("origins", |text| serde_json::from_str(text).ok())?,
        leading_slot: row.parsed("leading_slot", Slot::parse)?,
        version: row.int("version")?,
        refused: Refused {
            since: row.opt_time("refused_since")?,
            recorded_at: row.opt_time("refusal_recorded_at")?,
        },
        slots: Vec::new(),
    })
}

fn slot(row: &Row) -> Result<UpstreamSlot, StoreError> {
    Ok(UpstreamSlot {
        slot: row.parsed("slot", Slot::parse)?,
        sealed: row.blob("sealed")?,
        set_at: row.time("set_at")?,
        state: row.parsed("state", SlotState::parse)?,
        last_ok_at: row.opt_time("last_ok_at")?,
        last_error: row.opt_text("last_error")?,
    })
}

impl Tx {
    /// Returns the upstream credential of a registration.
    pub async fn upstream_credential(
        &mut self,
        registration: &RegistrationId,
    ) -> Result<Option<UpstreamCredential>, StoreError> {
        let id = registration.as_str();
        self.upstream_credentials(id, id).await?.pop().transpose()
    }

    /// Returns the upstream credentials of the registrations with these IDs and all between them, by ID, with an error for
    /// each that cannot be read.
    pub(crate) async fn upstream_credentials(
        &mut self,
        first: &str,
        last: &str,
    ) -> Result<Vec<Result<UpstreamCredential, StoreError>>, StoreError> {
        let mut read: Vec<_> =
            self.rows(GET, vec![first.into(), last.into()]).await?.iter().map(credential).collect();
        for row in self.rows(SLOTS, vec![first.into(), last.into()]).await? {
            let Ok(id) = registration_id(&row) else { continue };
            let own = read.iter_mut().find(|it| it.as_ref().is_ok_and(|it| it.registration_id == id));
            match (own, slot(&row)) {
                (Some(Ok(own)), Ok(slot)) => own.slots.push(slot),
                // Without one of its secrets, it would look as if nobody had set that.
                (Some(own), Err(error)) => *own = Err(error),
                _ => {}
            }
        }
        Ok(read)
    }

    /// Sets the upstream credential of a registration, without its secrets.
    pub async fn set_upstream_credential(&mut self, set: &UpstreamCredential) -> Result<(), StoreError> {
        let args = vec![
            set.registration_id.as_str().into(),
            set.method.as_str().into(),
            words_json(Some(&set.origins)).into(),
            set.leading_slot.as_str().into(),
        ];
        self.execute(SET, args).await.map(drop)
    }

    /// Limits the upstream credentials of an environment to these of their servers, so that one that comes back must be
    /// confirmed again. Returns the registrations whose credential was limited.
    pub async fn keep_upstream_origins(
        &mut self,
        environment: &Slug,
        kept: &BTreeSet<String>,
    ) -> Result<Vec<RegistrationId>, StoreError> {
        let (mut limited, mut rows) = (Vec::new(), Vec::new());
        for row in self.rows(ORIGINS, vec![environment.as_str().into()]).await? {
            let id = registration_id(&row)?;
            let before: Vec<String> = row.parsed("origins", |text| serde_json::from_str(text).ok())?;
            let after: Vec<String> = before.iter().filter(|origin| kept.contains(*origin)).cloned().collect();
            if after.len() < before.len() {
                rows.push(vec![id.as_str().into(), words_json(Some(&after)).into()]);
                limited.push(id);
            }
        }
        self.many(SET_ORIGINS, &rows).await?;
        Ok(limited)
    }

    /// Puts a secret into a slot. Nothing is known about it yet.
    pub async fn set_upstream_slot(
        &mut self,
        registration: &RegistrationId,
        slot: Slot,
        sealed: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let args = vec![registration.as_str().into(), slot.as_str().into(), sealed.into(), now.into()];
        self.execute(SET_SLOT, args).await.map(drop)
    }

    /// Empties a slot.
    pub async fn delete_upstream_slot(
        &mut self,
        registration: &RegistrationId,
        slot: Slot,
    ) -> Result<(), StoreError> {
        self.execute(DELETE_SLOT, vec![registration.as_str().into(), slot.as_str().into()]).await.map(drop)
    }

    /// Deletes the upstream credentials of a client. The issuer may accept them for years.
    pub(crate) async fn delete_upstream_credentials(&mut self, client: &ClientId) -> Result<(), StoreError> {
        self.execute(DELETE_SLOTS_OF, vec![client.as_str().into()]).await?;
        self.execute(DELETE_OF, vec![client.as_str().into()]).await.map(drop)
    }

    /// Records what the issuer said about a secret. Returns whether the secret is still in its slot.
    pub async fn note_upstream_outcome(&mut self, outcome: &SlotOutcome) -> Result<bool, StoreError> {
        let args = vec![
            outcome.registration_id.as_str().into(),
            outcome.slot.as_str().into(),
            outcome.set_at.into(),
            outcome.state.as_str().into(),
            outcome.last_ok_at.into(),
            outcome.last_error.as_deref().into(),
        ];
        Ok(self.execute(NOTE, args).await? > 0)
    }

    /// Sets how an upstream credential is written into the `Authorization` header. Returns whether it is another way.
    pub async fn set_upstream_encoding(
        &mut self,
        registration: &RegistrationId,
        encoding: BasicEncoding,
    ) -> Result<bool, StoreError> {
        let args = vec![registration.as_str().into(), encoding.as_str().into()];
        Ok(self.execute(SET_ENCODING, args).await? > 0)
    }

    /// Records whether the issuer refuses an upstream credential.
    pub async fn set_upstream_refused(
        &mut self,
        registration: &RegistrationId,
        refused: Refused,
    ) -> Result<(), StoreError> {
        let args = vec![registration.as_str().into(), refused.since.into(), refused.recorded_at.into()];
        self.execute(SET_REFUSED, args).await.map(drop)
    }

    /// Returns at most `limit` upstream credentials that issuers refuse, the one that is refused longest first.
    pub async fn refused_upstream_credentials(
        &mut self,
        limit: i64,
    ) -> Result<Vec<RefusedUpstream>, StoreError> {
        let rows = self.rows(REFUSED, vec![limit.into()]).await?;
        let refused = |row: &Row| {
            Ok(RefusedUpstream {
                client_id: row.parsed("id", |text| ClientId::parse(text).ok())?,
                client_name: Name::from_stored(row.text("name")?),
                property_id: row.parsed("property_id", |text| PropertyId::parse(text).ok())?,
                environment: Slug::from_stored(row.text("environment")?),
                since: row.time("refused_since")?,
            })
        };
        rows.iter().map(refused).collect()
    }

    /// Returns those of these registrations whose upstream credential the issuer refuses, in one statement.
    pub async fn upstream_refused_of(
        &mut self,
        registrations: &[RegistrationId],
    ) -> Result<Vec<RegistrationId>, StoreError> {
        if registrations.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<Vec<Value>> = registrations.iter().map(|id| vec![id.as_str().into()]).collect();
        self.rows_with(REFUSED_OF, vec![], &keys).await?.iter().map(registration_id).collect()
    }

    /// Sets which slot of a registration is tried first.
    pub async fn lead_with_upstream_slot(
        &mut self,
        registration: &RegistrationId,
        slot: Slot,
    ) -> Result<(), StoreError> {
        self.execute(LEAD, vec![registration.as_str().into(), slot.as_str().into()]).await.map(drop)
    }

    /// Passes on the sealed secret of every upstream credential.
    pub async fn each_sealed_upstream_secret<E: From<StoreError>>(
        &mut self,
        mut work: impl FnMut(&RegistrationId, Slot, &[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        self.each(SEALED, vec![], |row| {
            work(&registration_id(row)?, row.parsed("slot", Slot::parse)?, &row.blob("sealed")?)
        })
        .await
    }
}
