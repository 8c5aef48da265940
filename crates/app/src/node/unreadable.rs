//! Stored rows that cannot be read. Their subjects are refused, and everything else continues.
//!
//! Such rows were changed outside this program, or copied from elsewhere. An error of the database is different: it
//! says nothing about a row, and the read is tried again.

use crate::{
    error::Error,
    keys::{place::SealPlace, seal::Vault},
};
use crossfade_authority::{DrillSlot, Registration, SealedSlot, SecretSlot, SigningKey, UpstreamCredential};
use crossfade_core::{
    OauthClientId, SecretId, Timestamp, environment::Slug, secret::SecretOrigin, upstream::IssuerMode,
};
use crossfade_store::{ReadVerifier, StoreError, Tx, UpstreamSlot, VerifierRow, VerifierSecret};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Kind of an unreadable row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    /// A registration, which is refused completely.
    Registration,
    /// One secret of a registration.
    Secret,
    /// An environment, which is refused completely.
    Environment,
    /// One signing key of an environment.
    SigningKey,
    /// The end of the tokens of a secret, or of one token.
    TokenRevocation,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Secret => "secret",
            Self::Environment => "environment",
            Self::SigningKey => "signing key",
            Self::TokenRevocation => "token revocation",
        }
    }
}

/// A row that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unreadable {
    pub(crate) kind: Kind,
    /// ID of the row, as far as it can be read.
    pub(crate) id: String,
    /// Why it cannot be read.
    pub(crate) cause: String,
}

impl Unreadable {
    pub(crate) fn new(kind: Kind, id: impl ToString, cause: impl ToString) -> Self {
        Self { kind, id: id.to_string(), cause: cause.to_string() }
    }

    /// Returns the description of a row that the store reports as corrupt.
    pub(crate) fn corrupt(kind: Kind, error: &StoreError) -> Self {
        Self::new(kind, row_of(error), error)
    }
}

/// A unit that is read again together with all its rows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Subject {
    Registration(String),
    Environment(Slug),
    Revocations,
}

/// Unreadable rows for the tables.
#[derive(Default)]
pub(crate) struct UnreadableRows(Mutex<BTreeMap<Subject, Vec<Unreadable>>>);

impl UnreadableRows {
    /// Records the unreadable rows of this subject, and logs those that were readable before.
    pub(crate) fn note(&self, subject: Subject, found: Vec<Unreadable>) {
        let mut all = self.all();
        let before = all.remove(&subject).unwrap_or_default();
        log_new(&before, &found);
        if !found.is_empty() {
            all.insert(subject, found);
        }
    }

    /// Records all rows that cannot be read now.
    pub(crate) fn replace(&self, found: BTreeMap<Subject, Vec<Unreadable>>) {
        let before = std::mem::replace(&mut *self.all(), found.clone());
        for (subject, found) in &found {
            log_new(before.get(subject).map_or(&[], Vec::as_slice), found);
        }
    }

    /// Returns the number of unreadable rows.
    pub(crate) fn count(&self) -> usize {
        self.all().values().map(Vec::len).sum()
    }

