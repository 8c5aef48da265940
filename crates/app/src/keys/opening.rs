//! Opening a database: it must be durable, and it must belong to the master key.

use crate::{
    doctor::database::durability_problem,
    error::{Error, cannot_start},
    keys::{
        carry_over::carry_over,
        digests::Digests,
        master_key::MasterKeys,
        place::SealPlace,
        seal::{
            PURPOSE_SEAL, PURPOSE_VERIFY, Vault, VerifierKeyBytes, is_bound, new_data_key, open_data_keys,
            root,
        },
        source::KeySource,
    },
    options::{Creation, Options},
};
use crossfade_core::{Code, Problem, Random, base62};
use crossfade_store::{Db, InstanceRow, Location, Tx};

/// Opens and migrates the database of an instance. A refused database is left unchanged.
pub(crate) async fn open_database(
    location: &Location,
    master_key: &KeySource,
    creation: Creation,
) -> Result<Db, Error> {
    if let Location::File(path) = location
        && !path.exists()
    {
        may_create(location, master_key, creation)?;
    }
    let db = Db::connect(location).await.map_err(cannot_start)?;
    let opened = async {
        if let Some(problem) = durability_problem(&db.durability().await.map_err(cannot_start)?) {
            return Err(problem.into());
        }
        if db.stored_schema().await.map_err(cannot_start)?.is_none() {
            may_create(location, master_key, creation)?;
        }
        db.migrate().await.map_err(cannot_start)
    };
    match opened.await {
        Ok(()) => Ok(db),
        Err(error) => {
            db.close().await;
            Err(error)
        }
    }
}

/// Refuses to create an instance in an empty database with an existing master key, because the database is the wrong
/// one.
fn may_create(location: &Location, master_key: &KeySource, creation: Creation) -> Result<(), Error> {
    let place = match location {
        Location::File(path) => format!("There is no instance in {}", path.display()),
        Location::Postgres(_) => "There is no instance in the PostgreSQL database".to_owned(),
    };
    let text = match creation {
        Creation::WithAnyKey => return Ok(()),
        Creation::WithNewKey if !master_key.exists() => return Ok(()),
        Creation::WithNewKey => format!(
            "{place}, but the {master_key} exists, and a master key belongs to one instance. \
            Nothing was changed. Correct the database URL, its search_path or the data directory, restore a \
            backup with crossfade restore, or create a new instance with this key: crossfade init \
            --new-instance."
        ),
        Creation::Never => format!(
            "{place}. Nothing was changed. Set --data-dir or --database-url to an existing instance, or \
            create one with crossfade init."
        ),
    };
    Err(Problem::new(Code::Unavailable, text).into())
}

/// Opens the data keys with the master key, and checks that both belong to the same instance. Creates all three in a
/// new database.
pub(crate) async fn open_keys(db: &Db, options: &Options) -> Result<(Vault, VerifierKeyBytes), Error> {
    let (stored, instance) =
        db.read::<_, Error>(async |tx| Ok((tx.data_keys().await?, tx.instance().await?))).await?;
    let source = &options.master_key;
    let (stored, instance) = match (stored.is_empty(), instance) {
        (false, Some(instance)) => (stored, instance),
        _ => create(db, options).await?,
    };
    let master = source.read()?.ok_or_else(|| source.missing())?;
    let (vault, verifier_keys) = open_data_keys(&master, &stored)?;
    if !is_bound(&master, &instance) {
        let text = format!(
            "The database belongs to instance {}, but the key of the {} is not bound to that instance. \
            Nothing was changed. Restore the last backup into an empty database.",
            instance.id, source
        );
        return Err(Problem::new(Code::Unavailable, text).into());
    }
    db.expect_instance(&instance.id);
    if !vault.is_old {
        return Ok((vault, verifier_keys));
    }
    let digests = Digests::new(&root(&verifier_keys));
    // A command may be the first program of this version here; a server of an older one must not run then.
    let lock = match options.decides {
        true => None,
        false => Some(db.lock_alone().await.map_err(cannot_start)?),
    };
    let carried = carry_over(db, &master, &vault, &digests, options.random.as_ref()).await;
    if let Some(lock) = lock {
        lock.release().await;
    }
    carried?;
    let stored = db.read::<_, Error>(async |tx| Ok(tx.data_keys().await?)).await?;
    open_data_keys(&master, &stored)
}

/// Folds the account names stored by an older version, in batches.
pub(crate) async fn fold_names(db: &Db) -> Result<(), Error> {
    const AT_ONCE: i64 = 500;
    while db.read::<_, Error>(async |tx| Ok(tx.has_unfolded_names().await?)).await? {
        db.write::<_, Error>(async |tx| Ok(tx.fold_names(AT_ONCE).await?)).await?;
    }
    Ok(())
}

/// Removes sealed data keys that an earlier version copied to noted ends.
pub(crate) async fn remove_copied_seals(db: &Db) {
    let removed = async {
        if db.read::<_, Error>(async |tx| Ok(tx.has_seals_of_ends().await?)).await? {
            db.write::<_, Error>(async |tx| Ok(tx.remove_seals_of_ends().await?)).await?;
        }
        Ok::<_, Error>(())
    };
    // A database that stores no changes is served all the same.
    if let Err(error) = removed.await {
        tracing::warn!(%error, "cannot remove sealed data keys from the noted ends");
    }
}

/// Creates what a new instance needs, or what an instance of an earlier version lacks, under the lock that every change
/// takes. If two commands start at the same moment, one creates it and the other finds it.
async fn create(db: &Db, options: &Options) -> Result<(Vec<crossfade_store::DataKey>, InstanceRow), Error> {
    let mut created_key = false;
    let source = &options.master_key;
    let written = db
        .write::<_, Error>(async |tx| {
            let mut stored = tx.data_keys().await?;
            let instance = tx.instance().await?;
            if let Some(instance) = instance
                && !stored.is_empty()
            {
                return Ok((stored, instance));
            }
            let master = match source.read()? {
                Some(master) if stored.is_empty() => {
                    may_create(&options.location, source, options.creation)?;
                    master
                }
                Some(master) => master,
                None if stored.is_empty() => {
                    may_create(&options.location, source, options.creation)?;
                    let master = source.create(options.random.as_ref())?;
                    created_key = true;
                    master
                }
                None => return Err(source.missing()),
            };
            let now = options.clock.now();
            if stored.is_empty() {
                for purpose in [PURPOSE_SEAL, PURPOSE_VERIFY] {
                    tx.insert_data_key(&new_data_key(&master, purpose, options.random.as_ref())?, now)
                        .await?;
                }
                stored = tx.data_keys().await?;
            }
            // Before the row of an instance is bound to a key, that key must be the instance's.
            open_data_keys(&master, &stored)?;
            let instance = new_instance(tx, &master, options.random.as_ref(), now).await?;
            Ok((stored, instance))
        })
        .await;
    // A key of nothing would keep the next start from making an instance.
    if let Err(error) = &written
        && created_key
        && error.problem.code != Code::OutcomeUnknown
        && let Some(path) = source.file()
    {
        let _ = std::fs::remove_file(path);
    }
    Ok(written?.0)
}

async fn new_instance(
    tx: &mut Tx,
    master: &MasterKeys,
    random: &dyn Random,
    now: crossfade_core::Timestamp,
) -> Result<InstanceRow, Error> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    let id = format!("inst_{}", base62::encode_fixed(&bytes, 22));
    let binding = master.seal(&SealPlace::Instance { id: &id }, id.as_bytes())?;
    let instance = InstanceRow { id, binding };
    tx.insert_instance(&instance, now).await?;
    Ok(instance)
}
