//! The server's part in a roll-over of data keys: it takes keys that a command created, and moves the digests of
//! presented secrets to the newest verifier key. Both happen in the worker, so no request waits for them.

use crate::{
    app::App,
    error::Error,
    keys::seal::{PURPOSE_SEAL, PURPOSE_VERIFY, open_data_keys},
};
use crossfade_core::audit::Actor;
use crossfade_store::{ChangeKind, ValueDigest};
use std::collections::BTreeSet;

/// Maximum number of digests stored in one transaction.
const DIGESTS_AT_ONCE: usize = 500;

/// Returns the actor that stores digests of secrets that are known again.
pub(crate) fn verifier_keys_policy() -> Actor {
    Actor::policy("verifier_key", "Verifier keys")
}

impl App {
    /// Takes the data keys that were created or deleted since the start. Reads the master key for that.
    pub(crate) async fn take_data_keys(&self) -> Result<(), Error> {
        let stored = self.db.read::<_, Error>(async |tx| Ok(tx.data_keys().await?)).await?;
        let of = |purpose| stored.iter().filter(move |key| key.purpose == purpose).map(|key| key.id.clone());
        let verifier: BTreeSet<String> = of(PURPOSE_VERIFY).collect();
        let sealing: BTreeSet<String> = of(PURPOSE_SEAL).collect();
        let known = (self.authority.verifier_keys(), self.vault.ids());
        if known.0.into_iter().collect::<BTreeSet<_>>() == verifier
            && known.1.into_iter().collect::<BTreeSet<_>>() == sealing
        {
            return Ok(());
        }
        if verifier.is_empty() || sealing.is_empty() {
            return Err(Error::internal("the database has lost its data keys"));
        }
        let source = self.master_key.clone();
        // A command may take a while.
        let master = tokio::task::spawn_blocking(move || source.read()).await.map_err(Error::internal)??;
        let master = master.ok_or_else(|| self.master_key.missing())?;
        let (vault, keys) = open_data_keys(&master, &stored)?;
        self.vault.replace(&vault);
        self.authority.set_verifier_keys(keys.keys);
        self.digest_values_again();
        tracing::info!(
            verifier = verifier.len(),
            sealing = sealing.len(),
            "took the data keys of the database"
        );
        Ok(())
    }

    /// Stores the digests of secrets that were recognised by a digest of an older key, or without a digest of the value
    /// alone.
    pub(crate) async fn roll_digests_over(&self) -> Result<(), Error> {
        loop {
            let outdated = self.authority.take_outdated(DIGESTS_AT_ONCE);
            if outdated.is_empty() {
                return Ok(());
            }
            let is_last = outdated.len() < DIGESTS_AT_ONCE;
            self.change_as(verifier_keys_policy(), async |act| {
                let (mut changed, mut values) = (Vec::new(), Vec::new());
                for it in &outdated {
                    values.push(ValueDigest {
                        secret: it.secret.clone(),
                        key: it.key.clone(),
                        digest: it.value_digest.to_vec(),
                    });
                    let Some(digest) = &it.digest else { continue };
                    if act.tx.redigest_secret(&it.secret, &it.key, digest, &it.value_digest).await? {
                        changed.push(ChangeKind::Registration(it.registration.clone()));
                    }
                }
                // Does nothing where the line above has stored it.
                let missing = act.tx.set_value_digests(&values).await?;
                changed.extend(missing.into_iter().map(ChangeKind::Registration));
                Ok(act.tx.append_widening(&changed).await?)
            })
            .await?;
            if is_last {
                return Ok(());
            }
        }
    }
}