    /// Returns a sentence for the text of `readyz`, without IDs because anyone can read it; `None` if every row can be
    /// read.
    pub(crate) fn told(&self) -> Option<String> {
        let mut counts = BTreeMap::new();
        for row in self.all().values().flatten() {
            *counts.entry(row.kind).or_insert(0) += 1;
        }
        let counts: Vec<String> =
            counts.into_iter().map(|(kind, number)| crate::wording::count(number, kind.as_str())).collect();
        let told = format!("refused because they cannot be read (the log names them): {}", counts.join(", "));
        (!counts.is_empty()).then_some(told)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Subject, Vec<Unreadable>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_new(before: &[Unreadable], found: &[Unreadable]) {
    for row in found.iter().filter(|row| !before.contains(row)) {
        let Unreadable { kind, id, cause } = row;
        tracing::error!(what = kind.as_str(), id, cause, "cannot read a stored row; its subject is refused");
    }
}

/// Returns the ID of the row that the store reports as corrupt.
pub(crate) fn row_of(error: &StoreError) -> &str {
    match error {
        StoreError::Corrupt { row, .. } => row,
        _ => "",
    }
}

/// A registration for the tables.
pub(crate) enum TableEntry {
    /// A registration, and its credential for the issuer that its environment is in front of.
    Registration(Registration, Option<UpstreamCredential>),
    Deleted {
        issuer_mode: IssuerMode,
        environment: Slug,
        client_id: OauthClientId,
    },
    /// The row cannot be read. In front of another issuer, with its environment and `client_id` if they are known.
    Refused(Option<(Slug, String)>),
}

/// Returns a registration for the tables, and its unreadable rows.
pub(crate) fn registration(read: ReadVerifier) -> (TableEntry, Vec<Unreadable>) {
    let ReadVerifier { id, given, row, unreadable_secrets } = read;
    let row = match row {
        Ok(row) if row.deleted => {
            let VerifierRow { issuer_mode, environment, oauth_client_id: client_id, .. } = row;
            return (TableEntry::Deleted { issuer_mode, environment, client_id }, Vec::new());
        }
        Ok(row) => row,
        Err(error) => {
            return (TableEntry::Refused(given), vec![Unreadable::new(Kind::Registration, id, error)]);
        }
    };
    let mut unreadable: Vec<Unreadable> =
        unreadable_secrets.iter().map(|error| Unreadable::corrupt(Kind::Secret, error)).collect();
    let VerifierRow { secrets, windows, .. } = &row;
    let drill = |secret: &SecretId| {
        let last = windows.iter().find(|it| it.secret_id == *secret)?;
        Some(DrillSlot { id: last.drill_id.clone(), windows: last.windows.clone() })
    };
    // At most two, and none after it got one of ours.
    let is_imported = |it: &VerifierSecret| it.origin == SecretOrigin::Imported;
    let learns = row.adopts && unreadable.is_empty() && secrets.len() < 2 && secrets.iter().all(is_imported);
    let mut slots = Vec::with_capacity(secrets.len());
    for secret in secrets {
        let rule = &secret.rule;
        match secret.digest.as_slice().try_into() {
            Ok(digest) => slots.push(SecretSlot {
                drill: drill(&rule.id),
                id: rule.id.clone(),
                digest,
                digest_key: secret.digest_key.clone(),
                has_value_digest: secret.has_value_digest,
                expires_at: rule.expires_at,
                revoked_at: rule.revoked_at,
            }),
            Err(_) => {
                let cause = format!("the digest has {} bytes and not 32", secret.digest.len());
                unreadable.push(Unreadable::new(Kind::Secret, &rule.id, cause));
            }
        }
    }
    let registration = Registration {
        id: row.registration_id,
        client_id: row.oauth_client_id,
        environment: row.environment,
        issuer_mode: row.issuer_mode,
        disabled: row.disabled,
        token_generation: row.token_generation,
        methods: row.methods,
        scopes: row.scopes,
        audience: row.audience,
        ttl: row.ttl,
        may_introspect: row.may_introspect,
        allowed_networks: row.allowed_networks,
        learns,
        secrets: slots,
    };
    let credential = row.upstream_credential.map(|stored| {
        let slot = |it: UpstreamSlot| SealedSlot::new(it.slot, it.sealed, it.set_at);
        let slots = stored.slots.into_iter().map(slot).collect();
        UpstreamCredential::new((stored.method, stored.encoding), stored.origins, slots, stored.leading_slot)
    });
    (TableEntry::Registration(registration, credential), unreadable)
}

/// Returns the readable signing keys of an environment, and its unreadable rows. `None` instead of the keys if none is
/// left, so that the environment is refused completely: an empty key set would make resource servers forget the keys
/// they know.
pub(crate) async fn signing_keys(
    tx: &mut Tx,
    vault: &Vault,
    slug: &Slug,
    now: Timestamp,
) -> Result<(Option<Vec<SigningKey>>, Vec<Unreadable>), StoreError> {
    let (mut keys, mut unreadable) = (Vec::new(), Vec::new());
    for key in tx.read_signing_keys(slug).await? {
        let key = match key {
            Ok(key) => key,
            Err(error) => {
                unreadable.push(Unreadable::corrupt(Kind::SigningKey, &error));
                continue;
            }
        };
        let place = SealPlace::SigningKey { environment: slug, kid: &key.kid };
        let opened = vault
            .open(&place, &key.sealed)
            .and_then(|private| SigningKey::parse(key.alg, &private, key.times).map_err(Error::internal));
        match opened {
            Ok(opened) => keys.push(opened),
            // It has left the key set, so nothing it signed is valid any more.
            Err(_) if !key.times.is_published(now) => {}
            Err(error) => {
                let cause = error.source.map_or_else(String::new, |source| source.to_string());
                unreadable.push(Unreadable::new(Kind::SigningKey, &key.kid, cause));
            }
        }
    }
    if keys.is_empty() && !unreadable.is_empty() {
        unreadable.push(Unreadable::new(Kind::Environment, slug, "no signing key of it can be read"));
        return Ok((None, unreadable));
    }
    Ok((Some(keys), unreadable))
}

/// Reads every registration, a page at a time, and passes it on for the tables.
pub(crate) async fn each_registration(
    tx: &mut Tx,
    mut work: impl FnMut(String, TableEntry, Vec<Unreadable>),
) -> Result<(), StoreError> {
    const PAGE: i64 = 5000;
    let mut after: Option<String> = None;
    loop {
        let page = tx.verifiers(after.as_deref(), PAGE).await?;
        let is_last = (page.len() as i64) < PAGE;
        // An ID that is not text sorts after all others and cannot be used to continue from.
        after = page.last().map(|last| last.id.clone()).filter(|id| !id.is_empty());
        for read in page {
            let id = read.id.clone();
            let (taken, unreadable) = registration(read);
            work(id, taken, unreadable);
        }
        if is_last || after.is_none() {
            return Ok(());
        }
    }
}
