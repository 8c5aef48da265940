//! Feeds changes to the authority's tables: everything at the start, then one by one from the change log.

use crate::{
    error::Error,
    frame::{act::Act, entry::About},
    node::{
        state::Node,
        unreadable::{
            Kind, Subject, TableEntry, Unreadable, UnreadableRows, each_registration, registration, row_of,
            signing_keys,
        },
    },
};
use crossfade_authority::{Environment, Tables};
use crossfade_core::{
    Code, OauthClientId, Problem, RegistrationId, SecretId, Timestamp,
    audit::{Actor, Event},
    environment::Slug,
    forget::tokens_expired_by,
    upstream::IssuerMode,
};
use crossfade_store::{ChangeKind, Purpose, QuarantineRow, ReadVerifier, StoreError, Tx};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Position of the tables in the change log.
pub(crate) struct Feed {
    /// The last change that the tables have applied, and when it was made; `None` if the log did not have it.
    position: Mutex<(i64, Option<Timestamp>)>,
    applying: tokio::sync::Mutex<()>,
    /// Number of times the tables were loaded from another history. A change of an earlier epoch may be missing from
    /// them.
    epoch: AtomicU64,
    losses: Mutex<Losses>,
    /// Rows for the tables that cannot be read.
    pub(crate) unreadable: UnreadableRows,
}

/// Changes that the tables had applied and the database no longer contains.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Loss {
    /// Last change that the tables had applied.
    pub(crate) applied: i64,
    /// Last change in the database.
    pub(crate) found: i64,
    /// Registrations that are decided differently since then.
    pub(crate) registrations: Vec<OauthClientId>,
    at: Timestamp,
}

#[derive(Default)]
struct Losses {
    last: Option<Loss>,
    /// Number of changes lost since the start.
    changes: u64,
    untold: Vec<Loss>,
}

impl Feed {
    /// Returns a process that decides nothing has no tables, and is therefore never behind.
    pub(crate) fn new(decides: bool) -> Self {
        Self {
            position: Mutex::new((if decides { 0 } else { NOTHING_TO_APPLY }, None)),
            applying: tokio::sync::Mutex::default(),
            epoch: AtomicU64::new(0),
            losses: Mutex::default(),
            unreadable: UnreadableRows::default(),
        }
    }

    /// Returns the last change that the tables have applied.
    pub(crate) fn applied(&self) -> i64 {
        self.position().0
    }

    /// Returns the last change that the tables have applied, and when it was made.
    pub(crate) fn position(&self) -> (i64, Option<Timestamp>) {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_position(&self, seq: i64, made_at: Option<Timestamp>) {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner) = (seq, made_at);
    }

    /// Returns the number of times the tables were loaded from another history.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Whether a database whose last change is `stored` lacks changes that the tables have applied. No change may be
    /// applied between the look at the database and this call.
    pub(crate) fn is_ahead_of(&self, stored: i64) -> bool {
        lacks(stored, self.applied())
    }

    /// Returns the last loss, and the number of changes lost since the start.
    pub(crate) fn losses(&self) -> (Option<Loss>, u64) {
        let losses = self.all_losses();
        (losses.last.clone(), losses.changes)
    }

    fn all_losses(&self) -> MutexGuard<'_, Losses> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { applied, found, at, .. } = self;
        write!(f, "the database lost changes {} to {applied}, noticed {at}", found + 1)
    }
}

/// Whether a database whose last change is `stored` lacks changes that tables had applied before it was asked.
pub(crate) fn lacks(stored: i64, applied: i64) -> bool {
    applied != NOTHING_TO_APPLY && stored < applied
}

/// Position of a process without tables.
const NOTHING_TO_APPLY: i64 = i64::MAX;
const PAGE: i64 = 5000;
/// Number of attempts to apply a stored change before its caller learns that it may not be enforced.
const ATTEMPTS: u32 = 5;
/// Maximum number of registrations named in the audit trail after a loss.
const MAX_NAMED: usize = 50;

/// Secrets whose tokens were ended, and revoked tokens by their `jti`, each until it would have expired anyway.
#[derive(Default)]
struct ReadRevocations {
    secrets: Vec<(SecretId, Timestamp)>,
    tokens: Vec<(String, Timestamp)>,
    unreadable: Vec<Unreadable>,
}

/// The content of the tables, and its unreadable rows.
struct Loaded {
    position: (i64, Option<Timestamp>),
    quarantine: Option<QuarantineRow>,
    tables: Tables,
    unreadable: BTreeMap<Subject, Vec<Unreadable>>,
}

