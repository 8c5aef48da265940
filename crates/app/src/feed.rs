//! How the authority's tables learn of changes: all at the start, then one by one from the change log.

use crate::{app::App, error::Error, seal::Place};
use crossfade_authority::{DrillSlot, Environment, Registration, SecretSlot, SigningKey};
use crossfade_core::{RegistrationId, SecretId, environment::Slug, registration::TokenTtl};
use crossfade_store::{ChangeKind, Purpose, Tx, VerifierRow};
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// How far the tables have followed the log.
pub(crate) struct Feed {
    applied: AtomicI64,
    applying: tokio::sync::Mutex<()>,
}

impl Feed {
    /// A process that decides nothing has no tables, and so is never behind.
    pub(crate) fn new(decides: bool) -> Self {
        Self {
            applied: AtomicI64::new(if decides { 0 } else { i64::MAX }),
            applying: tokio::sync::Mutex::default(),
        }
    }
}

const PAGE: i64 = 5000;
/// How often a change that is stored is tried to be applied before its caller is told that it is not known
/// to be enforced.
const ATTEMPTS: u32 = 5;

/// The longest that a token of a secret can live on after the secret has ended. Longer than the longest
/// lifetime by an hour, because a request that was decided just before the tables knew has a later beginning.
const TOKENS_LIVE_ON: Duration = Duration::from_secs(TokenTtl::LONGEST.seconds() as u64 + 3600);

impl App {
    /// Fills the tables from one consistent snapshot.
    pub(crate) async fn load_authority(&self) -> Result<(), Error> {
        let seq = self
            .db
            .read::<_, Error>(async |tx| {
                let (seq, highest_time) = tx.read_head().await?;
                self.clock.raise(highest_time);
                for environment in tx.environments().await? {
                    self.load_environment(tx, &environment.slug).await?;
                }
                let mut after: Option<RegistrationId> = None;
                loop {
                    let page = tx.verifiers(after.as_ref(), PAGE).await?;
                    let Some(last) = page.last() else { break };
                    after = Some(last.registration_id.clone());
                    for row in page {
                        self.publish(row)?;
                    }
                }
                self.fill_revocations(tx).await?;
                Ok(seq)
            })
            .await?;
        self.feed.applied.store(seq, Ordering::SeqCst);
        Ok(())
    }

    /// Loads again which tokens were revoked.
    pub(crate) async fn load_revocations(&self) -> Result<(), Error> {
        self.db.read(async |tx| self.fill_revocations(tx).await).await
    }

    async fn fill_revocations(&self, tx: &mut Tx) -> Result<(), Error> {
        let earliest = self.clock.read().earliest;
        for (secret, ended_at) in tx.secrets_with_revoked_tokens(earliest.before(TOKENS_LIVE_ON)).await? {
            self.authority.end_tokens_of_secret(secret, ended_at.after(TOKENS_LIVE_ON));
        }
        for (jti, until) in tx.revoked_access_tokens(earliest).await? {
            self.authority.revoke_token(&jti, until);
        }
        Ok(())
    }

    /// Waits until the tables have applied every change up to `seq`, applying what is missing.
    pub(crate) async fn catch_up(&self, seq: i64) -> Result<(), Error> {
        let mut attempt = 0;
        while self.feed.applied.load(Ordering::SeqCst) < seq {
            attempt += 1;
            match self.apply_changes().await {
                Ok(()) => {}
                Err(error) if attempt >= ATTEMPTS => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, attempt, "the change log could not be applied");
                    tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
                }
            }
        }
        Ok(())
    }

    /// Applies what the log holds beyond what has been applied.
    pub(crate) async fn apply_changes(&self) -> Result<(), Error> {
        let _one_at_a_time = self.feed.applying.lock().await;
        let from = self.feed.applied.load(Ordering::SeqCst);
        self.db
            .read_for::<_, Error>(Purpose::Feed, async |tx| {
                for change in tx.changes(from, PAGE).await? {
                    self.apply(tx, &change.kind).await?;
                    self.feed.applied.store(change.seq, Ordering::SeqCst);
                }
                Ok(())
            })
            .await
    }

    /// The last change that the tables have applied.
    pub(crate) fn applied(&self) -> i64 {
        self.feed.applied.load(Ordering::SeqCst)
    }

    async fn apply(&self, tx: &mut Tx, change: &ChangeKind) -> Result<(), Error> {
        match change {
            ChangeKind::Registration(id) => {
                if let Some(row) = tx.verifier(id).await? {
                    self.publish(row)?;
                }
            }
            ChangeKind::Environment(slug) => self.load_environment(tx, slug).await?,
            ChangeKind::TokensOfSecret(id) => {
                if let Some((secret, ended_at)) = tx.tokens_of_secret_revoked(id).await? {
                    self.authority.end_tokens_of_secret(secret, ended_at.after(TOKENS_LIVE_ON));
                }
            }
            ChangeKind::AccessToken(jti) => {
                if let Some(until) = tx.revoked_access_token(jti).await? {
                    self.authority.revoke_token(jti, until);
                }
            }
        }
        Ok(())
    }

    fn publish(&self, row: VerifierRow) -> Result<(), Error> {
        if row.deleted {
            self.authority.remove_registration(&row.oauth_client_id);
            return Ok(());
        }
        let mut secrets = Vec::with_capacity(row.secrets.len());
        let drill = |secret: &SecretId| {
            let last = row.windows.iter().find(|it| it.secret_id == *secret)?;
            Some(DrillSlot { id: last.drill_id.clone(), windows: last.windows.clone() })
        };
        for (secret, digest, digest_key) in row.secrets {
            let digest = digest
                .try_into()
                .map_err(|_| Error::internal(format!("the digest of {} is corrupt", secret.id)))?;
            secrets.push(SecretSlot {
                drill: drill(&secret.id),
                id: secret.id,
                digest,
                digest_key,
                expires_at: secret.expires_at,
                revoked_at: secret.revoked_at,
            });
        }
        self.authority.put_registration(Registration {
            id: row.registration_id,
            client_id: row.oauth_client_id,
            environment: row.environment,
            disabled: row.disabled,
            methods: row.methods,
            scopes: row.scopes,
            audience: row.audience,
            ttl: row.ttl,
            may_introspect: row.may_introspect,
            secrets,
        });
        Ok(())
    }

    async fn load_environment(&self, tx: &mut Tx, slug: &Slug) -> Result<(), Error> {
        if tx.environment(slug).await?.is_none() {
            self.authority.remove_environment(slug);
            return Ok(());
        }
        let mut keys = Vec::new();
        for key in tx.signing_keys(slug).await? {
            let place = Place::SigningKey { environment: slug, kid: &key.kid };
            let private = self.vault.open(&place, &key.sealed)?;
            keys.push(SigningKey::parse(key.alg, &private, key.times).map_err(Error::internal)?);
        }
        self.authority.put_environment(Environment::new(slug.clone(), self.issuer(slug), keys));
        Ok(())
    }
}
