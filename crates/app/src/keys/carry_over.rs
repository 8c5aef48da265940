//! Converts a database of an older version: digests of credentials become keyed, and sealed values are bound to
//! everything they belong to. Nothing is lost. The conversion can be interrupted at any point; the next start
//! continues.
//!
//! The data keys show the progress, because sealing one requires the master key. In the old format: to be converted.
//! With a key for the purpose `carry_over`: begun. All in the new format: done; from then on the old format is refused,
//! and a start checks nothing else.

use crate::{
    error::Error,
    keys::{
        digests::Digests,
        master_key::MasterKeys,
        place::SealPlace,
        seal::{PURPOSE_CARRY_OVER, Vault, is_old_seal, new_data_key, resealed_data_key},
    },
};
use crossfade_core::{Code, Problem, Random, SecretId};
use crossfade_store::{Db, Digested, Tx};

/// Number of rows converted in one transaction.
const ROWS_AT_ONCE: i64 = 500;

/// Number of converted rows.
#[derive(Default, Debug)]
struct Carried {
    digests: usize,
    values: usize,
    /// Values that cannot be opened. They could not be opened before either.
    broken: usize,
}

/// Converts the rows that `vault`, which has old keys, and `digests` belong to.
pub(crate) async fn carry_over(
    db: &Db,
    master: &MasterKeys,
    vault: &Vault,
    digests: &Digests,
    random: &dyn Random,
) -> Result<(), Error> {
    begin(db, master, vault, random).await?;
    let mut carried = Carried::default();
    for of in Digested::ALL {
        while db.write::<_, Error>(async |tx| key_digests(tx, digests, of, &mut carried).await).await?.0 {}
    }
    let mut after = None;
    loop {
        let page =
            db.write::<_, Error>(async |tx| reseal_secrets(tx, vault, after.as_ref(), &mut carried).await);
        match page.await?.0 {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    let finished = db.write::<_, Error>(async |tx| {
        reseal_signing_keys(tx, vault, &mut carried).await?;
        reseal_answers(tx, vault, &mut carried).await?;
        for key in tx.data_keys().await? {
            match resealed_data_key(master, &key)? {
                _ if key.purpose == PURPOSE_CARRY_OVER => tx.delete_data_key(&key.id).await?,
                Some(sealed) => tx.reseal_data_key(&key.id, &sealed).await?,
                None => {}
            }
        }
        Ok(())
    });
    finished.await?;
    let Carried { digests, values, broken } = carried;
    tracing::info!(digests, values, broken, "converted digests and sealed values to the new format");
    Ok(())
}

/// Records that the conversion has begun. Data keys from before an upgrade and digests from after it belong together
/// only if it has.
async fn begin(db: &Db, master: &MasterKeys, vault: &Vault, random: &dyn Random) -> Result<(), Error> {
    if vault.is_being_carried_over {
        return Ok(());
    }
    let begun = db.write::<_, Error>(async |tx| {
        let has_new_keys = tx.sealed_signing_keys().await?.iter().any(|key| !is_old_seal(&key.sealed));
        if has_new_keys || tx.has_keyed_digest().await? {
            let text = "The data keys of this database are from before an upgrade, but other rows are from \
                after it. Nothing was changed. Restore one backup into an empty database.";
            return Err(Problem::new(Code::Unavailable, text).into());
        }
        let now = tx.highest_time();
        Ok(tx.insert_data_key(&new_data_key(master, PURPOSE_CARRY_OVER, random)?, now).await?)
    });
    begun.await.map(drop)
}

/// Converts some digests. Returns whether there may be more.
async fn key_digests(
    tx: &mut Tx,
    digests: &Digests,
    of: Digested,
    carried: &mut Carried,
) -> Result<bool, Error> {
    let old = tx.unkeyed_digests(of, ROWS_AT_ONCE).await?;
    for digest in &old {
        tx.key_digest(of, digest, &digests.keyed(of, digest)).await?;
    }
    carried.digests += old.len();
    Ok(!old.is_empty())
}

/// Converts a page of secrets. Returns the last secret of the page; `None` if there are no more.
async fn reseal_secrets(
    tx: &mut Tx,
    vault: &Vault,
    after: Option<&SecretId>,
    carried: &mut Carried,
) -> Result<Option<SecretId>, Error> {
    let page = tx.sealed_secrets(after, ROWS_AT_ONCE).await?;
    for row in &page {
        let place = SealPlace::Secret { registration: &row.registration_id, secret: &row.id };
        if let Some(sealed) = resealed(vault, &place, &row.sealed, carried)? {
            tx.reseal_secret(&row.id, &sealed).await?;
        }
    }
    Ok(page.into_iter().last().map(|row| row.id))
}

async fn reseal_signing_keys(tx: &mut Tx, vault: &Vault, carried: &mut Carried) -> Result<(), Error> {
    for key in tx.sealed_signing_keys().await? {
        let place = SealPlace::SigningKey { environment: &key.environment, kid: &key.kid };
        if let Some(sealed) = resealed(vault, &place, &key.sealed, carried)? {
            tx.reseal_signing_key(&key.kid, &sealed).await?;
        }
    }
    Ok(())
}

/// Converts the values of remembered responses. They are kept for 10 minutes, so there are few.
async fn reseal_answers(tx: &mut Tx, vault: &Vault, carried: &mut Carried) -> Result<(), Error> {
    let mut answers = Vec::new();
    tx.each_sealed_answer::<Error>(|answer| {
        answers.push(answer);
        Ok(())
    })
    .await?;
    for answer in answers {
        let place = SealPlace::Answer { actor: &answer.actor, key: &answer.key };
        if let Some(sealed) = resealed(vault, &place, &answer.sealed, carried)? {
            tx.reseal_answer(&answer.actor, &answer.key, &sealed).await?;
        }
    }
    Ok(())
}

/// Returns a value of the old format with a new seal; `None` if it has another format or cannot be opened.
fn resealed(
    vault: &Vault,
    place: &SealPlace<'_>,
    sealed: &[u8],
    carried: &mut Carried,
) -> Result<Option<Vec<u8>>, Error> {
    if !is_old_seal(sealed) {
        return Ok(None);
    }
    match vault.open(place, sealed) {
        Ok(value) => {
            carried.values += 1;
            vault.seal(place, &value).map(Some)
        }
        Err(error) => {
            // Left as it is for whoever looks into it; doctor names it.
            tracing::warn!(%error, %place, "cannot convert a sealed value");
            carried.broken += 1;
            Ok(None)
        }
    }
}