/// Result of following the change log.
enum Followed {
    /// The tables have applied everything.
    Whole,
    /// The log lacks changes that the tables have not applied.
    Apart,
    /// The database lacks changes that the tables have applied.
    Another,
}

/// Whether the database is known to continue what the tables have applied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum History {
    Continued,
    Another,
    /// It is known to contain another change in place of the last one that they have applied.
    Forked,
}

impl Node {
    /// Loads the tables from one consistent snapshot, and removes everything that is not in it. If the database lacks
    /// changes that the tables had applied, the loss is logged and later recorded.
    pub(crate) async fn load_authority(&self) -> Result<(), Error> {
        let _one_at_a_time = self.feed.applying.lock().await;
        self.load_tables(History::Another).await
    }

    async fn load_tables(&self, history: History) -> Result<(), Error> {
        let before = self.feed.applied();
        let read = self.db.read_all_for::<_, Error>(Purpose::Feed, async |tx| self.read_tables(tx).await);
        let Loaded { position: (seq, made_at), quarantine, tables, unreadable } = read.await?;
        // A quarantine begins before its tables are used, and ends after they are complete.
        if quarantine.is_some() {
            self.set_quarantine(quarantine);
        }
        let registrations = self.authority.replace(tables);
        self.feed.unreadable.replace(unreadable);
        self.set_quarantine(quarantine);
        // First the epoch: a change of another history is never taken as applied.
        if history != History::Continued || seq < before {
            self.feed.epoch.fetch_add(1, Ordering::SeqCst);
        }
        self.feed.set_position(seq, made_at);
        if seq < before || history == History::Forked {
            // Since when the histories differ is not known, only that the last change is not the same.
            let found = seq.min(before.saturating_sub(1));
            let loss = Loss { applied: before, found, registrations, at: self.clock.now() };
            tracing::error!(
                found = loss.found,
                applied = loss.applied,
                registrations = ?loss.registrations,
                "the database has lost acknowledged changes; the tables are loaded from it again"
            );
            let mut losses = self.feed.all_losses();
            losses.changes += before.abs_diff(found);
            losses.last = Some(loss.clone());
            losses.untold.push(loss);
        }
        Ok(())
    }

    /// Reads the content of the tables. An unreadable row is left out and recorded, and its subject is refused.
    async fn read_tables(&self, tx: &mut Tx) -> Result<Loaded, Error> {
        let (seq, highest_time) = tx.read_head().await?;
        let position = (seq, tx.change_made_at(seq).await?);
        self.clock.raise(highest_time);
        let quarantine = tx.quarantine().await?;
        let (mut tables, mut unreadable) = (Tables::default(), BTreeMap::new());
        for slug in tx.environment_slugs().await? {
            let (environment, found) = self.load_environment(tx, &slug).await?;
            tables.environments.extend(environment);
            unreadable.insert(Subject::Environment(slug), found);
        }
        each_registration(tx, |id, taken, found| {
            match taken {
                TableEntry::Registration(registration, credential) => {
                    let credential = credential.map(|credential| (registration.id.clone(), credential));
                    tables.upstream_credentials.extend(credential);
                    tables.registrations.push(registration);
                }
                TableEntry::Deleted { issuer_mode: IssuerMode::Own, .. } => {}
                TableEntry::Deleted { environment, client_id, .. } => {
                    tables.given.push((environment, client_id.to_string()));
                }
                TableEntry::Refused(given) => tables.given.extend(given),
            }
            if !found.is_empty() {
                unreadable.insert(Subject::Registration(id), found);
            }
        })
        .await?;
        let revocations = self.read_revocations(tx).await?;
        unreadable.insert(Subject::Revocations, revocations.unreadable);
        tables.secrets_with_ended_tokens = revocations.secrets;
        tables.revoked_tokens = revocations.tokens;
        Ok(Loaded { position, quarantine, tables, unreadable })
    }

    /// Reads the secrets whose tokens were ended, and the revoked tokens. Reads all of them, because tokens that have
    /// expired by a clock that is wrong at the start become active again when it is corrected. If the time of one
    /// cannot be read, it counts from now.
    async fn read_revocations(&self, tx: &mut Tx) -> Result<ReadRevocations, Error> {
        let mut read = ReadRevocations::default();
        for row in tx.secrets_with_revoked_tokens().await? {
            match row {
                Ok((secret, ended_at)) => read.secrets.push((secret, tokens_expired_by(ended_at))),
                Err(error) => {
                    let secret = SecretId::parse(row_of(&error)).ok();
                    read.secrets.extend(secret.map(|secret| (secret, self.longest_life())));
                    read.unreadable.push(Unreadable::corrupt(Kind::TokenRevocation, &error));
                }
            }
        }
        for row in tx.revoked_access_tokens().await? {
            match row {
                Ok(token) => read.tokens.push(token),
                Err(error) => {
                    read.tokens.push((row_of(&error).to_owned(), self.longest_life()));
                    read.unreadable.push(Unreadable::corrupt(Kind::TokenRevocation, &error));
                }
            }
        }
        Ok(read)
    }

