//! Carries a database of an older version over: its digests of credentials become keyed, its sealed values are bound to
//! all that they belong to. Nothing is lost, and it may be interrupted anywhere: the next start goes on.
//!
//! The data keys tell how far it is, because only the holder of the master key can seal one. In the old format: to be
//! carried over. With a key of the purpose `carry_over`: begun. All in the new format: done; from then on the old format is
//! refused, and a start looks no further.

use crate::{
    digests::Digests,
    error::Error,
    master_key::MasterKey,
    seal::{PURPOSE_CARRY_OVER, Place, Vault, is_old_seal, new_data_key, resealed_data_key},
};
use crossfade_core::{Code, Problem, Random, SecretId};
use crossfade_store::{Db, Digested, Tx};

/// Rows that are carried over in one transaction.
const ROWS_AT_ONCE: i64 = 500;

/// What was carried over.
#[derive(Default, Debug)]
struct Carried {
    digests: usize,
    values: usize,
    /// Values that do not open where they are. They did not before, either.
    broken: usize,
}

/// Carries over what `vault`, which has old keys, and `digests` are for.
pub(crate) async fn carry_over(
    db: &Db,
    master: &MasterKey,
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
    tracing::info!(digests, values, broken, "carried digests and sealed values over to the new format");
    Ok(())
}

/// Notes that it has begun. Data keys of before an upgrade beside digests of after it belong together only once it has.
async fn begin(db: &Db, master: &MasterKey, vault: &Vault, random: &dyn Random) -> Result<(), Error> {
    if vault.is_being_carried_over {
        return Ok(());
    }
    let begun = db.write::<_, Error>(async |tx| {
        let has_new_keys = tx.sealed_signing_keys().await?.iter().any(|key| !is_old_seal(&key.sealed));
        if has_new_keys || tx.has_keyed_digest().await? {
            let text = "The data keys of this database are from before an upgrade, and other rows are from after it: the database was put together from two times. Nothing was changed. Restore one backup into an empty database.";
            return Err(Problem::new(Code::Unavailable, text).into());
        }
        let now = tx.highest_time();
        Ok(tx.insert_data_key(&new_data_key(master, PURPOSE_CARRY_OVER, random)?, now).await?)
    });
    begun.await.map(drop)
}

/// Tells whether there may be more.
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

/// Tells the last secret of the page; `None` when there is no further one.
async fn reseal_secrets(
    tx: &mut Tx,
    vault: &Vault,
    after: Option<&SecretId>,
    carried: &mut Carried,
) -> Result<Option<SecretId>, Error> {
    let page = tx.sealed_secrets(after, ROWS_AT_ONCE).await?;
    for row in &page {
        let place = Place::Secret { registration: &row.registration_id, secret: &row.id };
        if let Some(sealed) = resealed(vault, &place, &row.sealed, carried)? {
            tx.reseal_secret(&row.id, &sealed).await?;
        }
    }
    Ok(page.into_iter().last().map(|row| row.id))
}

async fn reseal_signing_keys(tx: &mut Tx, vault: &Vault, carried: &mut Carried) -> Result<(), Error> {
    for key in tx.sealed_signing_keys().await? {
        let place = Place::SigningKey { environment: &key.environment, kid: &key.kid };
        if let Some(sealed) = resealed(vault, &place, &key.sealed, carried)? {
            tx.reseal_signing_key(&key.kid, &sealed).await?;
        }
    }
    Ok(())
}

/// Values of answers live for ten minutes, so there are few.
async fn reseal_answers(tx: &mut Tx, vault: &Vault, carried: &mut Carried) -> Result<(), Error> {
    let mut answers = Vec::new();
    tx.each_sealed_answer::<Error>(|answer| {
        answers.push(answer);
        Ok(())
    })
    .await?;
    for answer in answers {
        let place = Place::Answer { actor: &answer.actor, key: &answer.key };
        if let Some(sealed) = resealed(vault, &place, &answer.sealed, carried)? {
            tx.reseal_answer(&answer.actor, &answer.key, &sealed).await?;
        }
    }
    Ok(())
}

/// A value of the old format, sealed anew; `None` where it is not one, or does not open.
fn resealed(
    vault: &Vault,
    place: &Place<'_>,
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
            tracing::warn!(%error, %place, "cannot carry a sealed value over");
            carried.broken += 1;
            Ok(None)
        }
    }
}