    /// Returns the time by which every present token has expired.
    fn longest_life(&self) -> Timestamp {
        tokens_expired_by(self.clock.now())
    }

    /// Waits until the tables have applied every change up to `seq`, and applies missing ones. Fails if the tables were
    /// loaded again since `epoch`, or if the database does not contain the change because a failover lost it.
    pub(crate) async fn catch_up(&self, seq: i64, epoch: u64) -> Result<(), Error> {
        let mut attempt = 0;
        loop {
            let applied = self.feed.applied();
            if applied != NOTHING_TO_APPLY && self.feed.epoch() != epoch {
                return Err(lost(seq));
            }
            if applied >= seq {
                return Ok(());
            }
            attempt += 1;
            match self.apply_changes().await {
                Ok(()) if self.feed.applied() < seq => return Err(lost(seq)),
                Ok(()) => {}
                Err(error) if attempt >= ATTEMPTS => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, attempt, "cannot apply the change log");
                    tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
                }
            }
        }
    }

    /// Applies the changes in the log that have not been applied yet. Loads the tables again if the log does not
    /// continue what has been applied.
    pub(crate) async fn apply_changes(&self) -> Result<(), Error> {
        let one_at_a_time = self.feed.applying.lock().await;
        let followed = self
            .db
            .read_for::<_, Error>(Purpose::Feed, async |tx| {
                let (stored, highest_time) = tx.read_head().await?;
                let (applied, made_at) = self.feed.position();
                if applied == NOTHING_TO_APPLY {
                    return Ok(Followed::Whole);
                }
                if self.feed.is_ahead_of(stored) {
                    return Ok(Followed::Another);
                }
                // The log may have been trimmed beyond it; then it does not continue it, either.
                if tx.change_made_at(applied).await?.is_some_and(|found| Some(found) != made_at) {
                    return Ok(Followed::Another);
                }
                // What ended in a change has ended here, whatever this node knows of the time.
                self.clock.raise(highest_time);
                while self.feed.applied() < stored {
                    let from = self.feed.applied();
                    let changes = match tx.changes(from, PAGE).await {
                        // What it is about is not known, so everything is read again.
                        Err(error @ StoreError::Corrupt { .. }) => {
                            tracing::error!(%error, "cannot read the change log; the tables are loaded again");
                            return Ok(Followed::Apart);
                        }
                        changes => changes?,
                    };
                    for (change, expected) in changes.into_iter().zip(from + 1..) {
                        // The log is trimmed: another server may have made more changes than it keeps.
                        if change.seq != expected {
                            return Ok(Followed::Apart);
                        }
                        if change.kind == ChangeKind::Everything {
                            return Ok(Followed::Apart);
                        }
                        self.apply(tx, &change.kind).await?;
                        self.feed.set_position(change.seq, Some(change.made_at));
                    }
                    if self.feed.applied() == from {
                        return Ok(Followed::Apart);
                    }
                }
                Ok(Followed::Whole)
            })
            .await?;
        match followed {
            Followed::Whole => Ok(()),
            Followed::Apart => self.load_tables(History::Continued).await,
            Followed::Another => {
                drop(one_at_a_time);
                // The journal may have ends that the database lacks.
                Box::pin(self.settle_history()).await?;
                let _one_at_a_time = self.feed.applying.lock().await;
                self.load_tables(History::Forked).await
            }
        }
    }

    /// Records in the audit trail which changes were lost.
    pub(crate) async fn tell_losses(&self) -> Result<(), Error> {
        let losses = std::mem::take(&mut self.feed.all_losses().untold);
        if losses.is_empty() {
            return Ok(());
        }
        let written = self.transact(async |tx, now| {
            let mut act = Act::new(tx, now, Actor::machine("serve"));
            for loss in &losses {
                let named = loss.registrations.iter().take(MAX_NAMED);
                let event = Event::ChangesLost {
                    first_seq: loss.found + 1,
                    last_seq: loss.applied,
                    registrations: loss.registrations.len() as u64,
                    client_ids: named.map(ToString::to_string).collect(),
                };
                act.audit(&event, About::default()).await?;
            }
            Ok(())
        });
        let written = written.await;
        if written.as_ref().is_err_and(|error| error.problem.code != Code::OutcomeUnknown) {
            self.feed.all_losses().untold.extend(losses);
        }
        written
    }

    /// Returns the last change that the tables have applied.
    pub(crate) fn applied(&self) -> i64 {
        self.feed.applied()
    }

    async fn apply(&self, tx: &mut Tx, change: &ChangeKind) -> Result<(), Error> {
        match change {
            ChangeKind::Registration(id) => {
                if let Some(read) = tx.verifier(id).await? {
                    self.publish(id, read);
                }
            }
            ChangeKind::Environment(slug) => {
                let (environment, unreadable) = self.load_environment(tx, slug).await?;
                match environment {
                    Some(environment) => self.authority.put_environment(environment),
                    None => self.authority.remove_environment(slug),
                }
                self.feed.unreadable.note(Subject::Environment(slug.clone()), unreadable);
            }
            // The caller loads the tables again.
            ChangeKind::Everything => {}
            ChangeKind::TokensOfSecret(id) => match tx.tokens_of_secret_revoked(id).await {
                Ok(Some((secret, ended_at))) => {
                    self.authority.end_tokens_of_secret(secret, tokens_expired_by(ended_at));
                }
                Ok(None) => {}
                // That they were ended is known, only not when.
                Err(StoreError::Corrupt { .. }) => {
                    self.authority.end_tokens_of_secret(id.clone(), self.longest_life());
                }
                Err(error) => return Err(error.into()),
            },
            ChangeKind::AccessToken(jti) => match tx.revoked_access_token(jti).await {
                Ok(Some(until)) => self.authority.revoke_token(jti, until),
                Ok(None) => {}
                Err(StoreError::Corrupt { .. }) => self.authority.revoke_token(jti, self.longest_life()),
                Err(error) => return Err(error.into()),
            },
        }
        Ok(())
    }

    fn publish(&self, id: &RegistrationId, read: ReadVerifier) {
        let (taken, unreadable) = registration(read);
        match taken {
            TableEntry::Registration(registration, credential) => {
                self.authority.put_upstream_credential(&registration.id, credential);
                self.authority.put_registration(registration);
            }
            TableEntry::Deleted { issuer_mode, environment, client_id } => {
                self.authority.put_upstream_credential(id, None);
                self.authority.remove_registration(issuer_mode, &environment, &client_id);
            }
            TableEntry::Refused(given) => self.authority.remove_unreadable(id, given.as_ref()),
        }
        self.feed.unreadable.note(Subject::Registration(id.to_string()), unreadable);
    }

    /// Returns an environment with its keys, and its unreadable rows. `None` if there is no such environment, or if
    /// none of its keys can be read.
    async fn load_environment(
        &self,
        tx: &mut Tx,
        slug: &Slug,
    ) -> Result<(Option<Environment>, Vec<Unreadable>), Error> {
        if !tx.environment_slugs().await?.contains(slug) {
            return Ok((None, Vec::new()));
        }
        match tx.upstream(slug).await {
            Ok(None) => {}
            Ok(Some((upstream, unregistered, adopt_until))) => {
                let issuer = self.issuer(slug);
                let environment = Environment::in_front_of(slug.clone(), issuer, upstream, unregistered)
                    .adopting_until(adopt_until);
                return Ok((Some(environment), Vec::new()));
            }
            // It must not issue tokens of its own.
            Err(error @ StoreError::Corrupt { .. }) => {
                return Ok((None, vec![Unreadable::new(Kind::Environment, slug, error)]));
            }
            Err(error) => return Err(error.into()),
        }
        let (keys, unreadable) = signing_keys(tx, &self.vault, slug, self.clock.now()).await?;
        let environment = keys.map(|keys| Environment::new(slug.clone(), self.issuer(slug), keys));
        Ok((environment, unreadable))
    }
}

/// Returns the error for a change that the tables may not enforce.
fn lost(seq: i64) -> Error {
    Error {
        problem: Problem::new(
            Code::OutcomeUnknown,
            "The database was replaced during this change, so the change may be lost. Read the current state \
            before you retry.",
        ),
        source: Some(format!("change {seq} is not in the database, or the tables were loaded again").into()),
        hidden: false,
        fault: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_is_applied_after_the_look_is_no_loss() {
        let feed = Feed::new(true);
        feed.set_position(5, None);
        let (applied, stored) = (feed.applied(), 5);
        feed.set_position(6, None);
        assert!(!lacks(stored, applied), "compared with what was applied before the look");
        assert!(lacks(4, applied));
        assert!(!lacks(0, Feed::new(false).applied()), "a process without tables misses nothing");
    }
}
